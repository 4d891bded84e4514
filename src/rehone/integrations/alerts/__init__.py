"""Send alerts through Apprise and to a signed webhook, and keep those that could not be sent.

A run is told of by `AlertsListener`, in the process that tells one listener; a person lists, tries
and sends with `listed`, `test` and `send`. What became of each alert stands in `runs/alerts/`. `HeartbeatListener`
gives signs of life, in a process of its own.
"""

from rehone.integrations.alerts.door import listed, send, test
from rehone.integrations.alerts.heartbeat import HeartbeatListener
from rehone.integrations.alerts.journal import Notice, Sent, State
from rehone.integrations.alerts.listener import AlertsListener

__all__ = ["AlertsListener", "HeartbeatListener", "Notice", "Sent", "State", "listed", "send", "test"]
