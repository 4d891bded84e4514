"""Say whether a champion gets better or worse, and on what that rests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rehone.records import CheckStatus, RunStatus, RunSummary, TrackRecord
from rehone.report.book import Book
from rehone.report.wording import day, fixed, interval, number, signed

LIVE_RUNS = 5
"""How many promotions the trend is told over."""


@dataclass(frozen=True, slots=True)
class Direction:
    """One word, and the sentences that it rests on."""

    word: str
    because: tuple[str, ...]


def direction(book: Book) -> Direction:
    """Say better, worse, about the same or not known.

    Worse: labels showed that the live version is a regret, or `health.declines` retrains in a row went live with a
    smaller ROC-AUC. Better or worse beyond chance: the newest one against the one it replaced, on one holdout; not known
    when that one was rolled back since.
    """
    live = [run for run in book.summaries if run.status is RunStatus.DEPLOYED and run.challenger is not None]
    because = (*_newest(live), *_trend(live), *_came_true(book.track), *_in_use(book))
    return Direction(_word(book, live), because or ("Nothing was compared yet.",))


def _word(book: Book, live: Sequence[RunSummary]) -> str:
    if _regretted(book) or any(c.name == "declines" and c.status is CheckStatus.ACT for c in book.health.checks):
        return "worse"
    compared = next((run for run in reversed(live) if run.difference is not None), None)
    if compared is None or compared.difference is None or not _is_live(book, compared):
        return "not known"
    _, low, high = compared.difference
    if low > 0:
        return "better"
    return "worse" if high < 0 else "about the same"


def _is_live(book: Book, run: RunSummary) -> bool:
    """Whether what a run promoted was not taken back since."""
    head = book.status.deployment
    return head is not None and head.version == run.version


def _regretted(book: Book) -> bool:
    head = book.status.deployment
    forecasts = book.track.forecasts if book.track is not None else ()
    return any(one.regret and head is not None and one.version == head.version for one in forecasts)


def _newest(live: Sequence[RunSummary]) -> Iterator[str]:
    run = next((run for run in reversed(live) if run.difference is not None), None)
    if run is None or run.difference is None:
        return
    value, low, high = run.difference
    beyond = "beyond chance" if low > 0 or high < 0 else "within chance"
    yield (
        f"The newest promotion, of {day(run.as_of)}, differed from what it replaced by {signed(value)} ROC-AUC on the same "
        f"holdout ({signed(low)} to {signed(high)}), {beyond}."
    )


def _trend(live: Sequence[RunSummary]) -> Iterator[str]:
    scored = [(run, run.challenger.roc_auc) for run in live if run.challenger and run.challenger.roc_auc is not None]
    if len(scored) < 2:
        return
    shown = scored[-LIVE_RUNS:]
    values = " → ".join(fixed(value, 3) for _, value in shown)
    yield (
        f"Holdout ROC-AUC over the last {len(shown)} that went live, from {day(shown[0][0].as_of)} on: {values}. Each has a "
        "holdout of its own, so that part of this is the season."
    )


def _came_true(track: TrackRecord | None) -> Iterator[str]:
    if track is None or not track.matured:
        return
    said = (
        f"Labels have come due for {track.matured} of {track.promotions} promotions: {track.covered} brought what the "
        "gate promised, within chance"
    )
    regrets = len(track.regrets)
    yield f"{said}; {regrets} {'is a regret' if regrets == 1 else 'are regrets'}." if regrets else f"{said}."


def _in_use(book: Book) -> Iterator[str]:
    """Say how the live version did on labels that came due, at its newest measurement."""
    head = book.status.deployment
    mine = [run for run in book.summaries if head is not None and run.champion == head.version]
    seen = next((run for run in reversed(mine) if run.recall is not None or run.roc_auc is not None), None)
    if seen is None:
        return
    named = [(name, found) for name, found in (("ROC-AUC", seen.roc_auc), ("recall", seen.recall)) if found is not None]
    said = " and ".join(
        f"{name} {number(found.value, 3)} ({interval((found.low, found.high))})" for name, found in named
    )
    rows = max(found.n for _, found in named)
    yield f"In use, on {rows:,} rows whose label is due, the live version has {said} as of {day(seen.as_of)}."
