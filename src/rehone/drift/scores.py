"""Measure the distance between the scores of a reference and current ones, and how often chance makes as much."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rehone.drift.law import p_of_ks, score_law
from rehone.drift.weekdays import WEEK, day_weights, scores_of, span, too_short
from rehone.records import Counts, Profile, ScoreDrift


def score_drift(reference: Profile, current: Counts) -> ScoreDrift:
    """Return the largest distance between both distributions of scores, and its p-value.

    The distance is read at the edges of the histogram (about 100 quantiles), so it is at most
    the exact one. The p-value is Kolmogorov's, with Stephens's correction for small samples, or
    that of the reference's own days where it knows how much they vary, whichever is larger.
    """
    then, now = reference.scores, current.scores
    n, m = then.n if then else 0, now.n if now else 0
    weights = day_weights(reference, current)
    if then is None or now is None or not n or not m:
        return ScoreDrift(ks=None, n_reference=n, n_current=m, detail=_no_scores(n, m))
    if isinstance(weights, str):
        return ScoreDrift(ks=None, n_reference=n, n_current=m, detail=weights)
    weighed = scores_of(then.counts, then.by_weekday, weights, short=span(current) < WEEK)
    if weighed is None:
        why = "the reference's scores are not known by day of the week"
        return ScoreDrift(ks=None, n_reference=n, n_current=m, detail=too_short(span(current), why))
    total = float(weighed.sum())
    before, after = np.cumsum(weighed) / total, np.cumsum(now.counts) / m
    place = int(np.argmax(np.abs(after - before)))
    ks = float(abs(after[place] - before[place]))
    law = score_law(then.spread, total, m, span(current)) if current.oldest is not None else None
    return ScoreDrift(
        ks=ks,
        p_value=max(p_of_ks(ks, total, m), p_of_ks(ks, total, m, law) if law is not None else 0.0),
        n_reference=round(total),
        n_current=m,
        basis="theory" if law is None else "history",
        history=law,
        detail=_where_scores(then.edges, place, float(before[place]), float(after[place])),
    )


def _where_scores(edges: Sequence[float], place: int, before: float, after: float) -> str:
    if place >= len(edges):
        return "both distributions are the same"
    return f"{before:.1%} -> {after:.1%} of scores are at most {edges[place]:.4g}"


def _no_scores(n: int, m: int) -> str:
    return "no scores of current rows" if n and not m else "the reference has no out-of-sample scores"
