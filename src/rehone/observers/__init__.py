"""Tell trackers of runs and deployments, after these have ended and without being able to change them.

`tell` starts one process for each tracker and waits for it no longer than it is told to;
`Outbox` keeps what was delivered and what was not; `facts` is a record as the flat numbers and
words that trackers list.
"""

from rehone.observers.outbox import DEPLOYMENT, WAITING, Outbox
from rehone.observers.telling import (
    MODULE,
    OF_NOW,
    Later,
    Missed,
    Request,
    Subject,
    deliveries,
    pending,
    tell,
)

__all__ = [
    "DEPLOYMENT",
    "MODULE",
    "OF_NOW",
    "WAITING",
    "Later",
    "Missed",
    "Outbox",
    "Request",
    "Subject",
    "deliveries",
    "pending",
    "tell",
]
