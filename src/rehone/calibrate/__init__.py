"""Find in a project's own history from which drift on its model had lost recall, and which limits follow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from rehone.calibrate import judging
from rehone.calibrate.history import Ruler, baseline_of, measure, stretches, windows_of
from rehone.calibrate.recorded import recorded
from rehone.calibrate.signals import FEWEST_WINDOWS
from rehone.config import Config
from rehone.errors import NotFound
from rehone.pipeline.maturing import open_matured
from rehone.records import Calibration, CalibrationWindow, short_id
from rehone.runlog import RunLog, refuse_lost_store
from rehone.store import Store, has_store

__all__ = ["Origin", "Question", "calibrate"]

Origin = Literal["auto", "records", "data"]


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is asked of history.

    `drop` is the share of the baseline's recall whose loss counts as a fall; `window_days` the
    length of windows (`None`: `trigger.window_days`, as limits are meant for it); `version`
    holds one version for ever instead of taking who was live; `seed` is of the bootstrap.
    """

    as_of: datetime
    drop: float = 0.10
    window_days: float | None = None
    version: str | None = None
    origin: Origin = "auto"
    seed: int = 0


def calibrate(config: Config, question: Question, heard: Callable[[int, int], None] = lambda *_: None) -> Calibration:
    """Hold drift against recall in all windows of history; `heard` is told how many of them are done.

    Evidence of recorded runs is taken when there is enough of it, else the data are measured
    again, window by window, against the version that was live.

    Raises:
        NotFound: nothing was ever live, or there is no such version.
        DataError: the data cannot be read.
    """
    runlog = RunLog.of(config)
    refuse_lost_store(config, runlog.lines())
    if not has_store(config):
        raise NotFound("nothing was ever live: `rehone run` makes a first version, then history begins")
    windows, origin = _from_records(config, question, runlog), "records"
    if windows is None:
        windows, origin = _from_data(config, question, runlog, heard), "data"
    asked = judging.Asked(windows=windows, drop=question.drop, seed=question.seed)
    found = judging.signals(asked, config.trigger)
    made = Calibration(
        project=config.project.name,
        as_of=question.as_of,
        origin=origin,
        window_days=_days(config, question),
        drop=question.drop,
        windows=tuple(windows),
        signals=found,
        features=judging.of_features(asked, config.trigger),
        sentence="",
        chance=judging.chance(asked),
        changes=_with_length(judging.changes(found, config.trigger), config, question),
        notes=tuple(_notes(windows, question)),
    )
    return replace(made, sentence=_sentence(made))


def _with_length(changes: dict[str, float], config: Config, question: Question) -> dict[str, float]:
    """Change the length of windows too when limits were learned on another one: shorter windows drift farther."""
    days = _days(config, question)
    return changes | {"trigger.window_days": days} if changes and days != config.trigger.window_days else changes


def _days(config: Config, question: Question) -> float:
    return question.window_days or config.trigger.window_days


def _from_records(config: Config, question: Question, runlog: RunLog) -> Sequence[CalibrationWindow] | None:
    """Return what runs have recorded; `None` when that is not asked for, or too little."""
    if question.origin == "data" or (question.origin == "auto" and (question.version or question.window_days)):
        return None
    runs = [run for run in runlog.records() if run.as_of <= question.as_of]
    found = recorded(runs, config.trigger, question.drop)
    return found if question.origin == "records" or len(found) >= FEWEST_WINDOWS else None


def _from_data(
    config: Config, question: Question, runlog: RunLog, heard: Callable[[int, int], None]
) -> Sequence[CalibrationWindow]:
    config, feeds, _ = open_matured(config, question.as_of, champion=True)
    ruler = Ruler(config=config, source=feeds.offline or feeds.learn, drop=question.drop)
    days = _days(config, question)
    lived = stretches(Store.of(config), config, question.as_of, question.version)
    baselines = {s.champion.id: baseline_of(s.champion, runlog) for s in lived}
    todo = [(s.champion, window) for s in lived for window in windows_of(s, days)]
    made = []
    for i, (champion, window) in enumerate(todo, 1):
        made.append(measure(ruler, champion, window, baselines[champion.id]))
        heard(i, len(todo))
    return made


def _notes(windows: Sequence[CalibrationWindow], question: Question) -> list[str]:
    """Say what could not be used, and how more could be known."""
    notes = []
    unknown = [w for w in windows if w.fallen is None]
    if unknown:
        why = unknown[0].detail or ("its version's recall when it was judged is not known" if unknown[0].recall else "")
        notes.append(f"{len(unknown)} of {len(windows)} windows could not be judged, the first of them because: {why}")
    versions = list(dict.fromkeys(w.version for w in windows))
    if len(windows) - len(unknown) < FEWEST_WINDOWS and question.version is None and len(versions) > 1:
        notes.append(
            "a version that is replaced often has no time to decay: hold the first one for the whole of history with "
            f"--version {short_id(versions[0])}"
        )
    return notes


def _sentence(made: Calibration) -> str:
    known = [w for w in made.windows if w.fallen is not None]
    if not known:
        again = ": `--from data` measures it again from the rows" if made.origin == "records" else ""
        return f"no window of history has drift, recall and a baseline: nothing can be learned from it yet{again}"
    fallen = sum(bool(w.fallen) for w in known)
    seen = f"{len(known)} windows, in {fallen} of them recall was {made.drop:.0%} or more below its baseline"
    if made.changes:
        return (
            f"{seen}: {' and '.join(f'{key} = {value:g}' for key, value in made.changes.items())} would have told most"
        )
    if any(s.predicts for s in made.signals):
        return f"{seen}: drift tells, but nothing is to be changed"
    if all(s.predicts is False for s in made.signals):
        return (
            f"{seen}: neither PSI nor score KS tells where; let labels decide (recall, cost), and take drift as a hint"
        )
    useless = [_NAMES[s.name] for s in made.signals if s.predicts is False]
    said = f"{useless[0]} does not tell where, and of the other it cannot be said" if useless else "that is not enough"
    return f"{seen}: {said}; leave the limits as they are"


_NAMES = {"psi": "PSI", "score_ks": "score KS"}
