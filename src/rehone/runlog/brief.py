"""Say of one run what lists and trends need, out of its whole record."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from rehone.records import (
    Check,
    CheckStatus,
    Estimate,
    Evidence,
    FeatureDrift,
    Outcome,
    RunRecord,
    RunSummary,
    TriggerDecision,
    Verdict,
)

_DRIFT = ("psi", "score_ks")


def brief(record: RunRecord) -> RunSummary:
    """Return a run in brief."""
    trigger, problem, deployment = record.trigger, record.problem, record.deployment
    told = RunSummary(
        run_id=record.run_id,
        as_of=record.as_of,
        started_at=record.started_at,
        finished_at=record.finished_at,
        status=record.status,
        sentence=record.sentence,
        trigger=trigger.kind if trigger else None,
        reason=trigger.reason if trigger else "",
        incidents=_incidents(record),
        trained=record.winner is not None,
        champion=record.champion,
        version=record.version,
        generation=deployment.generation if deployment else None,
        newest_row=_newest_row(record),
        realised=record.realised,
        approval=record.approval,
        problem=f"{problem.type}: {problem.message}" if problem else None,
    )
    return _with_verdict(_with_evidence(told, record), record.verdict, record.shadow_verdict)


def _incidents(record: RunRecord) -> int:
    """Count what blocked the run: incidents of drift, and checks of the data that act."""
    found = record.trigger.incidents if record.trigger else ()
    return len(found) + sum(check.status is CheckStatus.ACT for check in record.data_checks)


def _newest_row(record: RunRecord) -> datetime | None:
    fresh = next((c for c in record.data_checks if c.name == "stale" and c.value is not None), None)
    if fresh is None or fresh.value is None:
        return None
    return record.as_of - timedelta(seconds=round(fresh.value * 86400))


def _with_evidence(told: RunSummary, record: RunRecord) -> RunSummary:
    evidence = record.evidence
    if evidence is None:
        return told
    worst = _worst(evidence, record.config.get("trigger", {}).get("ignore", ()))
    mine = record.verdict is None or evidence.champion == record.champion
    return replace(
        _with_performance(told, evidence) if mine else told,  # judged again, the champion is another than was looked at
        age_days=evidence.age_days,
        rows=evidence.rows,
        window=evidence.window,
        label_rate=_label_rate(evidence.recall, record.data_checks),
        worst_feature=worst.feature if worst else None,
        worst_psi=worst.psi if worst else None,
        drift_acts=_drift_acts(record.trigger),
        newest_label=evidence.newest_label,
    )


def _with_performance(told: RunSummary, evidence: Evidence) -> RunSummary:
    return replace(
        told,
        recall=evidence.recall,
        cost_per_1000=evidence.cost_per_1000,
        roc_auc=evidence.roc_auc,
        estimated_recall=evidence.estimated.recall if evidence.estimated else None,
    )


def _worst(evidence: Evidence, ignored: tuple[str, ...]) -> FeatureDrift | None:
    """Return the drift that is largest among those that may act."""
    able = [d for d in evidence.drift if d.psi is not None and not d.ignored and d.feature not in ignored]
    return max(able, key=lambda drift: drift.psi or 0.0, default=None)


def _label_rate(recall: Estimate | None, checks: tuple[Check, ...]) -> float | None:
    """Return the share of positives among matured labels of the newest window, else of the rows to learn from."""
    if recall is not None and recall.n:
        return recall.positives / recall.n
    return next((check.value for check in checks if check.name == "label_rate"), None)


def _drift_acts(trigger: TriggerDecision | None) -> bool:
    """Say whether some drift was beyond its limit that is no fault of the feed."""
    if trigger is None:
        return False
    faults = {check.subject for check in trigger.incidents}
    return any(c.name in _DRIFT and c.status is CheckStatus.ACT and c.subject not in faults for c in trigger.checks)


def _with_verdict(told: RunSummary, gate: Verdict | None, shadow: Verdict | None) -> RunSummary:
    if gate is None:
        return told
    last = shadow if shadow is not None and shadow.outcome is not Outcome.PASS else gate
    checks = {check.name: check for check in reversed(gate.checks)}
    least, caught, ahead = (checks.get(name) for name in ("min_roc_auc", "min_recall", "roc_auc_vs_champion"))
    difference = None
    if ahead is not None and ahead.value is not None and ahead.interval is not None:
        difference = (ahead.value, *ahead.interval)
    return replace(
        told,
        outcome=last.outcome,
        verdict=last.reason,
        weak_evidence=gate.weak_evidence,
        challenger=gate.challenger,
        judged_champion=gate.champion,
        roc_auc_interval=least.interval if least else None,
        recall_interval=caught.interval if caught else None,
        difference=difference,
    )
