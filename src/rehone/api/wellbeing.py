"""Say how the pipeline itself does, and let retraining go on after it has stopped."""

from __future__ import annotations

from rehone.api.door import When, Where
from rehone.records import Breaker, Health


def health(project: Where = ".", *, as_of: When = None) -> Health:
    """Say how the pipeline itself does; left out, `as_of` is the newest run's day, or now when that is recent."""
    raise NotImplementedError


def breaker(project: Where = ".") -> Breaker:
    """Say whether retraining has stopped after lost challengers in a row."""
    raise NotImplementedError


def reset_breaker(project: Where = ".", *, because: str = "", by: str | None = None) -> Breaker:
    """Let retraining go on, and keep who said so and why."""
    raise NotImplementedError
