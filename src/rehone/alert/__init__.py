"""Decide what a person is told of, in one line each; pure.

`of` says it of a run, `of_deployment` of a record of the deployment log, `trial` to try the addresses,
`sign_of_life` of a heartbeat;
`quiet_until` says how long nobody is to be woken, `named` what an alert is of in words,
`one_line` makes one line of any text.
"""

from rehone.alert.endings import of, of_deployment
from rehone.alert.hours import quiet_until
from rehone.alert.words import named, one_line, sign_of_life, trial

__all__ = ["named", "of", "of_deployment", "one_line", "quiet_until", "sign_of_life", "trial"]
