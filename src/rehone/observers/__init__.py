"""Tell trackers of runs and deployments, after these have ended and without being able to change them.

`tell` starts one process for each tracker and waits for it no longer than it is told to;
`Outbox` keeps what was delivered and what was not; `facts` is a record as the flat numbers and
words that trackers list.
"""

from rehone.observers.outbox import Outbox
from rehone.observers.telling import (
    DEPLOYMENT,
    MODULE,
    OF_NOW,
    WAITING,
    Later,
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
    "Outbox",
    "Request",
    "Subject",
    "deliveries",
    "pending",
    "tell",
]
