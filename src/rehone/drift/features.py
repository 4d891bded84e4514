"""Compare each feature's bins, and say how often chance alone moves them as far."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rehone.drift.bins import SPECIAL, Bins, Floats, compared, in_use, merged_psi, psi_parts
from rehone.drift.blame import incident, most_of_it
from rehone.drift.law import history_law, p_of_psi, p_of_statistic
from rehone.drift.weekdays import WEEK, day_weights, reference_of, span
from rehone.records import ChanceLaw, Counts, FeatureDrift, FeatureProfile, Profile

CREDIBLE = 0.01
"""A p-value above which no cause is named for what may be noise."""


def feature_drift(reference: Profile, current: Counts) -> tuple[FeatureDrift, ...]:
    """Compare each feature's bins, in the order of the profile.

    `psi` is the population stability index with 0.5 added to every count. Without drift
    `h * psi` follows chi2(bins - 1) with `h = nm / (n + m)` (Yurdakul 2018) if rows are
    independent; where the reference knows how much its own days vary, they give a second law,
    and `p_value` is the larger of the two. `noise = (bins - 1) / h` is the PSI to expect of
    independent rows. A window is compared with the reference's weekdays as often as it holds
    each of them, and one shorter than a week with nothing else.
    """
    weights = day_weights(reference, current)
    if isinstance(weights, str):
        return tuple(FeatureDrift(feature=f.feature, psi=None, detail=weights) for f in reference.features)
    days = span(current) if current.oldest is not None else 0
    return tuple(
        _one_feature(like, reference_of(reference, i, weights), now, days)
        for i, (like, now) in enumerate(zip(reference.features, current.features, strict=True))
    )


@dataclass(frozen=True, slots=True)
class _Chance:
    """How likely a PSI is without drift, by which laws, and which fault of the feed it speaks of."""

    p_value: float
    counted: float
    history: ChanceLaw | None = None
    asked: bool = False
    incident: str | None = None


def _one_feature(like: FeatureProfile, then: Floats, current: FeatureProfile, days: int) -> FeatureDrift:
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
    bins = in_use(compared(like, then, current))
    parts = psi_parts(bins.then, bins.now)
    chance = _chance(like, current, bins, parts, days)
    return FeatureDrift(
        feature=like.feature,
        psi=float(parts.sum()),
        p_value=chance.p_value,
        bins=parts.size,
        n_reference=round(n),
        n_current=m,
        noise=max(parts.size - 2 + bins.inflation, 0.0) * (n + m) / (n * m),
        incident=chance.incident,
        ignored=ignored,
        basis="history" if chance.asked else "theory",
        history=chance.history,
        counted=chance.counted,
        detail=most_of_it(bins, parts),
    )


def _chance(like: FeatureProfile, current: FeatureProfile, bins: Bins, parts: Floats, days: int) -> _Chance:
    """Ask theory, and history of the same bins: of all, or of the faults alone where these carry the drift."""
    psi, n, m = float(parts.sum()), float(bins.then.sum()), float(bins.now.sum())
    theory, counted = _theory(bins, psi, n * m / (n + m))
    law = history_law(like.spread, parts.size - 1, n, m, days) if days else None
    asked = law is not None
    found = incident(like, current, bins, parts) if theory < CREDIBLE else None
    if found == "constant" and days >= WEEK:  # that days differ does not make one value of a week
        return _Chance(theory, counted, asked=asked, incident=found)
    if found is not None and found != "constant":
        p_value = max(theory, _p_of_faults(like, bins, days))
        if p_value < CREDIBLE:
            return _Chance(p_value, counted, asked=asked, incident=found)
    p_value = max(theory, p_of_psi(psi, law)) if law is not None else theory
    return _Chance(p_value, counted, law, asked, found if p_value < CREDIBLE else None)


def _p_of_faults(like: FeatureProfile, bins: Bins, days: int) -> float:
    """Return the chance, by history, of such a change in how many rows are missing, infinite or unseen."""
    special = [name in SPECIAL for name in bins.names]
    then, now = _grouped(bins.then, special), _grouped(bins.now, special)
    n, m = float(then.sum()), float(now.sum())
    law = history_law(like.faults, then.size - 1, n, m, days) if days else None
    return p_of_psi(float(psi_parts(then, now).sum()), law) if law is not None else 0.0


def _grouped(counts: Floats, special: list[bool]) -> Floats:
    """Return the counts of the special bins after that of all others together."""
    ordinary = sum(float(n) for n, s in zip(counts, special, strict=True) if not s)
    return np.array([ordinary, *(float(n) for n, s in zip(counts, special, strict=True) if s)])


def _theory(bins: Bins, psi: float, h: float) -> tuple[float, float]:
    """Return the chance of such a PSI by chi-square, and the share of it that counts.

    The split of rare values counts by its own variance.
    """
    if bins.then.size < 2:
        return 1.0, 1.0
    counted = 1.0
    if bins.rare is not None and bins.inflation > 1 and psi > 0:
        split = max(psi - merged_psi(bins), 0.0)
        counted = 1 + (split / bins.inflation - split) / psi
    return p_of_statistic(bins.then.size - 1, h * psi * counted), counted
