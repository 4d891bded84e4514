"""Lay a run record out as the flat parameters, numbers and words that trackers list and compare."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rehone.records import CandidateResult, Check, Estimate, Evidence, Metrics, RunRecord, ShadowReport

Pair = tuple[str, Any]


def params(record: RunRecord) -> dict[str, str]:
    """Return what was given: every key of the configuration that has a value, and how the winner was made."""
    found: dict[str, Any] = {"as_of": record.as_of.isoformat(), "seed": record.seed, "force": _forced(record)}
    if record.winner is not None:
        winner = record.winner
        found |= {"winner": winner.name, "winner.estimator": winner.estimator, "winner.window": winner.window}
        found |= {f"winner.params.{name}": value for name, value in winner.params.items()}
    found |= dict(_flat("config", record.config))
    return {name: str(value) for name, value in found.items()}


def metrics(record: RunRecord) -> dict[str, float]:
    """Return what was measured, by name; what was not measured has no name."""
    pairs = (
        *_run(record),
        *_evidence(record.evidence),
        *_candidates(record),
        *_judged(record),
        *_shadow(record.shadow),
    )
    return {name: float(value) for name, value in pairs if value is not None and math.isfinite(value)}


def tags(record: RunRecord) -> dict[str, str]:
    """Return how the run was called and how it ended, in words; what does not apply has no name."""
    trigger, verdict, made = record.trigger, record.verdict, record.deployment
    found = {
        "run_id": record.run_id,
        "project": record.project,
        "status": record.status,
        "sentence": record.sentence,
        "trigger": trigger.kind if trigger else None,
        "trigger_reason": trigger.reason if trigger else None,
        "verdict": verdict.outcome if verdict else None,
        "verdict_reason": verdict.reason if verdict else None,
        "weak_evidence": str(verdict.weak_evidence).lower() if verdict else None,
        "champion": record.champion,
        "version": record.version,
        "generation": made.generation if made else None,
        "deployment": f"{made.action} {made.state}" if made else None,
        "git_commit": record.git_commit,
        "host": record.host,
        "rehone_version": record.rehone_version,
        "config_sha256": record.config_sha256,
        "data_sha256": record.data.sha256 if record.data else None,
        "problem": record.problem.type if record.problem else None,
    }
    return {name: str(value) for name, value in found.items() if value is not None and value != ""}


def _word(name: str) -> str:
    """Return a name without slashes, which trackers take for the end of a group."""
    return name.replace("/", "_")


def _forced(record: RunRecord) -> bool:
    return record.evidence is not None and record.evidence.forced


def _flat(name: str, value: Any) -> Iterator[Pair]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(f"{name}.{key}", inner)
    elif value is not None:
        yield name, value


def _run(record: RunRecord) -> Iterator[Pair]:
    yield "seconds", record.seconds
    for stage in record.stages:
        yield f"stage/{_word(stage.name)}.seconds", stage.seconds
    if record.data is not None:
        yield "data/rows", record.data.rows
        yield "data/positives", record.data.positives
        yield "data/files", len(record.data.files)
    if record.split is not None:
        for name in ("train_rows", "train_positives", "holdout_rows", "holdout_positives"):
            yield f"split/{name}", getattr(record.split, name)
    yield from _checks("data_check", record.data_checks)
    yield from _checks("deployment_check", record.deployment_checks)


def _evidence(evidence: Evidence | None) -> Iterator[Pair]:
    if evidence is None:
        return
    yield "evidence/rows", evidence.rows
    yield "evidence/age_days", evidence.age_days
    for feature in evidence.drift:
        yield f"drift/{_word(feature.feature)}.psi", feature.psi
        yield f"drift/{_word(feature.feature)}.p_value", feature.p_value
        yield f"drift/{_word(feature.feature)}.noise", feature.noise
    if evidence.scores is not None:
        yield "drift_of_scores/ks", evidence.scores.ks
        yield "drift_of_scores/p_value", evidence.scores.p_value
    yield from _estimate("evidence/recall", evidence.recall)
    yield from _estimate("evidence/cost_per_1000", evidence.cost_per_1000)
    yield from _estimate("evidence/roc_auc", evidence.roc_auc)
    if evidence.coverage is not None:
        yield "evidence/labelled_share", evidence.coverage.share


def _estimate(name: str, found: Estimate | None) -> Iterator[Pair]:
    if found is not None:
        yield from ((name, found.value), (f"{name}.low", found.low), (f"{name}.high", found.high))


def _candidates(record: RunRecord) -> Iterator[Pair]:
    for candidate in record.candidates:
        yield from _candidate(f"candidate/{_word(candidate.name)}.{candidate.window}.", candidate)
    if record.winner is not None:
        yield from _candidate("winner/", record.winner)


def _candidate(name: str, found: CandidateResult) -> Iterator[Pair]:
    yield f"{name}cv_roc_auc_mean", found.cv_roc_auc_mean
    yield f"{name}cv_roc_auc_std", found.cv_roc_auc_std
    yield f"{name}newest_roc_auc", found.newest_roc_auc
    yield f"{name}rows", found.rows
    yield f"{name}fit_seconds", found.fit_seconds
    for n, auc in enumerate(found.fold_roc_auc, 1):
        yield f"{name}fold_{n}.roc_auc", auc


def _judged(record: RunRecord) -> Iterator[Pair]:
    if record.trigger is not None:
        yield from _checks("trigger", (*record.trigger.checks, *record.trigger.incidents))
    for place, verdict in (("gate", record.verdict), ("shadow_gate", record.shadow_verdict)):
        if verdict is not None:
            yield from _checks(place, verdict.checks)
    if record.verdict is not None:
        yield from _metrics("holdout/challenger", record.verdict.challenger)
        yield from _metrics("holdout/champion", record.verdict.champion)


def _metrics(name: str, found: Metrics | None) -> Iterator[Pair]:
    if found is None:
        return
    for field in ("n", "positives", "roc_auc", "average_precision", "recall", "precision"):
        yield f"{name}.{field}", getattr(found, field)
    for field in ("cost_per_1000", "brier", "threshold"):
        yield f"{name}.{field}", getattr(found, field)


def _checks(place: str, checks: Iterable[Check]) -> Iterator[Pair]:
    for check in checks:
        name = f"{place}/{check.name}.{_word(check.subject)}" if check.subject else f"{place}/{check.name}"
        for field in ("value", "limit", "baseline", "p_value", "n"):
            yield f"{name}.{field}", getattr(check, field)
        if check.interval is not None:
            yield from zip((f"{name}.low", f"{name}.high"), check.interval, strict=True)


def _shadow(report: ShadowReport | None) -> Iterator[Pair]:
    if report is None:
        return
    for field in ("rows", "failed_rows", "skipped_rows", "changed_decisions"):
        yield f"shadow/{field}", getattr(report, field)
    for field in ("largest_difference", "champion_seconds", "challenger_seconds"):
        yield f"shadow/{field}", getattr(report, field)
