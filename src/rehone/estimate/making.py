"""Estimate what decisions on unlabelled scores are worth, choose between two estimates, and say how sure to be."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from rehone.estimate.calibration import Expected, calibrate, expected
from rehone.estimate.draws import Drawn, Terms, draw
from rehone.estimate.reference import LEAST_POSITIVES, Floats, Reference
from rehone.estimate.shares import for_prior, mixture_fit, share_of
from rehone.records import Estimate, Estimated, Window

FIT_LEVEL = 0.01
"""Below this p-value the scores are no mixture of the reference's positives and negatives."""


def estimate(reference: Reference, scores: ArrayLike, threshold: float, *, window: Window, terms: Terms) -> Estimated:
    """Return what decisions on unlabelled scores, (n,), are expected to be worth, with intervals.

    Two estimates are made: the plain one, right while a score means what it meant (no change, or
    other inputs with the same meaning), and one for another share of positives. The plain one is
    reported unless the scores speak of another share and are a mixture of the reference's positives
    and negatives; `basis` names the choice, `other_recall` holds what was not chosen. `disagree` says
    that they contradict each other beyond their intervals, which scores alone cannot settle.

    Intervals are of what labels of these very rows will show: quantiles of `draws`, centred on the estimate, in which the
    reference's rows and labels are drawn anew and calibrated again, the rows are drawn anew to
    estimate the share, and labels are drawn for the rows. Rows count as independent.
    """
    s = np.asarray(scores, dtype=np.float64)
    s = s[np.isfinite(s)]
    if why := _why_not(reference, s):
        return Estimated(window=window, n=int(s.size), detail=why)
    acted, p = s >= threshold, calibrate(reference)(s)
    drawn = draw(reference, s, acted, terms)
    prior = share_of(reference, s)
    corrected = for_prior(p, reference.prior, prior)
    plain = _Side(expected(p, s, acted, terms.costs), drawn.plain, s.size, terms)
    other = _Side(expected(corrected, s, acted, terms.costs), drawn.corrected, s.size, terms)
    basis, why = _basis(reference, s, prior, drawn, terms)
    chosen, left = (other, plain) if basis == "label_shift" else (plain, other)
    if chosen.found.positives < terms.min_positives:
        few = (
            f"about {chosen.found.positives:.0f} positives are expected in {s.size:,} rows, need {terms.min_positives}"
        )
        return Estimated(window=window, n=int(s.size), prior=prior, prior_then=reference.prior, detail=few)
    return Estimated(
        window=window,
        n=int(s.size),
        recall=chosen.estimate("recall"),
        precision=chosen.estimate("precision"),
        cost_per_1000=chosen.estimate("cost_per_1000"),
        roc_auc=chosen.estimate("roc_auc"),
        prior=prior,
        prior_then=reference.prior,
        plain_recall=plain.found.recall,
        other_recall=left.estimate("recall"),
        other_cost_per_1000=left.estimate("cost_per_1000"),
        basis=basis,
        disagree=_contradict(plain.estimate("recall"), other.estimate("recall")),
        detail=why,
    )


def _why_not(reference: Reference, scores: Floats) -> str:
    if not reference.useful:
        both = min(reference.positives.sum(), (reference.labelled - reference.positives).sum())
        return f"the reference has {both:.0f} rows of its rarer label, need {LEAST_POSITIVES}"
    return "" if scores.size else "there is no row to estimate on"


@dataclass(frozen=True)
class _Side:
    """One estimate: what is expected, and the draws of each metric around it, (draws,)."""

    found: Expected
    draws: dict[str, Floats]
    n: int
    terms: Terms

    def estimate(self, name: str) -> Estimate | None:
        value, draws = getattr(self.found, name), self.draws[name]
        known = draws[np.isfinite(draws)]
        if value is None or 2 * known.size < draws.size:
            return None
        tail = (1 - self.terms.level) / 2
        low, high = (np.quantile(known, (tail, 1 - tail)) - known.mean() + value).tolist()
        most = np.inf if name == "cost_per_1000" else 1.0
        return Estimate(
            value=value, low=max(low, 0.0), high=min(high, most), n=self.n, positives=round(self.found.positives)
        )


def _basis(reference: Reference, scores: Floats, prior: float, drawn: Drawn, terms: Terms) -> tuple[str, str]:
    """Choose an estimate: "as_trained", "label_shift" or "covariate", and say why."""
    tail = (1 - terms.level) / 2
    low, high = np.quantile(drawn.prior - drawn.prior_then, (tail, 1 - tail)).tolist()
    then, now = f"{100 * reference.prior:.3g} %", f"{100 * prior:.3g} %"
    if low <= 0 <= high:
        return "as_trained", f"the scores speak of {now} positives, as before ({then})"
    fit = mixture_fit(reference, scores, prior)
    if fit is not None and fit < FIT_LEVEL:
        said = f"the scores have moved, but not as another share of positives would move them (p {fit:.2g})"
        return "covariate", f"{said}: a score is taken for what it was worth"
    return "label_shift", f"the scores speak of {now} positives instead of {then}, and are corrected for it"


def _contradict(one: Estimate | None, other: Estimate | None) -> bool:
    if one is None or other is None:
        return False
    return not _holds(one, other.value) and not _holds(other, one.value)


def _holds(found: Estimate, value: float) -> bool:
    return found.low <= value <= found.high
