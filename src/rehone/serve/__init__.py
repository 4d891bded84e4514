"""Answer predictions over HTTP, and follow the deployment log without dropping a request.

`run` is the whole service. `App` is its ASGI callable, `Follower` decides what it serves.
"""

from rehone.serve.app import App, health, predict
from rehone.serve.follower import Follower, Loaded, Refused, Serving
from rehone.serve.rows import Refusal, RowProblem, read_rows
from rehone.serve.server import ServeError, run

__all__ = [
    "App",
    "Follower",
    "Loaded",
    "Refusal",
    "Refused",
    "RowProblem",
    "ServeError",
    "Serving",
    "health",
    "predict",
    "read_rows",
    "run",
]
