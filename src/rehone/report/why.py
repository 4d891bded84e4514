"""Tell why something was live, in at most ten lines, each from a record that can be looked up."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from rehone.records import (
    Deployment,
    DeploymentAction,
    Outcome,
    Realised,
    RunRecord,
    RunStatus,
    RunSummary,
    Why,
    short_id,
)
from rehone.report import lives
from rehone.report.lives import Stay
from rehone.report.wording import ending, signed, told, words

REFUSED = (RunStatus.REJECTED, RunStatus.INCONCLUSIVE, RunStatus.ROLLED_BACK)
JUDGED = {"roc_auc_vs_champion": "ROC-AUC", "recall_vs_champion": "recall", "cost_vs_champion": "cost"}
SHOWN = 2
"""Refused challengers that are told of; the rest are counted."""
ROOM = 110
"""Characters of a reason after which it is cut where a clause ends."""


@dataclass(frozen=True, kw_only=True)
class Past:
    """What is known of a project: its deployment log, its runs in brief, and how to read a whole record.

    `record` returns None for a run whose record is gone or cannot be read. Days are told in `zone`; `now` is the
    moment of asking.
    """

    deployments: Sequence[Deployment]
    runs: Sequence[RunSummary]
    record: Callable[[str], RunRecord | None]
    zone: ZoneInfo
    now: datetime

    def stays(self) -> tuple[Stay, ...]:
        """Return what was live, oldest first."""
        return lives.stays(self.deployments, {run.run_id: run.started_at for run in self.runs})


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What was asked: `text` as it was written, and the moment; of a day its beginning and its last moment."""

    text: str
    moment: datetime
    begins: datetime | None = None


def on(asked: Asked, past: Past) -> Why:
    """Tell what was live at a moment, or at the end of a day, and why."""
    found = past.stays()
    stay = lives.at(found, min(asked.moment, past.now))
    teller = _Teller(past)
    if stay is None:
        lines = [*teller.before(asked, found), *teller.others(asked, found, None)]
    else:
        lines = [teller.live_on(asked, stay), *teller.others(asked, found, stay), *teller.story(stay)]
    return teller.why(asked.text, stay, lines)


def of_version(asked: str, version: str, past: Past) -> Why:
    """Tell when a version was live, and why; the story is that of the last time."""
    found = [stay for stay in lives.every(past.stays()) if stay.version == version]
    teller = _Teller(past)
    if not found:
        return teller.why(asked, None, [*teller.never(version)], version)
    return teller.why(asked, found[-1], [teller.times(found), *teller.story(found[-1])])


class _Teller:
    """Tells one story, and keeps which runs it spoke of."""

    def __init__(self, past: Past) -> None:
        self._past = past
        self._named: list[str] = []

    def why(self, asked: str, stay: Stay | None, lines: Sequence[str], version: str | None = None) -> Why:
        """Put the lines together, the command to see more at their end."""
        runs = tuple(dict.fromkeys(self._named))
        more = f"`rehone show {runs[0]}` tells more of it, " if runs else ""
        more += "`rehone history` lists all runs."
        return Why(
            asked=asked,
            version=stay.version if stay else version,
            deployment=stay.entered if stay else None,
            lines=(*lines, more[0].upper() + more[1:]),
            runs=runs,
        )

    # what was live

    def live_on(self, asked: Asked, stay: Stay) -> str:
        """Say what was live at that moment, from when until when."""
        future = (asked.begins or asked.moment) > self._past.now
        at = f"{asked.text} has not come yet; now" if future else f"On {asked.text}"
        what = f"version {short_id(stay.version)}" if stay.version else "nothing"
        trial = "" if stay.confirmed or stay.version is None else " on trial"
        first = f" (generation {stay.entered.generation})"
        return (
            f"{at} {what} {'is' if future else 'was'} live{trial}, {self._span(stay)}{first}.{self._calendar([stay])}"
        )

    def times(self, found: Sequence[Stay]) -> str:
        """Say of a version when it was live, each time."""
        spans = [
            f"{'' if stay.confirmed else 'on trial '}{self._span(stay)} (generation {stay.entered.generation})"
            for stay in found
        ]
        verb = "was" if found[-1].until else "has been"
        return f"Version {short_id(found[0].version)} {verb} live {', and '.join(spans)}.{self._calendar(found)}"

    def others(self, asked: Asked, found: Sequence[Stay], stay: Stay | None) -> Iterator[str]:
        """Name what else was live on that day."""
        if asked.begins is None:
            return
        also = [one for one in lives.every(found) if one.touches(asked.begins, asked.moment) and one is not stay]
        if also:
            yield f"On the same day too: {'; '.join(self._briefly(one) for one in also)}."

    def before(self, asked: Asked, found: Sequence[Stay]) -> Iterator[str]:
        """Say that nothing was live yet, and what came first."""
        yield f"On {asked.text} nothing was live yet."
        if not found:
            yield "Nothing has gone live since: `rehone run` makes a first version."
            return
        first = found[0]
        yield _full(f"The first was {self._briefly(first)}{self._by(first.entered)}: {_cut(first.entered.reason)}")
        yield from self._refused(None, first.since, first)

    def never(self, version: str) -> Iterator[str]:
        """Say that a version was never live, and how the run that made it ended."""
        yield f"Version {short_id(version)} was never live."
        run = self._made(version)
        if run is not None:
            ended = f"{words(ending(run))}: {run.sentence}"
            yield _full(f"Run {self._name(run.run_id)} made it on {self._day(_day(run))}: {ended}")
            yield from self._trigger(run)

    # why

    def story(self, stay: Stay) -> Iterator[str]:
        """Say what put a version there, what the gate found, what came true, and what came after."""
        by_hand = stay.entered.action is DeploymentAction.ROLLBACK
        run = self._made(stay.version) if by_hand else self._run(stay.entered.run_id)
        if by_hand:
            by = f" by {stay.entered.actor}" if stay.entered.actor else ""
            yield _full(f"It was put there{by}, as generation {stay.entered.generation}: {_cut(stay.entered.reason)}")
        if stay.version is not None:
            yield from self._making(stay, run)
        yield from self._refused(stay.since, stay.until, stay)
        yield self._end(stay)

    def _making(self, stay: Stay, run: RunSummary | None) -> Iterator[str]:
        """Say which run made a version, from what, why, against which other, and what became of its promise."""
        named = run.run_id if run else stay.entered.run_id
        if named is None:
            yield "No run is known that made it."
            return
        record = self._past.record(named)
        yield self._learned(named, self._starter(stay, run), record)
        if run is None:
            yield _full(f"Why: {_cut(stay.entered.reason)}")
            return
        yield from self._trigger(run)
        yield from _gate(run, record)
        if stay.entered.action is not DeploymentAction.ROLLBACK:
            yield self._replaced(stay, run)
        if stay.confirmed:
            said = " ".join((*self._came_true(run), *self._in_use(stay)))
            yield from filter(None, (said,))

    def _starter(self, stay: Stay, run: RunSummary | None) -> str:
        """Name who started the run: whoever deployed, but where one person approved or rolled back what another made."""
        other = run is None or run.approval is not None or stay.entered.run_id != run.run_id
        return "" if other else f", started by {stay.entered.actor}"

    def _learned(self, run_id: str, started: str, record: RunRecord | None) -> str:
        said = f"Run {self._name(run_id)} made it{started}"
        if record is None:
            return f"{said}; its record cannot be read: `rehone doctor` says why."
        if record.split is None or record.winner is None:
            return f"{said}."
        split, winner = record.split, record.winner
        train, holdout = split.train, split.holdout
        return (
            f"{said}: {winner.name} learned from {split.train_rows:,} rows of {self._day(train.start)} to "
            f"{self._day(train.end)}, and was judged on {split.holdout_rows:,} rows up to {self._day(holdout.end)}."
        )

    def _trigger(self, run: RunSummary) -> Iterator[str]:
        if run.trigger is not None:
            yield _full(f"Trigger: {run.trigger}: {run.reason}")

    def _replaced(self, stay: Stay, run: RunSummary) -> str:
        """Say which version it took the place of when its run deployed it, and who allowed that."""
        verb = "It replaced" if stay.confirmed else "It was to replace"
        said = f"{verb} version {short_id(run.champion)}" if run.champion else "It replaced nothing"
        before = [one for one in self._past.stays() if one.version == run.champion and one.since <= _day(run)]
        if run.champion and before:
            said += f", live since {self._day(before[-1].since)}"
        answer = run.approval
        if answer is not None and answer.approved and answer.at is not None:
            because = f": {_cut(answer.because)}" if answer.because else ""
            said += f"; {answer.by} approved it on {self._day(answer.at)}{because}"
        return _full(said)

    def _came_true(self, run: RunSummary) -> Iterator[str]:
        """Say what became of the gate's promise; a first version made none."""
        if run.difference is None:
            return
        found = self._realised(run.run_id)
        if found is None or found.detail == "":
            yield "What came true since: not known; no run has held it against labels yet."
        else:
            regret = " (to be regretted)" if found.regret else ""
            yield _full(f"What came true since{' so far' if found.open else ''}: {found.detail}{regret}")

    def _in_use(self, stay: Stay) -> Iterator[str]:
        """Say what labels that came due showed of a version, by the last run that looked at it before its end."""
        looked = [
            run
            for run in self._past.runs
            if run.champion == stay.version
            and run.roc_auc is not None
            and stay.since <= _begun(run) <= (stay.until or self._past.now)
        ]
        if looked and (found := looked[-1].roc_auc) is not None:
            yield (
                f"In use it had ROC-AUC {found.value:.4f} ({found.low:.4f} to {found.high:.4f}) on {found.n:,} rows whose "
                f"label was due on {self._day(looked[-1].as_of)}."
            )

    def _realised(self, run_id: str) -> Realised | None:
        told_of = [one for run in self._past.runs for one in run.realised if one.run_id == run_id]
        return told_of[-1] if told_of else None

    # what came meanwhile, and after

    def _refused(self, since: datetime | None, until: datetime | None, stay: Stay) -> Iterator[str]:
        """Name the challengers that were refused meanwhile, the newest first."""
        found = [
            run
            for run in self._past.runs
            if run.status in REFUSED
            and run.run_id != stay.entered.run_id
            and (since is None or _day(run) >= since)
            and (until is None or _day(run) < until)
        ]
        if not found:
            return
        newest = found[: -SHOWN - 1 : -1]
        parts = [
            f"{self._day(_day(run))} {words(run.status)}, run {self._name(run.run_id)}: {_because(run)}"
            for run in newest
        ]
        rest = f"; and {len(found) - len(newest)} more" if len(found) > len(newest) else ""
        yield _full(f"Refused {'before' if since is None else 'meanwhile'}: {'; '.join(parts)}{rest}")

    def _end(self, stay: Stay) -> str:
        left = stay.left
        if left is None or stay.until is None:
            return "It is live still." if stay.version else "Nothing is live still."
        day, by = self._day(stay.until), self._by(left)
        if left.action is DeploymentAction.ROLLBACK:
            after = f"version {short_id(left.version)}" if left.version else "nothing"
            return _full(f"Rolled back on {day} to {after}{by}: {_cut(left.reason)}")
        return _full(f"Replaced on {day} by version {short_id(left.version)}{by}: {_cut(left.reason)}")

    # words

    def _span(self, stay: Stay) -> str:
        since = self._day(stay.since)
        if stay.until is None:
            return f"since {since}"
        until = self._day(stay.until)
        return f"on {since} alone" if until == since else f"from {since} until {until}"

    def _calendar(self, found: Sequence[Stay]) -> str:
        """Say it where days are those of the data and not of the clock."""
        replayed = [stay for stay in found if stay.replayed]
        if not replayed:
            return ""
        made = self._day(replayed[-1].entered.at)[:10]
        return f" Days are those the runs were made of: they were replayed on {made}."

    def _briefly(self, stay: Stay) -> str:
        """Name a stay beside others; a trial is told of where it did not last."""
        what = f"version {short_id(stay.version)}" if stay.version else "nothing"
        if stay.version is None or stay.confirmed:
            return f"{what}, {self._span(stay)}"
        return f"{what} on trial{', rolled back' if stay.until else ''}, {self._span(stay)}"

    def _by(self, record: Deployment) -> str:
        """Name the run that wrote a record of the log, or the person."""
        return f", run {self._name(record.run_id)}" if record.run_id else f", by {record.actor}"

    def _name(self, run_id: str) -> str:
        self._named.append(run_id)
        return run_id

    def _day(self, when: datetime) -> str:
        """Write a moment in the zone of the data, which is named where it is not UTC; midnight as the day alone."""
        local = when.astimezone(self._past.zone)
        if (local.hour, local.minute, local.second) == (0, 0, 0):
            return f"{local:%Y-%m-%d}"
        return f"{local:%Y-%m-%d %H:%M}{'' if self._past.zone.key == 'UTC' else f' {local:%Z}'}"

    def _run(self, run_id: str | None) -> RunSummary | None:
        return next((run for run in self._past.runs if run.run_id == run_id), None)

    def _made(self, version: str | None) -> RunSummary | None:
        """Return the run that published a version; where several did, the one that it went live with."""
        made = [run for run in self._past.runs if run.version is not None and run.version == version]
        return max(made, key=lambda run: (run.status is RunStatus.DEPLOYED, run.started_at), default=None)


def _day(run: RunSummary) -> datetime:
    """Return when a run was, by the same calendar as deployments."""
    ended = run.finished_at or run.started_at
    return run.as_of if lives.is_replay(run.as_of, run.started_at) else ended


def _begun(run: RunSummary) -> datetime:
    """Return when a run began, by the same calendar: the run that replaces a version still looked at it."""
    return run.as_of if lives.is_replay(run.as_of, run.started_at) else run.started_at


def _gate(run: RunSummary, record: RunRecord | None) -> Iterator[str]:
    """Say what the gate found, with the interval against the margin."""
    if run.difference is None or run.challenger is None or run.judged_champion is None:
        if run.verdict:
            yield _full(f"Gate: {_cut(run.verdict)}")
        return
    value, low, high = run.difference
    checks = record.verdict.checks if record is not None and record.verdict is not None else ()
    margin = next((check.limit for check in checks if check.name == "roc_auc_vs_champion"), None)
    said = f"Gate: ROC-AUC {run.challenger.roc_auc:.4f} against {run.judged_champion.roc_auc:.4f} on the same rows, "
    said += f"difference {signed(value)} ({signed(low)} to {signed(high)})"
    if margin is not None:
        said += f", must be above {signed(margin)}"
    if run.weak_evidence:
        unsettled = [of for name, of in JUDGED.items() if any(c.name == name and c.status == "warn" for c in checks)]
        said += f", on weak evidence{f': these rows cannot settle {_and(unsettled)}' if unsettled else ''}"
    yield _full(said)


def _because(run: RunSummary) -> str:
    refused = run.outcome is not None and run.outcome is not Outcome.PASS
    return _cut(run.verdict if refused and run.verdict else run.sentence)


def _cut(text: str) -> str:
    return told(text, ROOM)[0]


def _and(names: Sequence[str]) -> str:
    return " and ".join(names)


def _full(sentence: str) -> str:
    return sentence if sentence.endswith((".", "…")) else f"{sentence}."
