"""Tell the story of a run, of a version, or of what a run would do."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import click

from rehone.api import STAGES
from rehone.cli.approvals import answer_lines, approval_lines
from rehone.cli.endings import BUG, of_run
from rehone.cli.estimates import estimate_lines, maturity_lines
from rehone.cli.forecasts import probe_lines, realised_lines
from rehone.cli.served import served_lines, shadow_lines
from rehone.cli.shifts import recalibration_line, shift_lines
from rehone.cli.text import check_lines, clipped, fact, moment, number, table, title, wrapped
from rehone.config import is_database
from rehone.records import (
    CandidateResult,
    Check,
    DataWindow,
    Delivery,
    Evidence,
    Metrics,
    ModelVersion,
    Preview,
    RunRecord,
    RunStatus,
    StageEnd,
    TriggerKind,
    Verdict,
    short_id,
)

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
    ending = ending_of(record)
    said = bool(record.stages) and record.stages[-1].sentence == record.sentence
    if quiet or not said:
        lines = wrapped(record.sentence, width, indent=2, first=f"{ending}: ") if record.sentence else [ending]
    else:
        lines = [ending]
    lines[0] = click.style(ending, fg=_colour(record), bold=True) + lines[0][len(ending) :]
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


def ending_of(record: RunRecord) -> str:
    """Name the ending of a run as people read it."""
    if record.waits:
        return "waits"
    return "unfinished" if record.status is None else str(record.status).replace("_", " ")


def _colour(record: RunRecord) -> str:
    return COLOURS[record.status] if record.status else "magenta"


def option(project: str) -> str:
    """Write the option that names the project, as it was given; nothing for the present folder."""
    return "" if Path(project) == Path() else f" -p {shlex.quote(project)}"


_REPEATED = (
    "Files, configuration and live version being the same, it learns from the same rows; but every run before it, "
    "this one too, counts towards the cooldown, the budget of trainings and the uses of the holdout."
)


def repeat_command(record: RunRecord, project: str) -> str:
    """Write the command that repeats a run while its files are there."""
    forced = (record.evidence is not None and record.evidence.forced) or (
        record.trigger is not None and record.trigger.kind is TriggerKind.FORCED
    )
    return f"rehone run --as-of {_as_of(record)}{' --force' if forced else ''}{option(project)}"


def _as_of(record: RunRecord) -> str:
    data = record.config.get("data", {})
    there = record.as_of.astimezone(ZoneInfo(data.get("timezone", "UTC")))
    if (there.hour, there.minute, there.second, there.microsecond) == (0, 0, 0, 0):
        return f"{there:%Y-%m-%d}"
    return there.astimezone(UTC).isoformat().replace("+00:00", "Z")


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
        lines += _data(preview.data, width)
    lines += _evidence(preview.evidence, width)
    if preview.trigger is not None:
        lines += _checks("Data incidents", preview.trigger.incidents, width)
        lines += _checks("Trigger", preview.trigger.checks, width)
    return [*lines, *_checks("Data", preview.data_checks, width)]


def run_lines(record: RunRecord, project: str, *, width: int, deliveries: tuple[Delivery, ...] = ()) -> list[str]:
    """Tell the whole story of a run, with what trackers were told of it, ending with the command that repeats it."""
    ending = ending_of(record)
    lines = [f"Run {record.run_id}: {click.style(ending, fg=_colour(record), bold=True)}"]
    if record.sentence:
        lines += wrapped(record.sentence, width, indent=2)
    lines += _facts(record, width)
    if record.stages:
        lines += title("Stages")
        for stage in record.stages:
            lines += fact(stage.name, f"{stage.seconds:.1f} s: {stage.sentence or 'no word'}", width)
    lines += _evidence(record.evidence, width)
    if (fired := record.trigger) is not None:
        lines += [*_checks("Data incidents", fired.incidents, width), *_checks("Trigger checks", fired.checks, width)]
    lines += _checks("Data checks", record.data_checks, width)
    lines += [*realised_lines(record.realised, width), *probe_lines(record.probe, width)]
    lines += _candidates(record.candidates, width)
    lines += _verdict(record.verdict, width)
    lines += shadow_lines(record.shadow, width)
    if record.shadow_verdict is not None:
        lines += wrapped(f"{record.shadow_verdict.outcome}: {record.shadow_verdict.reason}", width, indent=2)
        lines += _checks("Shadow checks", record.shadow_verdict.checks, width)
    lines += _checks("Deployment checks", record.deployment_checks, width)
    lines += _problem(record)
    lines += _deliveries(deliveries, project, width)
    lines += title("Repeat it")
    return [
        *lines,
        f"  {repeat_command(record, project)}",
        *wrapped(_REPEATED, width, indent=2),
    ]


def _evidence(evidence: Evidence | None, width: int) -> list[str]:
    """Tell what is known of labels, of what was served, of the estimates and of what has changed."""
    told = (maturity_lines, served_lines, estimate_lines, shift_lines)
    return [line for tell in told for line in tell(evidence, width)]


def _facts(record: RunRecord, width: int) -> list[str]:
    took = "not finished"
    if record.finished_at is not None:
        took = f"took {(record.finished_at - record.started_at).total_seconds():.1f} s"
    lines = fact("as of", moment(record.as_of), width)
    lines += fact("started", f"{moment(record.started_at)}, {took}, on {record.host} (process {record.pid})", width)
    git = f", git {record.git_commit}" if record.git_commit else ", not in git"
    lines += fact("project", f"{record.project}, Rehone {record.rehone_version}{git}", width)
    lines += fact("config", f"sha256 {record.config_sha256[:12]}, seed {record.seed}", width)
    if record.trigger is not None:
        kind = f"{record.trigger.kind}: " if record.trigger.kind else "none: "
        lines += fact("trigger", f"{kind}{record.trigger.reason}", width)
        lines += fact("flip", record.trigger.flip, width) if record.trigger.flip else []
    lines += fact("champion", short_id(record.champion), width)
    if record.data is not None:
        lines += _data(record.data, width)
    lines += _split(record, width)
    if record.version:
        lines += fact("version", record.version, width)
    lines += approval_lines(record, width)
    if record.deployment is not None:
        made = record.deployment
        served = short_id(made.version) if made.version else "nothing"
        lines += fact("deployment", f"generation {made.generation}: {made.action} of {served}, {made.state}", width)
    return lines


def _data(data: DataWindow, width: int) -> list[str]:
    unit = "day" if is_database(data.source) else "file"
    files = f", {len(data.files)} {unit}{'s' if len(data.files) != 1 else ''}" if data.files else ""
    positives = "" if data.positives is None else f", {data.positives:,} positives"
    lines = fact("data", f"{data.source}, {data.window}, {data.rows:,} rows{positives}{files}", width)
    return lines + fact("digest", data.sha256, width)


def _split(record: RunRecord, width: int) -> list[str]:
    split = record.split
    if split is None:
        return []
    trained = f"{split.train}, {split.train_rows:,} rows, {split.train_positives:,} positives"
    held = f"{split.holdout}, {split.holdout_rows:,} rows, {split.holdout_positives:,} positives"
    drawn = fact("drawn", split.drawn.sentence, width) if split.drawn else []
    return [*fact("train", trained, width), *drawn, *fact("holdout", held, width)]


def _checks(heading: str, checks: tuple[Check, ...], width: int) -> list[str]:
    if not checks:
        return []
    lines = title(heading)
    for check in checks:
        lines += check_lines(check, width)
    return lines


def _candidates(candidates: tuple[CandidateResult, ...], width: int) -> list[str]:
    if not candidates:
        return []
    ranked = any(found.newest_roc_auc is not None for found in candidates)
    rows = [("", "candidate", "window", "rows", "ROC-AUC", "std", *(("newest",) if ranked else ()), "seconds")]
    for found in candidates:
        mean = "failed" if found.error else _fixed(found.cv_roc_auc_mean)
        newest = (_fixed(found.newest_roc_auc),) if ranked else ()
        star, seconds = "*" if found.winner else "", number(found.fit_seconds, 3)
        cells = (found.window, f"{found.rows:,}", mean, _fixed(found.cv_roc_auc_std), *newest, seconds)
        rows.append((star, found.name, *cells))
    right = frozenset({3, 4, 5, 6, 7})
    others = len(table([(star, "", *cells) for star, _, *cells in rows], right=right)[-1])
    rows = [(star, clipped(name, max(width - others, len("candidate"))), *cells) for star, name, *cells in rows]
    lines = [*title("Candidates (cross-validated; * is the winner)"), *table(rows, right=right)]
    for found in candidates:
        if found.error:
            lines += wrapped(f"{found.name}, {found.window}: {found.error}", width, indent=2)
        if found.winner:
            lines += wrapped(f"* {_call(found)}", width, indent=2)
    return lines


def _call(found: CandidateResult) -> str:
    given = ", ".join(f"{name}={value!r}" for name, value in found.params.items())
    folds = ", ".join(_fixed(auc) for auc in found.fold_roc_auc)
    return f"{found.estimator}({given})" + (f"; folds {folds}" if folds else "")


def _fixed(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _verdict(verdict: Verdict | None, width: int) -> list[str]:
    if verdict is None:
        return []
    weak = " (weak evidence)" if verdict.weak_evidence else ""
    lines = title(f"Verdict: {verdict.outcome}{weak}")
    lines += wrapped(verdict.reason, width, indent=2)
    lines += wrapped(f"It {verdict.flip}.", width, indent=2) if verdict.flip else []
    measured = [(name, m) for name, m in (("challenger", verdict.challenger), ("champion", verdict.champion)) if m]
    if measured:
        lines += table(_metrics(measured), right=frozenset({1, 2}))
    return lines + _checks("Gate checks", verdict.checks, width)


def _metrics(measured: list[tuple[str, Metrics]]) -> list[tuple[str, ...]]:
    shown: tuple[tuple[str, Callable[[Metrics], str]], ...] = (
        ("ROC-AUC", lambda m: _fixed(m.roc_auc)),
        ("average precision", lambda m: _fixed(m.average_precision)),
        ("recall", lambda m: _fixed(m.recall)),
        ("precision", lambda m: _fixed(m.precision)),
        ("cost per 1,000", lambda m: number(m.cost_per_1000)),
        ("Brier score", lambda m: _fixed(m.brier)),
        ("threshold", lambda m: _fixed(m.threshold)),
        ("rows", lambda m: f"{m.n:,}"),
        ("positives", lambda m: f"{m.positives:,}"),
    )
    head = ("on the holdout", *(name for name, _ in measured))
    return [head, *((name, *(say(m) for _, m in measured)) for name, say in shown)]


def _problem(record: RunRecord) -> list[str]:
    if record.problem is None:
        return []
    lines = [*title("Problem"), f"  {record.problem.type}: {record.problem.message}"]
    return lines + [f"  {line}" for line in (record.problem.traceback or "").splitlines()]


def _deliveries(deliveries: tuple[Delivery, ...], project: str, width: int) -> list[str]:
    if not deliveries:
        return []
    lines = title("Trackers")
    for delivery in deliveries:
        if delivery.delivered_at is not None:
            said = f"told at {moment(delivery.delivered_at)}: {delivery.link}"
        else:
            tries = f"tried {delivery.attempts} time{'s' if delivery.attempts != 1 else ''}"
            said = f"not told yet, {tries}: {delivery.error}; `rehone doctor{option(project)}` tries again"
        lines += fact(delivery.tracker, said, width)
    return lines


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
