"""Estimate how good scores are before their labels are known: from what such scores were worth before.

Scores are turned into probabilities by isotonic regression on labelled, out-of-sample rows
(Zadrozny and Elkan 2002); what decisions are expected to catch and to cost follows from them
(confidence-based performance estimation). That holds while a score means what it meant. Where
only the share of positives has changed, the probabilities are corrected by the share that makes
the new scores most likely (Saerens, Latinne and Decaestecker 2002). No estimate without labels
sees that the same inputs mean something else.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import isotonic_regression
from scipy.special import chdtrc

from rehone.records import Estimate, Estimated, ScoreProfile, Window

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LEAST_REFERENCE_POSITIVES = 20
"""Positives of the reference below which a calibration says too little."""

FIT_LEVEL = 0.01
"""Below this p-value the scores are no mixture of the reference's positives and negatives."""

_POOLS, _BINS, _GROUPS, _SMALLEST = 10, 50, 128, 1e-9


@dataclass(frozen=True)
class Reference:
    """Labelled scores in bins, by score: `labelled` rows, `positives` of them, and their mean score.

    Each is (b,); `cuts`, (b - 1,), lie between neighbouring bins: bin `i` holds
    `cuts[i-1] < s <= cuts[i]`. A bin may be one row. Counts may be weighted.
    """

    means: Floats
    labelled: Floats
    positives: Floats
    cuts: Floats

    @property
    def prior(self) -> float:
        """The share of positives."""
        return float(self.positives.sum() / self.labelled.sum())

    @property
    def useful(self) -> bool:
        """Whether there is enough of both classes to say what a score is worth."""
        both = min(self.positives.sum(), (self.labelled - self.positives).sum())
        return bool(both >= LEAST_REFERENCE_POSITIVES)


def of_rows(scores: ArrayLike, labels: ArrayLike, weights: ArrayLike | None = None) -> Reference:
    """Make a reference of out-of-sample scores (n,), labels (n,) of 0 and 1, and weights (n,); each score is a bin.

    Rows whose score or label is not finite are left out.
    """
    s, y = np.asarray(scores, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    w = np.ones(s.size) if weights is None else np.asarray(weights, dtype=np.float64)
    known = np.isfinite(s) & np.isfinite(y)
    means, place = np.unique(s[known], return_inverse=True)
    return Reference(
        means=means,
        labelled=np.bincount(place, w[known], means.size).astype(np.float64),
        positives=np.bincount(place, w[known] * y[known], means.size).astype(np.float64),
        cuts=(means[:-1] + means[1:]) / 2,
    )


def of_profile(profile: ScoreProfile | None) -> Reference | None:
    """Make a reference of what a version remembers of its scores; `None` when it did not keep their labels."""
    if profile is None or not profile.labelled:
        return None
    return Reference(
        means=np.asarray(profile.means, dtype=np.float64),
        labelled=np.asarray(profile.labelled, dtype=np.float64),
        positives=np.asarray(profile.positives, dtype=np.float64),
        cuts=np.asarray(profile.edges, dtype=np.float64),
    )


def with_worth(
    profile: ScoreProfile, scores: ArrayLike, labels: ArrayLike, weights: ArrayLike | None = None
) -> ScoreProfile:
    """Return a histogram of scores that also holds what they were worth: labelled rows, positives, means of each bin.

    `scores` (n,) are those it was made of, NaN where there is none; `labels` (n,) are 0 or 1; a
    row of a drawn sample stands for `weights` rows.
    """
    s, y = np.asarray(scores, dtype=np.float64), np.asarray(labels, dtype=np.float64)
    w = np.ones(s.size) if weights is None else np.asarray(weights, dtype=np.float64)
    known = np.isfinite(s) & np.isfinite(y)
    place, bins = np.searchsorted(profile.edges, s[known], "left"), len(profile.edges) + 1
    labelled = np.bincount(place, w[known], bins)
    sums = np.bincount(place, w[known] * s[known], bins)
    return replace(
        profile,
        labelled=tuple(np.rint(labelled).astype(np.int64).tolist()),
        positives=tuple(np.rint(np.bincount(place, w[known] * y[known], bins)).astype(np.int64).tolist()),
        means=tuple(np.divide(sums, labelled, out=np.zeros(bins), where=labelled > 0).tolist()),
    )


@dataclass(frozen=True)
class Calibrator:
    """Maps scores to probabilities: rising, linear between the points, constant beyond them."""

    x: Floats
    y: Floats

    def __call__(self, scores: ArrayLike) -> Floats:
        """Return the probability of label 1 of scores of any shape."""
        return np.interp(np.asarray(scores, dtype=np.float64), self.x, self.y)


def calibrate(reference: Reference) -> Calibrator:
    """Fit the rising function from scores to shares of positives that is nearest to the reference.

    Raises:
        ValueError: no row of the reference has a label.
    """
    held = reference.labelled > 0
    if not held.any():
        raise ValueError("no row of the reference has a label")
    weights = reference.labelled[held]
    fit = isotonic_regression(reference.positives[held] / weights, weights=weights)
    return Calibrator(reference.means[held], np.asarray(fit.x, dtype=np.float64))


@dataclass(frozen=True)
class Expected:
    """What decisions are expected to be worth, given the probability of each row; `None` where nothing is expected."""

    recall: float | None
    precision: float | None
    cost_per_1000: float
    roc_auc: float | None
    positives: float


def expected(probabilities: Floats, scores: Floats, acted: NDArray[np.bool_], costs: tuple[float, float]) -> Expected:
    """Return the expected recall, precision, cost per 1,000 rows and ROC-AUC of decisions.

    `probabilities`, `scores` and `acted` are (n,); `costs` are of a false positive and of a
    false negative. Each is the ratio of expected counts, which for many rows is the expected ratio.
    """
    p, n = probabilities, probabilities.size
    caught, flagged, positives = float(p[acted].sum()), int(acted.sum()), float(p.sum())
    cost = costs[0] * (flagged - caught) + costs[1] * (positives - caught)
    order = np.unique(scores, return_inverse=True)[1]
    up, down = np.bincount(order, p), np.bincount(order, 1 - p)
    pairs = positives * (n - positives)
    return Expected(
        recall=caught / positives if positives > 0 else None,
        precision=caught / flagged if flagged else None,
        cost_per_1000=1000 * cost / n,
        roc_auc=float((up * (np.cumsum(down) - down / 2)).sum() / pairs) if pairs > 0 else None,
        positives=positives,
    )


def share_of_positives(probabilities: Floats, prior: float, rows: Floats | None = None) -> Floats:
    """Return the share of positives that makes scores most likely, where only that share has changed.

    `probabilities` (..., n) are calibrated where the share was `prior`; `rows` (..., n) says how
    many rows each stands for. It is the fixed point of the EM of Saerens et al. (2002), found as
    the root of the slope of its likelihood, which falls.
    """
    weight = np.ones_like(probabilities) if rows is None else rows
    base = (1 - probabilities) / (1 - prior)
    gain = probabilities / prior - base
    low = np.full(probabilities.shape[:-1], _SMALLEST)
    high = 1 - low
    for _ in range(40):
        middle = (low + high) / 2
        rising = (weight * gain / (base + middle[..., None] * gain)).sum(axis=-1) > 0
        low, high = np.where(rising, middle, low), np.where(rising, high, middle)
    return np.asarray((low + high) / 2, dtype=np.float64)


def for_prior(probabilities: Floats, then: ArrayLike, now: ArrayLike) -> Floats:
    """Return probabilities as they are when the share of positives is `now` instead of `then`, by Bayes."""
    then, now = np.asarray(then, dtype=np.float64)[..., None], np.asarray(now, dtype=np.float64)[..., None]
    up, down = probabilities * now / then, (1 - probabilities) * (1 - now) / (1 - then)
    total = up + down
    return np.divide(up, total, out=np.zeros(np.shape(total)), where=total > 0)


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What decisions cost (false positive, false negative), how sure to be, and how intervals are drawn.

    Fewer expected positives than `min_positives` are not spoken of.
    """

    costs: tuple[float, float]
    level: float = 0.95
    min_positives: int = 20
    draws: int = 200
    seed: int = 7


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
    drawn = _draw(reference, s, acted, terms)
    prior = _share(reference, s)
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
        return f"the reference has {both:.0f} rows of its rarer label, need {LEAST_REFERENCE_POSITIVES}"
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


@dataclass(frozen=True)
class _Drawn:
    """Draws of what may come: metrics of both estimates, and the share of positives now and then, each (draws,)."""

    plain: dict[str, Floats]
    corrected: dict[str, Floats]
    prior: Floats
    prior_then: Floats


def _draw(reference: Reference, scores: Floats, acted: NDArray[np.bool_], terms: Terms) -> _Drawn:
    rng = np.random.default_rng(terms.seed)
    bins = _pooled(reference, _BINS)
    rows = _grouped(scores, acted)
    total, rate = round(float(bins.labelled.sum())), bins.positives / bins.labelled
    n = rng.multinomial(total, bins.labelled / bins.labelled.sum(), terms.draws)
    drawn = rng.binomial(n, np.clip(rate, 0, 1))
    then = np.clip(drawn.sum(axis=1) / total, _SMALLEST, 1 - _SMALLEST)
    p = np.stack([_fit(bins.means, m, k)(rows.means) for m, k in zip(n, drawn, strict=True)])
    now = _shares(drawn, n, bins, scores, rng)
    labels = (rng.binomial(rows.n, np.clip(q, 0, 1)) for q in (p, for_prior(p, then, now)))
    plain, corrected = (_metrics(found.astype(np.float64), rows, terms.costs) for found in labels)
    return _Drawn(plain, corrected, now, then)


def _fit(means: Floats, n: Ints, positives: Ints) -> Calibrator:
    held = n > 0
    return Calibrator(means[held], isotonic_regression(positives[held] / n[held], weights=n[held]).x)


def _share(reference: Reference, scores: Floats) -> float:
    """Return the share of positives of scores, by few bins: many fit the reference's own chance, and see too little change."""
    few = _pooled(reference, _POOLS)
    return float(share_of_positives(few.positives / few.labelled, reference.prior, _counted(few, scores)))


def _shares(drawn: Ints, n: Ints, bins: Reference, scores: Floats, rng: np.random.Generator) -> Floats:
    """Return that share for each draw of the reference's positives, (draws, b), the scores being drawn anew too."""
    place, found = _places(bins, _POOLS), _counted(_pooled(bins, _POOLS), scores)
    rows, positives = (_summed(each, place) for each in (n, drawn))
    again = rng.multinomial(int(found.sum()), found / found.sum(), drawn.shape[0]).astype(np.float64)
    then = np.clip(positives.sum(axis=1) / rows.sum(axis=1), _SMALLEST, 1 - _SMALLEST)
    return share_of_positives(positives / np.maximum(rows, 1), then[:, None], again)


def _summed(counts: Ints, place: Ints) -> Floats:
    """Add up the columns of each pool: (draws, bins) to (draws, pools)."""
    member = place[:, None] == np.arange(int(place.max()) + 1)
    return np.asarray(counts @ member, dtype=np.float64)


def _counted(bins: Reference, scores: Floats) -> Floats:
    return np.bincount(np.searchsorted(bins.cuts, scores, "left"), minlength=bins.means.size).astype(np.float64)


@dataclass(frozen=True)
class _Groups:
    """Rows in groups of one decision and of near scores, by score: mean score, number, decision, each (g,)."""

    means: Floats
    n: Ints
    acted: NDArray[np.bool_]


def _grouped(scores: Floats, acted: NDArray[np.bool_]) -> _Groups:
    order = np.argsort(scores, kind="stable")
    rank = np.empty(scores.size, dtype=np.int64)
    rank[order] = np.arange(scores.size) * min(_GROUPS, scores.size) // scores.size
    place = np.unique(2 * rank + acted, return_inverse=True)[1]
    n = np.bincount(place)
    flags = np.bincount(place, acted) > 0
    return _Groups(np.bincount(place, scores) / n, n.astype(np.int64), flags)


def _metrics(positives: Floats, rows: _Groups, costs: tuple[float, float]) -> dict[str, Floats]:
    """Return each metric of drawn labels: `positives` (draws, g) are those of each group."""
    n, negatives = float(rows.n.sum()), rows.n - positives
    caught, total = positives[:, rows.acted].sum(axis=1), positives.sum(axis=1)
    flagged = float(rows.n[rows.acted].sum())
    cost = costs[0] * (flagged - caught) + costs[1] * (total - caught)
    below = np.cumsum(negatives, axis=1) - negatives / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            "recall": caught / total,
            "precision": caught / np.float64(flagged),
            "cost_per_1000": 1000 * cost / n,
            "roc_auc": (positives * below).sum(axis=1) / (total * (n - total)),
        }


def _pooled(reference: Reference, most: int) -> Reference:
    """Put neighbouring bins together to at most `most`, each with an even share of both labels and at least a row."""
    place = _places(reference, most)
    labelled = np.bincount(place, reference.labelled).astype(np.float64)
    return Reference(
        means=np.bincount(place, reference.means * reference.labelled) / labelled,
        labelled=labelled,
        positives=np.bincount(place, reference.positives).astype(np.float64),
        cuts=reference.cuts[np.flatnonzero(np.diff(place))],
    )


def _places(reference: Reference, most: int) -> Ints:
    """Return the pool of each bin, (b,); a bin without a row goes with the one below, or the first above."""
    k, m = reference.positives, reference.labelled - reference.positives
    share = (k / max(float(k.sum()), _SMALLEST) + m / max(float(m.sum()), _SMALLEST)) / 2
    pool = np.minimum(((np.cumsum(share) - share / 2) * most).astype(np.int64), most - 1)
    held = reference.labelled > 0
    last = np.maximum.accumulate(np.where(held, np.arange(pool.size), -1))
    filled = pool[np.where(last < 0, int(np.argmax(held)), last)]
    return np.unique(filled, return_inverse=True)[1].astype(np.int64)


def _basis(reference: Reference, scores: Floats, prior: float, drawn: _Drawn, terms: Terms) -> tuple[str, str]:
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


def mixture_fit(reference: Reference, scores: ArrayLike, prior: float) -> float | None:
    """Return the p-value that scores, (n,), are a mixture of the reference's positives (share `prior`) and negatives.

    Pearson's statistic over at most 10 bins, its variance that of the counts and of both
    reference histograms, against chi-square with two degrees less than bins (one for the share);
    `None` when fewer than three bins can be compared.
    """
    bins = _pooled(reference, _POOLS)
    k, m = bins.positives, bins.labelled - bins.positives
    found = _counted(bins, np.asarray(scores, dtype=np.float64))
    n, up, down = int(found.sum()), k / k.sum(), m / m.sum()
    q = prior * up + (1 - prior) * down
    spread = prior**2 * up / k.sum() + (1 - prior) ** 2 * down / m.sum()
    variance = n * q + n * n * spread
    used = variance > 0
    if used.sum() < 3 or not n:
        return None
    statistic = float(((found - n * q)[used] ** 2 / variance[used]).sum())
    return float(chdtrc(int(used.sum()) - 2, statistic))


def _contradict(one: Estimate | None, other: Estimate | None) -> bool:
    if one is None or other is None:
        return False
    return not _holds(one, other.value) and not _holds(other, one.value)


def _holds(found: Estimate, value: float) -> bool:
    return found.low <= value <= found.high
