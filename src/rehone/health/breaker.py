"""Count challengers lost in a row, and say whether retraining has stopped because of them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Protocol

from rehone.records import Breaker, BreakerReset, RunStatus, TriggerKind

_LOST = (RunStatus.REJECTED, RunStatus.INCONCLUSIVE, RunStatus.ROLLED_BACK)


class Ended(Protocol):
    """What is asked of a run: a summary has it, and a ledger line."""

    @property
    def run_id(self) -> str: ...
    @property
    def status(self) -> RunStatus | None: ...
    @property
    def trained(self) -> bool: ...
    @property
    def trigger(self) -> TriggerKind | None: ...
    @property
    def started_at(self) -> datetime: ...


def breaker(runs: Iterable[Ended], reset: BreakerReset | None, limit: int | None) -> Breaker:
    """Return how the breaker stands after these runs, oldest first; `reset` is the newest, told while it matters."""
    runs = tuple(runs)
    lost = lost_in_a_row(runs, reset)
    if reset is not None and any(run.status is RunStatus.DEPLOYED and run.started_at > reset.at for run in runs):
        reset = None
    return Breaker(
        stopped=limit is not None and len(lost) >= limit, lost=len(lost), limit=limit, runs=lost, reset=reset
    )


def lost_in_a_row(runs: Iterable[Ended], reset: BreakerReset | None) -> tuple[str, ...]:
    """Return the runs, oldest first, that lost a challenger since one went live and since the reset.

    A challenger is lost when it was rejected, inconclusive or rolled back; a run that failed says nothing of it. While
    there is no champion, nothing can be lost and each run tries again.
    """
    lost: list[str] = []
    for run in runs:
        if run.status is RunStatus.DEPLOYED:
            lost.clear()
        elif _is_lost(run) and (reset is None or run.started_at > reset.at):
            lost.append(run.run_id)
    return tuple(lost)


def _is_lost(run: Ended) -> bool:
    return run.trained and run.trigger is not TriggerKind.BOOTSTRAP and run.status in _LOST
