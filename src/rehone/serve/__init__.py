"""Answer predictions over HTTP, and follow the deployment log without dropping a request.

`run` is the whole service. `App` answers HTTP through the routes that the protocols give it;
`Service` scores, logs and counts; `Follower` decides what is served.
"""

from rehone.serve.app import App, health, routes
from rehone.serve.follower import Follower, Loaded, Refused, Serving, Staged
from rehone.serve.predicting import Service
from rehone.serve.problems import Refusal, RowProblem
from rehone.serve.rows import Asked, Reader
from rehone.serve.server import ServeError, run

__all__ = [
    "App",
    "Asked",
    "Follower",
    "Loaded",
    "Reader",
    "Refusal",
    "Refused",
    "RowProblem",
    "ServeError",
    "Service",
    "Serving",
    "Staged",
    "health",
    "routes",
    "run",
]
