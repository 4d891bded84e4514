"""State when, where and by whom a run was made, of which configuration and on which rows."""

from __future__ import annotations

from collections.abc import Iterator

from rehone.config import is_database
from rehone.records import Approval, DataWindow, RunRecord, Split, short_id
from rehone.report.particulars.deployments import deployed
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
    took = "not ended" if record.seconds is None else f"took {record.seconds:.1f} s"
    yield "as of", moment(record.as_of)
    yield "started", f"{moment(record.started_at)}, {took}, on {record.host} (process {record.pid})"
    git = f", git {record.git_commit}" if record.git_commit else ", not in git"
    yield "project", f"{record.project}, Rehone {record.rehone_version}{git}"
    yield "config", f"sha256 {record.config_sha256[:12]}, seed {record.seed}"


def _came_of(record: RunRecord) -> Facts:
    if record.version:
        yield "version", record.version
    if record.approval is not None:
        yield from _asked(record.approval)
    if record.deployment is not None:
        yield "deployment", deployed(record.deployment)
    if record.cleared:
        yield "cleared", _cleared(record.cleared)


def data(window: DataWindow) -> Facts:
    """State exactly which rows were read."""
    unit = "day" if is_database(window.source) else "file"
    files = f", {len(window.files)} {unit}{'s' if len(window.files) != 1 else ''}" if window.files else ""
    positives = "" if window.positives is None else f", {window.positives:,} positives"
    yield "data", f"{window.source}, {window.window}, {window.rows:,} rows{positives}{files}"
    yield "digest", window.sha256


def _split(split: Split) -> Facts:
    yield "train", f"{split.train}, {split.train_rows:,} rows, {split.train_positives:,} positives"
    if split.drawn:
        yield "drawn", split.drawn.sentence
    yield "holdout", f"{split.holdout}, {split.holdout_rows:,} rows, {split.holdout_positives:,} positives"


def _cleared(runs: tuple[str, ...]) -> str:
    which = f"run {runs[0]}" if len(runs) == 1 else f"{len(runs)} runs ({runs[0]} to {runs[-1]})"
    return f"what the gate of {which} was given is no longer kept (deploy.keep_judged)"


def _asked(asked: Approval) -> Facts:
    beside = f"champion {short_id(asked.champion)} (generation {asked.generation})" if asked.champion else "no champion"
    yield "approval", f"asked at {moment(asked.asked_at)} against {beside}, {_answer(asked)}"
    if asked.judged_again:
        yield "", "judged again, since the deployment log had moved on: the verdict below is the second one"


def _answer(asked: Approval) -> str:
    if asked.approved is None:
        return f"open until {moment(asked.until)}"
    answer, when = "approved" if asked.approved else "rejected", f" at {moment(asked.at)}" if asked.at else ""
    return f"{answer} by {asked.by}{when}: {asked.because or 'no reason given'}"
