"""Tell the whole story of a run, ending with the command that repeats it."""

from __future__ import annotations

from rehone.cli.approvals import answer_lines
from rehone.cli.forecasts import probe_lines, realised_lines
from rehone.cli.judged import candidate_lines, cost_lines, importance_lines, verdict_lines
from rehone.cli.served import shadow_lines
from rehone.cli.show import checks_lines, coloured, evidence_lines
from rehone.cli.text import clipped, fact, facts, moment, title, wrapped
from rehone.records import Delivery, RunRecord
from rehone.report import again, particulars
from rehone.report.particulars import bounds
from rehone.report.told import Told

_LONGEST = 160


def run_lines(told: Told, project: str, *, width: int, deliveries: tuple[Delivery, ...] = ()) -> list[str]:
    """Tell the whole story of a run: why, on what, how it was judged, what it did, and how to make it again."""
    record = told.record
    lines = [f"Run {record.run_id}: {coloured(record)}"]
    lines += wrapped(record.sentence, width, indent=2) if record.sentence else []
    lines += facts(particulars.run(record), width)
    lines += _stages(record, width)
    lines += _decided(record, width)
    lines += _judged(told, width)
    lines += _deployed(told, width)
    lines += _problem(record)
    lines += _deliveries(deliveries, project, width)
    lines += _since(told, width)
    return [*lines, *_again(record, project, width)]


def _stages(record: RunRecord, width: int) -> list[str]:
    said = ((each.name, f"{each.seconds:.1f} s: {each.sentence or 'no word'}") for each in record.stages)
    return [*title("Stages"), *facts(said, width)] if record.stages else []


def _decided(record: RunRecord, width: int) -> list[str]:
    lines = evidence_lines(record.evidence, width)
    if (fired := record.trigger) is not None:
        lines += checks_lines("Data incidents", fired.incidents, width)
        lines += checks_lines("Trigger checks", fired.checks, width, bounds.in_trigger(fired.checks, record.config))
    lines += checks_lines("Data checks", record.data_checks, width)
    return [*lines, *realised_lines(record.realised, width), *probe_lines(record.probe, width)]


def _judged(told: Told, width: int) -> list[str]:
    record, verdict = told.record, told.record.verdict
    lines = [*candidate_lines(record.candidates, width), *verdict_lines(verdict, width)]
    if verdict is not None:
        lines += checks_lines("Gate checks", verdict.checks, width, bounds.in_gate(verdict.checks, record.config))
    return [*lines, *cost_lines(told.figures, width), *importance_lines(told.figures, width)]


def _deployed(told: Told, width: int) -> list[str]:
    record = told.record
    lines = shadow_lines(record.shadow, width)
    if (seen := record.shadow_verdict) is not None:
        lines += wrapped(f"{seen.outcome}: {seen.reason}", width, indent=2)
        lines += checks_lines("Shadow checks", seen.checks, width, bounds.in_shadow(seen.checks, record.config))
    lines += checks_lines("Deployment checks", record.deployment_checks, width)
    if told.deployments:
        lines += [*title("Deployments"), *facts(particulars.timeline(told.deployments, record.run_id), width)]
    return lines


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
        elif delivery.missed:
            said = f"did not get through, and is not sent later: {delivery.error}"
        else:
            tries = f"tried {delivery.attempts} time{'s' if delivery.attempts != 1 else ''}"
            said = f"not told yet, {tries}: {delivery.error}; `rehone doctor{again.option(project)}` tries again"
        lines += fact(delivery.tracker, said, width)
    return lines


def _since(told: Told, width: int) -> list[str]:
    """Say in what the run before was configured otherwise; nothing where there was none."""
    if told.before is None:
        return []
    heading = title(f"Changed since run {told.before.run_id}")
    if not told.changed:
        return [*heading, "  nothing: the same configuration, Rehone and git commit"]
    changes = [f"{one.key}: {clipped(one.before, _LONGEST)} -> {clipped(one.now, _LONGEST)}" for one in told.changed]
    return [*heading, *(line for said in changes for line in wrapped(said, width, indent=2))]


def _again(record: RunRecord, project: str, width: int) -> list[str]:
    if record.waits:
        return ["", *answer_lines(record.run_id, project)]
    lines: list[str] = []
    if (proof := again.replay(record, project)) is not None:
        lines += [*title("Prove it"), f"  {proof}", *wrapped(again.REPLAYED, width, indent=2)]
    lines += [*title("Repeat it"), f"  {again.repeat(record, project)}"]
    return [*lines, *wrapped(again.REPEATED, width, indent=2)]
