"""Read history from the evidence of earlier runs: no row is needed, so that it outlives the data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

from rehone.calibrate.history import judged
from rehone.config import Trigger
from rehone.pipeline.maturing import delay_recorded
from rehone.records import CalibrationWindow, Estimate, Evidence, RunRecord, Window

ALIKE = 0.5
"""Share of both windows together that the window of drift and that of recall must have in common."""


@dataclass(frozen=True)
class Measured:
    """A recall that some run measured: of which version, on which rows."""

    version: str
    window: Window
    recall: Estimate


def recorded(runs: Sequence[RunRecord], policy: Trigger, drop: float) -> tuple[CalibrationWindow, ...]:
    """Pair each run's drift with the recall that a run measured later on nearly the same rows.

    Labels come late, so both are rarely of one run. Windows that overlap an earlier one are left out.
    """
    baselines = {r.version: _baseline(r) for r in runs if r.version is not None}
    recalls = [found for run in runs if (found := _measured(run)) is not None]
    made: list[CalibrationWindow] = []
    for run in sorted(runs, key=lambda r: r.as_of):
        evidence = run.evidence
        if evidence is None or evidence.window is None or evidence.champion is None or not evidence.drift:
            continue
        if made and evidence.window.start < made[-1].window.end:
            continue
        recall = _nearest(evidence.champion, evidence.window, recalls)
        if recall is not None:
            made.append(judged(_window(evidence, recall, baselines.get(evidence.champion), policy), drop))
    return tuple(made)


def _measured(run: RunRecord) -> Measured | None:
    evidence = run.evidence
    if evidence is None or evidence.champion is None or evidence.matured is None or evidence.recall is None:
        return None
    end = min(evidence.matured.end, evidence.as_of - timedelta(days=delay_recorded(run)))
    if end <= evidence.matured.start:
        return None
    return Measured(evidence.champion, Window(evidence.matured.start, end), evidence.recall)


def _baseline(run: RunRecord) -> float | None:
    return run.verdict.challenger.recall if run.verdict and run.verdict.challenger else None


def _nearest(version: str, window: Window, recalls: Sequence[Measured]) -> Estimate | None:
    same = [(_overlap(window, m.window), m.recall) for m in recalls if m.version == version]
    best = max(same, key=lambda pair: pair[0], default=(0.0, None))
    return best[1] if best[0] >= ALIKE else None


def _overlap(one: Window, other: Window) -> float:
    """Return the length that two windows share, as a part of what they cover together."""
    shared = (min(one.end, other.end) - max(one.start, other.start)) / timedelta(days=1)
    return max(shared, 0.0) / max(one.days + other.days - max(shared, 0.0), 1e-9)


def _window(evidence: Evidence, recall: Estimate, baseline: float | None, policy: Trigger) -> CalibrationWindow:
    psi_of = dict(_acting(evidence, policy))
    worst = max(psi_of, key=lambda name: psi_of[name], default="")
    if evidence.window is None or evidence.champion is None:
        raise ValueError("evidence without a window or a champion cannot be paired")
    return CalibrationWindow(
        window=evidence.window,
        version=evidence.champion,
        rows=evidence.rows,
        psi=psi_of.get(worst),
        feature=worst,
        score_ks=evidence.scores.ks if evidence.scores else None,
        recall=recall,
        baseline=baseline,
        psi_of=psi_of,
    )


def _acting(evidence: Evidence, policy: Trigger) -> Iterator[tuple[str, float]]:
    for found in evidence.drift:
        ignored = found.feature in policy.ignore or bool(found.ignored) or found.incident is not None
        if found.psi is not None and not ignored:
            yield found.feature, found.psi
