"""Ask whether the scores have moved, and how much of that another share of positives explains."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rehone.records import ScoreProfile
from rehone.shift.facts import Floats

FEWEST = 200
_STEPS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """What scores alone say; `reweighted_ks` and `prior` are `None` where the champion does not remember labels."""

    score_ks: float
    reweighted_ks: float | None
    prior: float | None


def outputs(scores: Floats | None, then: ScoreProfile | None, prior: float | None) -> Outputs | None:
    """Compare current scores, (m,), with the champion's out-of-sample ones, in the bins of its profile.

    `reweighted_ks` is what remains when the reference is mixed anew of its positives and its
    negatives, to the current share of positives: `prior` where that was measured, else the one
    under which current scores are likeliest (Saerens, Latinne and Decaestecker 2002, in bins).
    """
    if scores is None or then is None or scores.size < FEWEST or then.n < FEWEST:
        return None
    now = np.bincount(np.searchsorted(then.edges, scores, "left"), minlength=len(then.edges) + 1) / scores.size
    ks = _distance(np.asarray(then.counts) / then.n, now)
    positives, labelled = np.asarray(then.positives, dtype=float), np.asarray(then.labelled, dtype=float)
    if positives.size != now.size or not 0 < positives.sum() < labelled.sum():
        return Outputs(score_ks=ks, reweighted_ks=None, prior=prior)
    yes, no = positives / positives.sum(), (labelled - positives) / (labelled - positives).sum()
    share = likeliest(yes, no, now, float(positives.sum() / labelled.sum())) if prior is None else prior
    return Outputs(score_ks=ks, reweighted_ks=_distance(share * yes + (1 - share) * no, now), prior=share)


def likeliest(yes: Floats, no: Floats, now: Floats, start: float) -> float:
    """Return the share at which a mixture of two histograms is likeliest to give a third, all (bins,); by EM."""
    share = start
    for _ in range(_STEPS):
        mixed = share * yes + (1 - share) * no
        new = float((now * np.divide(share * yes, mixed, out=np.zeros_like(mixed), where=mixed > 0)).sum())
        if abs(new - share) < 1e-9:
            break
        share = new
    return share


def _distance(then: Floats, now: Floats) -> float:
    return float(np.abs(np.cumsum(then) - np.cumsum(now)).max())
