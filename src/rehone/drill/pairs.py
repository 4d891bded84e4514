"""Bring many pairs of equal models before the gate, and count how often one is shipped.

The models are fits of one recipe on parts of the same rows. Within each block of the holdout it is
drawn by lot which of two models answers as the challenger and which as the champion, so that both
sides have the same law exactly, whichever model is better: what is left is chance, as large as it is
on these rows. Each model's scores are moved (in log-odds) so that all have the champion's threshold.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from rehone import compare, gate
from rehone.drill.ground import Ground
from rehone.pipeline.given import unpack
from rehone.records import CheckStatus, Outcome, Pairs, Verdict

MODELS = 4
TINY = 1e-9

Scores = NDArray[np.float64]


def equal_pairs(ground: Ground, tries: int, progress: Callable[[int, int], None]) -> Pairs:
    """Judge `tries` pairs of equal models with the configured gate, on the same rows as everything else."""
    own = ground.champion
    fits = [ground.fit(ground.sample(20 + n), seed=20 + n).predictor for n in range(MODELS - 1)]
    models = [own, *fits]
    scores = np.array([_moved(m.predict_proba(ground.scene.held), m.threshold, own.threshold) for m in models])
    given = _given(ground)
    lots = _Lots(given["holdout"], ground.config.project.seed)
    verdicts = []
    for number in range(tries):
        one, other = lots.pair(scores)
        verdicts.append(_judged(given, one, other, own.threshold))
        progress(number + 1, tries)
    return _counted(verdicts, ground)


def _given(ground: Ground) -> dict[str, Any]:
    """Return all that a run would give the gate for the honest challenger; past champions are no pair."""
    ground.bring()
    record = ground.scene.draft.record
    given = unpack(ground.scene.runlog.kept(record), source="what the gate was given")
    return {**given, **({"anchors": ()} if "anchors" in given else {})}


def _moved(scores: Scores, own: float, common: float) -> Scores:
    """Move scores in log-odds so that a threshold of `own` becomes `common`; the order stays."""
    ends = (TINY, 1 - TINY)
    by = logit(np.clip(common, *ends)) - logit(np.clip(own, *ends))
    return np.asarray(expit(logit(np.clip(scores, *ends)) + by))


class _Lots:
    """Draw which two models meet, and in each block who is who."""

    def __init__(self, holdout: gate.Holdout, seed: int) -> None:
        blocks = holdout.blocks if holdout.blocks is not None else np.asarray(holdout.times, dtype="datetime64[D]")
        _, self._block_of = np.unique(blocks, return_inverse=True)
        self._draw = np.random.default_rng(seed)

    def pair(self, scores: Scores) -> tuple[Scores, Scores]:
        first, second = self._draw.choice(len(scores), 2, replace=False)
        turned = self._draw.random(self._block_of.max() + 1) < 0.5
        swap = turned[self._block_of]
        return np.where(swap, scores[second], scores[first]), np.where(swap, scores[first], scores[second])


def _judged(given: Mapping[str, Any], challenger: Scores, champion: Scores, threshold: float) -> Verdict:
    return gate.judge(
        **{
            **given,
            "challenger": replace(given["challenger"], scores=challenger, threshold=threshold),
            "champion": replace(given["champion"], scores=champion, threshold=threshold),
        }
    )


def _counted(verdicts: list[Verdict], ground: Ground) -> Pairs:
    tries = len(verdicts)
    shipped = sum(v.outcome is Outcome.PASS for v in verdicts)
    worse = sum(_called_worse(v) for v in verdicts)
    level = ground.config.gate.level
    stated = [p for p in map(_stated, verdicts) if p is not None]
    return Pairs(
        tries=tries,
        shipped=shipped,
        weak=sum(v.outcome is Outcome.PASS and v.weak_evidence for v in verdicts),
        failed=worse,
        interval=compare.clopper_pearson(shipped, tries, 0.95) if tries else None,
        stated=float(np.mean(stated)) if stated else None,
        false_failures=1 - level,
        detail=_few_floors(verdicts),
    )


def _called_worse(verdict: Verdict) -> bool:
    """Say whether an equal challenger was called worse by a comparison, not refused by a minimum."""
    return any(c.status is CheckStatus.ACT and c.name.endswith("_vs_champion") for c in verdict.checks)


def _stated(verdict: Verdict) -> float | None:
    """Return what the gate itself says of an equal challenger: the chance that it passes."""
    del verdict
    return None


def _few_floors(verdicts: list[Verdict]) -> str:
    floors = sum(any(c.status is CheckStatus.ACT and c.name.startswith("min_") for c in v.checks) for v in verdicts)
    return f"{floors} of {len(verdicts)} fell below a minimum of the gate, which is no comparison" if floors else ""
