"""Measure how far current rows have moved from what a version remembers of its own."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, kolmogorov

from rehone.records import Counts, FeatureDrift, FeatureKind, FeatureProfile, Profile, ScoreDrift

SMOOTHING = 0.5
"""Added to every count, so that an empty bin has a finite share."""

CREDIBLE = 0.01
"""A p-value above which no cause is named for what may be noise."""

WEEK = 7
TWO_WEEKS = 14
_SPECIAL = ("missing", "infinite", "unseen")
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

Floats = NDArray[np.float64]


def feature_drift(reference: Profile, current: Counts) -> tuple[FeatureDrift, ...]:
    """Compare each feature's bins, in the order of the profile.

    `psi` is the population stability index with 0.5 added to every count. Without drift
    `h * psi` follows chi2(bins - 1) with `h = nm / (n + m)` (Yurdakul 2018), which gives
    `p_value`; `noise = (bins - 1) / h` is the PSI to expect when nothing has drifted. A window
    shorter than two weeks is compared with the reference's same weekdays, and one shorter than
    a week with nothing else.
    """
    weights = _day_weights(reference, current)
    if isinstance(weights, str):
        return tuple(FeatureDrift(feature=f.feature, psi=None, detail=weights) for f in reference.features)
    return tuple(
        _one_feature(like, _reference_of(reference, i, weights), now)
        for i, (like, now) in enumerate(zip(reference.features, current.features, strict=True))
    )


def score_drift(reference: Profile, current: Counts) -> ScoreDrift:
    """Return the largest distance between both distributions of scores, and its p-value.

    The distance is read at the edges of the histogram (about 100 quantiles), so it is at most
    the exact one; the p-value is Kolmogorov's, with Stephens's correction for small samples.
    """
    then, now = reference.scores, current.scores
    n, m = then.n if then else 0, now.n if now else 0
    weights = _day_weights(reference, current)
    if then is None or now is None or not n or not m:
        return ScoreDrift(ks=None, n_reference=n, n_current=m, detail=_no_scores(n, m))
    if isinstance(weights, str):
        return ScoreDrift(ks=None, n_reference=n, n_current=m, detail=weights)
    weighed = _scores_of(then.counts, then.by_weekday, weights, short=_span(current) < WEEK)
    if weighed is None:
        why = "the reference's scores are not known by day of the week"
        return ScoreDrift(ks=None, n_reference=n, n_current=m, detail=_too_short(_span(current), why))
    before = np.cumsum(weighed) / weighed.sum()
    after = np.cumsum(now.counts) / m
    place = int(np.argmax(np.abs(after - before)))
    ks = float(abs(after[place] - before[place]))
    return ScoreDrift(
        ks=ks,
        p_value=_kolmogorov(ks, float(weighed.sum()), m),
        n_reference=n,
        n_current=m,
        detail=_where_scores(then.edges, place, float(before[place]), float(after[place])),
    )


# --- which reference rows -----------------------------------------------------------------


def _span(current: Counts) -> int:
    """Return how many calendar days the counted rows span; without times, as many as it takes."""
    if current.oldest is None or current.newest is None:
        return TWO_WEEKS
    return (current.newest.date() - current.oldest.date()).days + 1


def _day_weights(reference: Profile, current: Counts) -> Floats | str | None:
    """Return the share of each weekday among short current rows, `None` for all rows alike, or why not."""
    if not current.rows:
        return "no rows in the window"
    span = _span(current)
    if span >= TWO_WEEKS:
        return None
    rows = np.array([sum(day[0]) if day else 0 for day in reference.by_weekday] or [0] * WEEK)
    lacking = [_DAYS[i] for i, n in enumerate(current.weekday_rows) if n and not rows[i]]
    if not lacking:
        return np.array(current.weekday_rows) / sum(current.weekday_rows)
    return None if span >= WEEK else _too_short(span, f"the reference has no rows of {', '.join(lacking)}")


def _too_short(span: int, why: str) -> str:
    days = "1 day" if span == 1 else f"{span} days"
    return f"{days} of rows can only be compared with the same days of the week, and {why}"


def _weighed(by_day: Sequence[Sequence[int]], weights: Floats) -> Floats:
    """Mix the weekdays' counts by `weights`; the sum is the effective number of rows."""
    counts = np.asarray(by_day, dtype=np.float64)
    rows = counts.sum(axis=1)
    used = (weights > 0) & (rows > 0)
    share = weights[used] / weights[used].sum()
    effective = 1.0 / float((share**2 / rows[used]).sum())
    mixed: Floats = effective * ((share / rows[used]) @ counts[used])
    return mixed


def _reference_of(reference: Profile, i: int, weights: Floats | None) -> Floats:
    feature = reference.features[i]
    if weights is None:
        return np.array(_flat(feature), dtype=np.float64)
    return _weighed([day[i] for day in reference.by_weekday], weights)


def _scores_of(
    counts: Sequence[int], by_day: Sequence[Sequence[int]], weights: Floats | None, *, short: bool
) -> Floats | None:
    known = (
        weights is not None
        and len(by_day) == WEEK
        and all(sum(day) for day, w in zip(by_day, weights, strict=True) if w)
    )
    if weights is not None and known:
        return _weighed(by_day, weights)
    return None if weights is not None and short else np.array(counts, dtype=np.float64)


def _flat(feature: FeatureProfile) -> tuple[int, ...]:
    return (*feature.counts, feature.pooled, feature.missing, feature.infinite, feature.unseen)


# --- one feature --------------------------------------------------------------------------


@dataclass(frozen=True)
class _Bins:
    """Reference and current counts of the bins that are compared, (k,) each, with their names.

    When `rare` names two bins, the current rows were split between them by Good-Turing's
    estimate, whose error inflates the variance of that one split by `inflation`.
    """

    names: tuple[str, ...]
    then: Floats
    now: Floats
    inflation: float = 1.0
    rare: tuple[int, int] | None = None


def _one_feature(like: FeatureProfile, then: Floats, current: FeatureProfile) -> FeatureDrift:
    ignored = "clock" if like.clock_like else ""
    n, m = float(then.sum()), current.n
    if not n or not m:
        side = "reference" if m else "window"
        return FeatureDrift(
            feature=like.feature,
            psi=None,
            n_reference=round(n),
            n_current=m,
            ignored=ignored,
            detail=f"no rows in the {side}",
        )
    bins = _in_use(_compared(like, then, current))
    parts = _psi_parts(bins.then, bins.now)
    psi, used = float(parts.sum()), parts.size
    h = n * m / (n + m)
    p_value = _p_value(bins, psi, h)
    return FeatureDrift(
        feature=like.feature,
        psi=psi,
        p_value=p_value,
        bins=used,
        n_reference=round(n),
        n_current=m,
        noise=max(used - 2 + bins.inflation, 0.0) / h,
        incident=_incident(like, current, bins, parts) if p_value < CREDIBLE else None,
        ignored=ignored,
        detail=_most_of_it(bins, parts),
    )


def _compared(like: FeatureProfile, then: Floats, current: FeatureProfile) -> _Bins:
    """Name the bins; those without any reference row are what was never seen."""
    k = len(like.counts)
    ordinary, (_, missing, infinite, unseen) = then[:k], then[k:]
    now = np.array(_flat(current), dtype=np.float64)
    names = tuple(_bin_names(like))
    if like.kind is FeatureKind.CATEGORICAL:
        return _categories(like, _Bins(names, then, now))
    seen = np.array(like.counts) > 0
    never = float(now[:k][~seen].sum()) + now[k + 3]
    return _Bins(
        (*(name for name, s in zip(names[:k], seen, strict=True) if s), *_SPECIAL),
        np.concatenate((ordinary[seen], [missing, infinite, unseen])),
        np.concatenate((now[:k][seen], [now[k + 1], now[k + 2], never])),
    )


def _categories(like: FeatureProfile, bins: _Bins) -> _Bins:
    """Move the reference rows that Good-Turing would expect outside into the unseen bin.

    A reference that holds values once has missed others, and later rows will hold them: with
    `e = expected_unseen` of `n` rows, later rows are outside with probability `e / n`, give or
    take `(e (1 - e / n) + unseen_variance) / n^2` (Good 1953, Esty 1983).
    """
    rare, outside = len(like.counts), len(like.counts) + 3
    whole = like.pooled + like.unseen
    expected = like.expected_unseen / whole if whole else 0.0
    both = float(bins.then[rare] + bins.then[outside])
    later = float(bins.now[rare] + bins.now[outside])
    if not expected or not both:
        return bins
    then = bins.then.copy()
    then[rare], then[outside] = both * (1 - expected), both * expected
    plain = expected * (1 - expected) * (1 / max(later, 1.0) + 1 / both)
    extra = like.unseen_variance / whole**2
    inflation = 1 + extra / plain if plain > 0 else 1.0
    return _Bins(bins.names, then, bins.now, inflation, (rare, outside))


def _in_use(bins: _Bins) -> _Bins:
    used = (bins.then + bins.now) > 0
    rare = bins.rare
    if rare is not None:
        split = bool(used[rare[0]] and used[rare[1]])
        places = np.cumsum(used) - 1
        rare = (int(places[rare[0]]), int(places[rare[1]])) if split else None
    names = tuple(name for name, u in zip(bins.names, used, strict=True) if u)
    return _Bins(names, bins.then[used], bins.now[used], bins.inflation if rare else 1.0, rare)


def _psi_parts(then: Floats, now: Floats) -> Floats:
    """Return what each bin adds to the PSI, (k,), with 0.5 added to every count."""
    p = (then + SMOOTHING) / (then.sum() + SMOOTHING * then.size)
    q = (now + SMOOTHING) / (now.sum() + SMOOTHING * now.size)
    parts: Floats = (q - p) * np.log(q / p)
    return parts


def _p_value(bins: _Bins, psi: float, h: float) -> float:
    """Return the chance of such a PSI without drift; the split of rare values counts by its own variance."""
    if bins.then.size < 2:
        return 1.0
    statistic = h * psi
    if bins.rare is not None and bins.inflation > 1:
        split = max(h * (psi - _merged_psi(bins)), 0.0)
        statistic += split / bins.inflation - split
    return float(chdtrc(bins.then.size - 1, statistic))


def _merged_psi(bins: _Bins) -> float:
    a, b = bins.rare or (0, 0)
    p = (bins.then + SMOOTHING) / (bins.then.sum() + SMOOTHING * bins.then.size)
    q = (bins.now + SMOOTHING) / (bins.now.sum() + SMOOTHING * bins.now.size)
    p[a], q[a] = p[a] + p[b], q[a] + q[b]
    p, q = np.delete(p, b), np.delete(q, b)
    return float(((q - p) * np.log(q / p)).sum())


def _kolmogorov(ks: float, n: float, m: float) -> float:
    root = math.sqrt(n * m / (n + m))
    return float(kolmogorov((root + 0.12 + 0.11 / root) * ks))


# --- what it is made of -------------------------------------------------------------------


def _incident(like: FeatureProfile, current: FeatureProfile, bins: _Bins, parts: Floats) -> str | None:
    """Name the bins that make this a fault of the feed, if they carry most of the drift."""
    if _stuck(current, bins):
        return "constant"
    special = {name: float(parts[i]) for i, name in enumerate(bins.names) if name in _SPECIAL}
    carried, whole = sum(special.values()), float(parts.sum())
    if not carried or carried < whole / 2:
        return None
    names = [name for name, part in special.items() if part >= carried / 5]
    if names == ["unseen"]:
        if _one_value(like):
            return "constant"
        if like.kind is FeatureKind.NUMERIC:  # a number that grew is news of the world, not of the feed
            return None
    return ", ".join(names)


def _stuck(current: FeatureProfile, bins: _Bins) -> bool:
    """Say whether all current values are one that fewer than half of the reference rows hold."""
    if not _one_value(current):
        return False
    held = [i for i, name in enumerate(bins.names) if bins.now[i] and name not in _SPECIAL]
    return len(held) == 1 and bool(bins.then[held[0]] < bins.then.sum() / 2)


def _one_value(counted: FeatureProfile) -> bool:
    if counted.kind is FeatureKind.NUMERIC:
        return counted.lowest is not None and counted.lowest == counted.highest
    return sum(n > 0 for n in counted.counts) == 1 and not counted.pooled and not counted.unseen


def _most_of_it(bins: _Bins, parts: Floats) -> str:
    """Say which bin moved most, and how much is missing, infinite or unseen."""
    worst = int(np.argmax(parts))
    told = dict.fromkeys([worst, *(i for i, name in enumerate(bins.names) if name in _SPECIAL)])
    return "; ".join(_moved(bins, i) for i in told)


def _moved(bins: _Bins, i: int) -> str:
    then, now = bins.then[i] / bins.then.sum(), bins.now[i] / bins.now.sum()
    return f"{bins.names[i]}: {then:.1%} -> {now:.1%} of rows"


def _bin_names(like: FeatureProfile) -> Iterator[str]:
    if like.kind is not FeatureKind.NUMERIC:
        yield from (f"value {value!r}" for value in like.values)
    elif not like.edges:
        yield "any number"
    else:
        yield f"values up to {like.edges[0]:.4g}"
        yield from (_between(low, high) for low, high in pairwise(like.edges))
        yield f"values above {like.edges[-1]:.4g}"
    yield from ("rare values", *_SPECIAL)


def _between(low: float, high: float) -> str:
    atom = high - low <= abs(high) * 1e-15 or abs(high - low) < 1e-300
    return f"value {high:.4g}" if atom else f"values {low:.4g}..{high:.4g}"


def _where_scores(edges: Sequence[float], place: int, before: float, after: float) -> str:
    if place >= len(edges):
        return "both distributions are the same"
    return f"{before:.1%} -> {after:.1%} of scores are at most {edges[place]:.4g}"


def _no_scores(n: int, m: int) -> str:
    return "no scores of current rows" if n and not m else "the reference has no out-of-sample scores"
