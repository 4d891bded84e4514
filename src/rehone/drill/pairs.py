"""Bring pairs of models whose difference is known before the gate, and count what passes.

The models are fits of one recipe on parts of the same rows. Within each block of the holdout it is
drawn by lot which of two models answers as the challenger and which as the champion, so that both
sides have the same law exactly, whichever model is better: what is left is chance, as large as it is
on these rows. Each model's scores are moved (in log-odds) so that all have the champion's threshold.
A challenger that is one margin worse is such a one whose log-odds are blurred with noise, as much as
costs that margin of ROC-AUC.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from rehone import compare, gate, metrics
from rehone.drill.ground import Ground
from rehone.pipeline.given import unpack
from rehone.records import CheckStatus, Outcome, Pairs, Verdict

MODELS = 4
BLURS = 20
TINY = 1e-9

EQUAL = re.compile(r"were it equal, with (0\.\d+|1\.0*)")
WORSE = re.compile(r"worse, this comparison would pass it with probability (0\.\d+|1\.0*)")
"""The gate's own words on how often its comparison of ROC-AUC passes a challenger."""

Scores = NDArray[np.float64]


def known_pairs(ground: Ground, tries: int, progress: Callable[[int, int], None]) -> Pairs:
    """Judge `tries` pairs of equal models, and as many of which one is a margin worse, with the configured gate."""
    own, seed = ground.champion, ground.config.project.seed
    fits = [ground.fit(ground.sample(20 + n), seed=20 + n).predictor for n in range(MODELS - 1)]
    models = [own, *fits]
    scores = np.array([_moved(m.predict_proba(ground.scene.held), m.threshold, own.threshold) for m in models])
    given, lots, blur = _given(ground), np.random.default_rng(seed), _blur(ground, scores)
    blocks = _blocks(given["holdout"])
    equal, worse = [], []
    for number in range(tries):
        one, other = _pair(scores, blocks, lots)
        equal.append(_judged(given, one, other, own.threshold))
        worse.append(_judged(given, _blurred(one, blur, lots), other, own.threshold))
        progress(number + 1, tries)
    return _counted(equal, worse)


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


def _blocks(holdout: gate.Holdout) -> NDArray[np.int64]:
    blocks = holdout.blocks if holdout.blocks is not None else np.asarray(holdout.times, dtype="datetime64[D]")
    return np.asarray(np.unique(blocks, return_inverse=True)[1])


def _pair(scores: Scores, blocks: NDArray[np.int64], lots: np.random.Generator) -> tuple[Scores, Scores]:
    """Draw which two models meet, and in each block who is who."""
    first, second = lots.choice(len(scores), 2, replace=False)
    swap = (lots.random(blocks.max() + 1) < 0.5)[blocks]
    return np.where(swap, scores[second], scores[first]), np.where(swap, scores[first], scores[second])


def _blur(ground: Ground, scores: Scores) -> float:
    """Find the noise that costs one margin of ROC-AUC, on average over the models and several draws."""
    aim = np.mean([_roc_auc(ground, one) for one in scores]) - ground.config.gate.margin_roc_auc
    low, high = 0.0, 20.0
    for _ in range(12):
        middle, lots = (low + high) / 2, np.random.default_rng(ground.config.project.seed)
        reached = np.mean([_roc_auc(ground, _blurred(one, middle, lots)) for one in scores for _ in range(BLURS)])
        low, high = (middle, high) if reached > aim else (low, middle)
    return (low + high) / 2


def _roc_auc(ground: Ground, scores: Scores) -> float:
    return metrics.roc_auc(ground.labels, scores) or 0.0


def _blurred(scores: Scores, by: float, lots: np.random.Generator) -> Scores:
    clear = logit(np.clip(scores, TINY, 1 - TINY))
    return np.asarray(expit(clear + by * lots.normal(size=clear.size)))


def _judged(given: Mapping[str, Any], challenger: Scores, champion: Scores, threshold: float) -> Verdict:
    return gate.judge(
        **{
            **given,
            "challenger": replace(given["challenger"], scores=challenger, threshold=threshold),
            "champion": replace(given["champion"], scores=champion, threshold=threshold),
        }
    )


def _counted(equal: list[Verdict], worse: list[Verdict]) -> Pairs:
    tries, shipped = len(equal), sum(v.outcome is Outcome.PASS for v in equal)
    equal_passed, worse_passed = (sum(map(_passed, verdicts)) for verdicts in (equal, worse))
    return Pairs(
        tries=tries,
        shipped=shipped,
        weak=sum(v.outcome is Outcome.PASS and v.weak_evidence for v in equal),
        called_worse=sum(map(_called_worse, equal)),
        shipped_interval=_bounds(shipped, tries),
        equal_passed=equal_passed,
        equal_interval=_bounds(equal_passed, tries),
        equal_stated=_stated(equal, EQUAL),
        worse_passed=worse_passed,
        worse_interval=_bounds(worse_passed, tries),
        worse_stated=_stated(worse, WORSE),
        detail=_few_floors(equal),
    )


def _bounds(hits: int, tries: int) -> tuple[float, float]:
    return compare.clopper_pearson(hits, tries, 0.95)


def _passed(verdict: Verdict) -> bool:
    """Say whether the comparison of ROC-AUC let the challenger pass, on whatever evidence."""
    return any(
        c.name == "roc_auc_vs_champion" and c.status in (CheckStatus.OK, CheckStatus.WARN) for c in verdict.checks
    )


def _called_worse(verdict: Verdict) -> bool:
    """Say whether an equal challenger was called worse by a comparison, not refused by a minimum."""
    return any(c.status is CheckStatus.ACT and c.name.endswith("_vs_champion") for c in verdict.checks)


def _stated(verdicts: list[Verdict], sentence: re.Pattern[str]) -> float | None:
    """Return the chance of passing that the gate itself states, on average; `None` where it states none."""
    said = [sentence.search(check.detail) for v in verdicts for check in v.checks if check.name == "power"]
    found = [float(match[1]) for match in said if match]
    return float(np.mean(found)) if found else None


def _few_floors(verdicts: list[Verdict]) -> str:
    floors = sum(any(c.status is CheckStatus.ACT and c.name.startswith("min_") for c in v.checks) for v in verdicts)
    return f"{floors} of {len(verdicts)} fell below a minimum of the gate, which is no comparison" if floors else ""
