"""Make fits away from this process: what a cluster promises, and how the places it has are kept busy."""

from __future__ import annotations

import contextlib
import itertools
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

SILENCE_SECONDS = 3.0
"""Without a finished fit for so long, a cluster is asked whether it is still there."""


class Lost(Exception):
    """Fits were lost with the worker that made them, or with the whole cluster."""


class Cluster(Protocol):
    """A place where fits can be made."""

    name: str

    def fits_at_a_time(self) -> int:
        """Return how many fits the cluster has room for now."""

    def made(self, fit: Callable[..., Any], plan: Any, calls: Iterable[tuple[Any, ...]], width: int) -> Iterator[Any]:
        """Send a plan there once, make `fit(plan, *call)` of `width` calls at a time, and give each result as it comes.

        Raises:
            Lost: a fit did not end, or nothing can be expected from the cluster any more.
        """

    def trouble(self) -> str | None:
        """Say why nothing can be expected from the cluster any more, or None."""

    def notes(self) -> tuple[str, ...]:
        """Say what happened to the cluster while it was used."""


@dataclass(frozen=True, slots=True)
class OnRay:
    """What lies in Ray's object store; each node fetches it once."""

    ref: Any
    paths: tuple[str, ...] = ()

    def get(self) -> Any:
        """Return it, on whatever node this is called; `paths` are where modules are found besides."""
        import ray

        sys.path.extend(path for path in self.paths if path not in sys.path)
        return ray.get(self.ref)


@contextlib.contextmanager
def lost_with(name: str) -> Iterator[None]:
    """Take whatever a cluster raises for a fit that is not there."""
    try:
        yield
    except Lost:
        raise
    except Exception as error:
        raise Lost(f"a {name} worker did not end its fit ({short(error)})") from error


def kept_busy(
    calls: Iterable[tuple[Any, ...]],
    width: int,
    begin: Callable[[tuple[Any, ...]], None],
    results: Callable[[], list[Any]],
    trouble: Callable[[], str | None],
) -> Iterator[Any]:
    """Keep `width` calls going and give their results as they come.

    `results` waits `SILENCE_SECONDS` at most; when it has nothing, `trouble` is asked.

    Raises:
        Lost: there is trouble.
    """
    left, going = iter(calls), 0
    while True:
        for call in itertools.islice(left, width - going):
            begin(call)
            going += 1
        if not going:
            return
        found = results()
        if not found and (why := trouble()):
            raise Lost(why)
        going -= len(found)
        yield from found


def short(error: BaseException) -> str:
    """Return an error in one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__
