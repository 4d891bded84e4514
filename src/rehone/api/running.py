"""Run a project, whole or stage by stage, and say beforehand what a run would do."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

from rehone.api.door import When, Where, config_of, door_for, door_of, moment, now
from rehone.api.telling import told
from rehone.config import Config
from rehone.errors import NotFound
from rehone.records import Event, Preview, RunRecord, StageEnd
from rehone.runlog import RunLog


def run_pipeline(
    project: Where = ".",
    *,
    as_of: When = None,
    force: bool = False,
    listen: Callable[[Event], None] | None = None,
    frame: object | None = None,
) -> RunRecord:
    """Do what `rehone run` does, and return the record of the run.

    It has no status yet, and `waits`, where a challenger waits for a person (`approve`, `reject`).

    Args:
        project: folder with a `rehone.toml`, that file, or a `Config`.
        as_of: pretend that it is this day (its midnight in `data.timezone`); left out: now.
        force: train a challenger although no trigger fired; validation and the gate stay.
        listen: is told each stage as it starts, gets on and ends.
        frame: lazy frame (PySpark, DuckDB, Dask, SQLFrame, Polars) that stands for data.source.

    Raises:
        ConfigError: the project's configuration cannot be used.
        StoreError: the run's own record cannot be written.
    """
    from rehone import pipeline

    config = config_of(project)
    door = replace(door_for(config, moment(as_of, config), force=force, listen=listen), frame=frame)
    return told(config, pipeline.run(config, door))


STAGES = ("check", "validate", "train", "judge", "deploy")
"""The stages of a run that can be made alone, in their order."""

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
"""What a caller may call a run that it begins; ids begin with a digit."""


def run_stage(
    project: Where,
    stage: str,
    *,
    run: str | None = None,
    as_of: When = None,
    force: bool = False,
    listen: Callable[[Event], None] | None = None,
) -> StageEnd:
    """Make one stage of a run, in this process, and return where the run stands after it.

    `check` without `run` begins a run, with `as_of` and `force` as in `run_pipeline`; every other
    stage goes on with the run named. A stage that has ended is not made again; one that was
    interrupted is, and until then the run stays open: `close_run` ends it, or the next run does
    after `project.resume_hours`.

    A caller that may die before it has noted the id gives the run a name of its own: up to 64
    letters, digits, `-` and `_`, of which the first is a letter. `check` begins a run of that name,
    or goes on with the one that is open, and the name does as `run` wherever an id does.

    With `deploy.approval = "manual"`, a `deploy` without an ending has left a challenger that waits
    for a person (`approve`, `reject`).

    Raises:
        ConfigError: the configuration cannot be used, or is not the one that the run began with.
        NotFound: there is no such run or stage.
        Locked: another run or stage is under way.
        RehoneError: the stage was interrupted, or one before it has not ended; the run stays open.
    """
    from rehone import pipeline

    config = config_of(project)
    if stage == "check" and (run is None or _to_begin(config, run)):
        door = door_for(config, moment(as_of, config), force=force, listen=listen, name=run)
        end = pipeline.check(config, door)
    elif run is None:
        raise NotFound(f"which run is stage {stage} to go on with? Name it; stage check begins one")
    else:
        end = pipeline.stage(config, door_of(config, run, listen), stage)
    if end.status is not None or stage == STAGES[-1]:  # without an ending after the last stage, it waits for a person
        told(config, RunLog.of(config).find(end.run_id))
    return end


def _to_begin(config: Config, run: str) -> bool:
    """Say whether this is a caller's own name for a run, and none of that name rests after its check."""
    if not NAME.fullmatch(run):
        return False
    try:
        found = RunLog.of(config).find(run)
    except NotFound:
        return True
    return found.staged_until is None or found.staged_until <= now()


def resume_run(project: Where, run: str, *, listen: Callable[[Event], None] | None = None) -> RunRecord:
    """Make the stages that are left of a run that is made stage by stage, and return its record.

    A run that waits for a person goes on waiting.

    Raises:
        As `run_stage`.
    """
    config = config_of(project)
    found = RunLog.of(config).find(run)
    for stage in STAGES:
        if run_stage(config, stage, run=found.run_id, listen=listen).status is not None:
            break
    return RunLog.of(config).find(found.run_id)


def close_run(project: Where, run: str) -> RunRecord:
    """End a run that is made stage by stage as failed if it is still open, and return its record.

    One that waits for a person goes on waiting.

    Raises:
        NotFound: there is no such run.
        Locked: one of its stages is under way.
    """
    from rehone import pipeline

    config = config_of(project)
    return told(config, pipeline.close(config, door_of(config, run, None)))


def check(project: Where = ".", *, as_of: When = None, frame: object | None = None) -> Preview:
    """Say whether a run would retrain on that day, and why; change nothing.

    A lazy `frame` stands for data.source, as in `run_pipeline`.
    """
    from rehone import pipeline

    config = config_of(project)
    return pipeline.preview(config, as_of=moment(as_of, config), now=now(), frame=frame)
