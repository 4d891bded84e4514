"""Gather what pages are made of, and write them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from rehone.api.ahead import ahead
from rehone.api.door import Where, config_of, now
from rehone.api.standing import deployments, doctor, status
from rehone.api.wellbeing import health_of
from rehone.config import Config
from rehone.errors import RehoneError
from rehone.records import Realised, RunRecord, RunStatus, RunSummary, TrackRecord
from rehone.runlog import RunLog
from rehone.runlog.summaries import summaries
from rehone.runlog.told import parts_of

if TYPE_CHECKING:
    from rehone.report import Book


def report(project: Where = ".", out: str | Path = "report.html", *, runs: int = 20) -> Path:
    """Write one self-contained HTML page about a project, and return its path.

    Raises:
        RehoneError: what draws pages is not installed, or the file cannot be written.
    """
    from rehone.report import one_file

    config, path = config_of(project), Path(out)
    found = replace(book(config, runs=runs), checks=doctor(config, heal=False))
    text = one_file(found)
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise RehoneError(
            f"the report cannot be written to {path} ({error.strerror}): name another file with --out"
        ) from error
    return path


def book(project: Where = ".", *, runs: int = 20) -> Book:
    """Gather what pages are made of; at most `runs` newest records are read whole.

    Nothing is written but the index of runs in `project.cache`, and no data are read.
    """
    from rehone.report import Book

    config = config_of(project)
    brief, standing = summaries(config), status(config)
    wellbeing = health_of(config, brief)
    recent = _whole(config, sorted(brief, key=_began)[-runs:] if runs else [])
    log = RunLog.of(config)
    drawn = {record.run_id: log.figures(record) for record in recent}
    return Book(
        project=config.project.name,
        made_at=now(),
        status=standing,
        health=wellbeing,
        summaries=brief,
        deployments=deployments(config),
        recent=recent,
        figures={run_id: figures for run_id, figures in drawn.items() if figures is not None},
        track=_track(config, brief),
        ahead=ahead(config, standing, wellbeing),
        notes=_notes(brief, recent, runs),
    )


def _began(run: RunSummary) -> tuple[object, str]:
    return run.started_at, run.run_id


def _whole(config: Config, newest: Sequence[RunSummary]) -> tuple[RunRecord, ...]:
    """Read the records of the newest runs, oldest first; leave out those that cannot be read."""
    log = RunLog.of(config)
    wanted = {one.run_id for one in newest}
    found = list(parts_of(config, [line for line in log.lines() if line.run_id in wanted], RunRecord))
    if any(one.status is None for one in newest):
        known = {record.run_id for record in found}
        found += [record for record in log.unfinished([]) if record.run_id in wanted - known]
    return tuple(sorted(found, key=lambda record: (record.started_at, record.run_id)))


def _notes(every: Sequence[RunSummary], recent: Sequence[RunRecord], runs: int) -> tuple[str, ...]:
    lost = min(runs, len(every)) - len(recent)
    if lost <= 0:
        return ()
    return (f"{lost} of the newest {runs} run records cannot be read: `rehone doctor` says what is wrong with them.",)


def _track(config: Config, brief: Sequence[RunSummary]) -> TrackRecord | None:
    """Count how the gate's promises held, from what runs have recorded; None before the first promise."""
    told = {one.run_id: one for run in brief for one in run.realised}
    promises = [one for run in brief if (one := told.get(run.run_id) or _promise(config, run)) is not None]
    if not promises:
        return None
    from rehone import forecast

    return forecast.track_record(promises)


def _promise(config: Config, run: RunSummary) -> Realised | None:
    """Return the promise of a run that nobody has held against labels yet."""
    if run.status is not RunStatus.DEPLOYED or run.difference is None or run.version is None or run.champion is None:
        return None
    from rehone import forecast

    value, low, high = run.difference
    return forecast.promise(
        forecast.Promotion(run.run_id, run.version, run.champion, run.as_of),
        forecast.Promise(value, (low, high), run.challenger.positives if run.challenger else 0),
        level=config.gate.level,
        fewest=config.gate.min_positives,
    )
