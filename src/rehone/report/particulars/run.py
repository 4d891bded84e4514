"""State when, where and by whom a run was made, of which configuration and on which rows."""

from __future__ import annotations

from collections.abc import Iterator

from rehone.config import is_database
from rehone.records import Approval, DataWindow, Deployment, RunRecord, Split, short_id
from rehone.report.wording import moment

Facts = Iterator[tuple[str, str]]


def run(record: RunRecord) -> Facts:
    """State the facts of a run, but for what it found."""
    yield from _made(record)
    if record.trigger is not None:
        yield "trigger", f"{record.trigger.kind or 'none'}: {record.trigger.reason}"
        if record.trigger.flip:
            yield "flip", record.trigger.flip
    yield "champion", short_id(record.champion)
    if record.data is not None:
        yield from data(record.data)
    if record.split is not None:
        yield from _split(record.split)
    yield from _came_of(record)


def _made(record: RunRecord) -> Facts:
    took = "not finished"
    if record.finished_at is not None:
        took = f"took {(record.finished_at - record.started_at).total_seconds():.1f} s"
    yield "as of", moment(record.as_of)
    yield "started", f"{moment(record.started_at)}, {took}, on {record.host} (process {record.pid})"
    git = f", git {record.git_commit}" if record.git_commit else ", not in git"
    yield "project", f"{record.project}, Rehone {record.rehone_version}{git}"
    yield "config", f"sha256 {record.config_sha256[:12]}, seed {record.seed}"


def _came_of(record: RunRecord) -> Facts:
    if record.version:
        yield "version", record.version
    if record.approval is not None:
        yield "approval", _approval(record.approval)
    if record.deployment is not None:
        yield "deployment", deployed(record.deployment)


def data(window: DataWindow) -> Facts:
    """State exactly which rows were read."""
    unit = "day" if is_database(window.source) else "file"
    files = f", {len(window.files)} {unit}{'s' if len(window.files) != 1 else ''}" if window.files else ""
    positives = "" if window.positives is None else f", {window.positives:,} positives"
    yield "data", f"{window.source}, {window.window}, {window.rows:,} rows{positives}{files}"
    yield "digest", window.sha256


def deployed(made: Deployment) -> str:
    """Say what one record of the deployment log did."""
    served = short_id(made.version) if made.version else "nothing"
    return f"generation {made.generation}: {made.action} of {served}, {made.state}"


def _split(split: Split) -> Facts:
    yield "train", f"{split.train}, {split.train_rows:,} rows, {split.train_positives:,} positives"
    if split.drawn:
        yield "drawn", split.drawn.sentence
    yield "holdout", f"{split.holdout}, {split.holdout_rows:,} rows, {split.holdout_positives:,} positives"


def _approval(asked: Approval) -> str:
    over = f"to replace {short_id(asked.champion)}" if asked.champion else "with nothing live"
    if asked.approved is None:
        return f"waits since {moment(asked.asked_at)} for a person, until {moment(asked.until)}, {over}"
    word = "approved" if asked.approved else "rejected"
    when = f" at {moment(asked.at)}" if asked.at else ""
    why = f": {asked.because}" if asked.because else ", no reason given"
    again = "; judged again, because another version was live by then" if asked.judged_again else ""
    return f"{word} by {asked.by or 'nobody'}{when}{why}{again}"
