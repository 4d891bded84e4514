"""Tell how a run ended, what a run would do, and the facts of a version."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from rehone.api import STAGES
from rehone.cli.approvals import answer_lines
from rehone.cli.endings import BUG, of_run
from rehone.cli.estimates import estimate_lines, matured_lines, maturity_lines
from rehone.cli.served import served_lines
from rehone.cli.shifts import recalibration_line, shift_lines
from rehone.cli.text import check_lines, clipped, fact, facts, moment, number, table, title, wrapped
from rehone.records import Check, Evidence, ModelVersion, Preview, RunRecord, RunStatus, RunSummary, StageEnd, short_id
from rehone.report import particulars
from rehone.report.again import option
from rehone.report.wording import ending, words

COLOURS = {
    RunStatus.SKIPPED: "cyan",
    RunStatus.DEPLOYED: "green",
    RunStatus.REJECTED: "yellow",
    RunStatus.INCONCLUSIVE: "yellow",
    RunStatus.ROLLED_BACK: "red",
    RunStatus.FAILED: "red",
}


def run_ending(record: RunRecord, project: str, *, quiet: bool, width: int) -> list[str]:
    """Say how a run ended; the sentence only if the last stage has not just said it."""
    ended = ending_of(record)
    said = bool(record.stages) and record.stages[-1].sentence == record.sentence
    if quiet or not said:
        lines = wrapped(record.sentence, width, indent=2, first=f"{ended}: ") if record.sentence else [ended]
    else:
        lines = [ended]
    lines[0] = coloured(record) + lines[0][len(ended) :]
    if quiet:
        return lines
    if of_run(record) == BUG:
        return [
            *lines,
            "This is a bug in Rehone: please report it with what this command prints:",
            f"  {_show(record, project)}",
        ]
    return [*lines, f"`{_show(record, project)}` tells the whole story."]


def stage_end(end: StageEnd, project: str) -> list[str]:
    """Say what comes next for an open run, as the command that does it."""
    if end.stage == STAGES[-1]:
        return answer_lines(end.run_id, project)
    following = STAGES[STAGES.index(end.stage) + 1]
    return [f"Run {end.run_id} goes on with:", f"  rehone stage {following} --run {end.run_id}{option(project)}"]


def _show(record: RunRecord, project: str) -> str:
    return f"rehone show {record.run_id}{option(project)}"


def ending_of(record: RunRecord | RunSummary) -> str:
    """Name the ending of a run as people read it."""
    return words(ending(record))


def coloured(record: RunRecord) -> str:
    """Name the ending of a run, in its colour."""
    return click.style(ending_of(record), fg=COLOURS[record.status] if record.status else "magenta", bold=True)


def preview_lines(preview: Preview, width: int) -> list[str]:
    """Say what a run would do and every check behind it."""
    answer = "would retrain" if preview.would_train else "would not retrain"
    lines = wrapped(preview.sentence, width, indent=2, first=f"{answer}: ")
    lines[0] = click.style(answer, bold=True) + lines[0][len(answer) :]
    lines += fact("as of", moment(preview.as_of), width)
    lines += fact("champion", short_id(preview.champion), width)
    if preview.evidence is not None and preview.evidence.window is not None:
        lines += fact("window", f"{preview.evidence.window}, {preview.evidence.rows:,} rows", width)
    if preview.trigger is not None and preview.trigger.flip:
        lines += fact("flip", preview.trigger.flip, width)
    if preview.data is not None:
        lines += facts(particulars.data(preview.data), width)
    lines += evidence_lines(preview.evidence, width)
    if preview.trigger is not None:
        lines += checks_lines("Data incidents", preview.trigger.incidents, width)
        lines += checks_lines("Trigger", preview.trigger.checks, width)
    return [*lines, *checks_lines("Data", preview.data_checks, width)]


def evidence_lines(evidence: Evidence | None, width: int) -> list[str]:
    """Tell what is known of labels, of what was served, of the estimates and of what has changed."""
    told = (maturity_lines, matured_lines, served_lines, estimate_lines, shift_lines)
    return [line for tell in told for line in tell(evidence, width)]


def checks_lines(heading: str, checks: tuple[Check, ...], width: int, note: str = "") -> list[str]:
    """Write checks under a heading, with a note below; nothing where there are none."""
    if not checks:
        return []
    lines = title(heading)
    for check in checks:
        lines += check_lines(check, width)
    return [*lines, *(wrapped(note, width, indent=2) if note else [])]


def version_lines(version: ModelVersion, project: str, *, width: int) -> list[str]:
    """State the facts of a version, from its manifest."""
    m = version.manifest
    lines = [f"Version {click.style(version.short, bold=True)}"]
    lines += fact("id", version.id, width)
    lines += fact("project", m.project, width)
    lines += fact("made", f"{moment(m.created_at)}, as of {moment(m.as_of)}, by run {m.run_id}", width)
    given = ", ".join(f"{name}={value!r}" for name, value in m.params.items())
    lines += fact("model", f"{m.estimator}({given}), window {m.window_policy!r}", width)
    lines += recalibration_line(m.recalibration, width)
    lines += fact("threshold", number(m.threshold, 6), width)
    trained = (
        f"{m.train_window}, {m.train_rows:,} rows, {m.train_positives:,} positives; newest row {_exact(m.train_end)}"
    )
    lines += fact("trained on", trained, width)
    lines += fact("digest", m.data_sha256, width)
    lines += fact("label", m.contract.label, width)
    lines += fact("requires", ", ".join(f"{name} {v}" for name, v in sorted(m.requires.items())) or "nothing", width)
    lines += title(f"Features ({len(m.contract.features)})")
    for feature in m.contract.features:
        known = f"{feature.kind}"
        if feature.categories:
            known += f", {len(feature.categories)} values: {clipped(', '.join(feature.categories), 200)}"
        lines += fact(feature.name, known, width, column=max(12, *(min(len(n), 24) for n in m.contract.names)))
    lines += title("Files")
    rows = [("file", "bytes", "sha256"), *((n, f"{f.bytes:,}", f.sha256[:16]) for n, f in sorted(m.files.items()))]
    lines += table(rows, right=frozenset({1}))
    lines += title("Put it back")
    return [*lines, f"  rehone rollback --to {version.short}{option(project)}"]


def _exact(when: datetime) -> str:
    return when.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
