"""Count false alarms of drift in years without any, and the days until a planted shift is found.

Run it with `python bench/quiet_years.py`. Every world has twelve features and the scores of a
model, none of which ever changes; its days may nevertheless differ. A champion remembers 91 days,
and then each of 365 days is checked as `rehone run` does. The table gives alarm days a year
under four rules: PSI from 0.25 on, the chi-square law alone, the chance limit alone
(`trigger.psi_action = "off"`) and the defaults; all but the first accept one alarm a year.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc

from rehone import drift
from rehone.config import Trigger
from rehone.profile.build import remember
from rehone.profile.spread import ordinals, spread_of_scores
from rehone.records import (
    CheckStatus,
    Counts,
    Evidence,
    FeatureDrift,
    FeatureKind,
    FeatureProfile,
    Profile,
    ScoreDrift,
    ScoreProfile,
    Window,
)
from rehone.trigger.drift import drift_checks

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]

REFERENCE_DAYS = 91
YEAR = 365
START = date(2026, 1, 5)
SCORE_BINS = 50
WORLDS = ("independent rows", "weekly", "good and bad days", "days that hang together", "outages")
RULES = ("PSI >= 0.25", "chi-square alone", 'ours, "off"', "ours, default")
SHIFTS = ("none", "a number by half a standard deviation", "a rare flag from 1 % to 3 %", "nulls from 5 % to 15 %")


@dataclass(frozen=True)
class World:
    """Counts of each feature's bins, (days, bins) each, and of the scores', (days, 50)."""

    features: tuple[Whole, ...]
    scores: Whole


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--years", type=int, default=10, help="years of each kind")
    parser.add_argument("--rows", type=int, nargs="+", default=[50, 300, 1000], help="rows a day")
    parser.add_argument("--windows", type=int, nargs="+", default=[1, 7, 30], help="days of the window")
    asked = parser.parse_args()
    print(f"alarm days in a year without drift, mean of {asked.years} years, one accepted")
    print(f"{'world':<26}{'rows/day':>9}{'window':>8}" + "".join(f"{rule:>18}" for rule in RULES))
    for kind in WORLDS:
        for rows in asked.rows:
            for length in asked.windows:
                found = np.mean([quiet_year(kind, rows, length, seed) for seed in range(asked.years)], axis=0)
                print(f"{kind:<26}{rows:>9}{length:>8}" + "".join(f"{x:>18.1f}" for x in found), flush=True)
    print("\ndays until a shift is found, median; '-' when not within 60 days in half of the years")
    print(f"{'shift':<40}{'rows/day':>9}{'window':>8}" + "".join(f"{rule:>18}" for rule in RULES))
    for shift in SHIFTS[1:]:
        for rows in asked.rows:
            for length in asked.windows:
                waits = [delays(shift, rows, length, seed) for seed in range(asked.years)]
                print(f"{shift:<40}{rows:>9}{length:>8}" + "".join(f"{_said(x):>18}" for x in zip(*waits, strict=True)))


def quiet_year(kind: str, rows: int, length: int, seed: int, *, alarms: float = 1.0) -> Floats:
    """Return on how many of 365 days each rule raises an alarm although nothing has drifted, (4,)."""
    world = made(kind, rows, REFERENCE_DAYS + length - 1 + YEAR, seed)
    return np.sum([ruled(checked, alarms) for checked in checks(world, length, YEAR)], axis=0, dtype=np.float64)


def delays(shift: str, rows: int, length: int, seed: int) -> list[float]:
    """Return the days until each rule finds a shift in a world of good and bad days; infinite if not in 60."""
    world = made("good and bad days", rows, REFERENCE_DAYS + length - 1 + 60, seed, shift=shift)
    found = np.array([ruled(checked, 1.0) for checked in checks(world, length, 60)])
    return [float(np.argmax(rule) + 1) if rule.any() else float("inf") for rule in found.T]


def _said(waits: Sequence[float]) -> str:
    middle = float(np.median(waits))
    return f"{middle:.0f}" if np.isfinite(middle) else "-"


# --- worlds -----------------------------------------------------------------------------------------


def made(kind: str, rows: int, days: int, seed: int, *, shift: str = "none") -> World:
    """Simulate days of twelve features: six numbers, two with nulls, two rare flags and two with many categories.

    The shift comes after the reference and the first window.
    """
    rng = np.random.default_rng((WORLDS.index(kind), rows, days, seed))
    n = rng.poisson(rows, days) + 1
    late = np.arange(days) >= days - (60 if shift != "none" else 0)
    features = []
    for i, share in enumerate(_shares()):
        logit = np.log(share) + _moves(rng, kind, days)[:, None] * np.linspace(-1, 1, share.size)
        if kind == "outages" and i in (6, 7):
            logit[:, -3] += 2.5 * (rng.random(days) < 0.05)
        features.append(rng.multinomial(n, _shifted(_softmax(logit), late, i, shift)))
    logit = np.zeros((days, SCORE_BINS)) + _moves(rng, kind, days)[:, None] * np.linspace(-1, 1, SCORE_BINS)
    return World(tuple(features), rng.multinomial(n, _softmax(logit)))


def _shares() -> Iterator[Floats]:
    """Yield the shares of each feature's bins; of numbers the third last is missing."""
    ordinary = np.full(10, 0.1)
    for i in range(8):
        nulls = 0.05 if i >= 6 else 1e-9
        yield np.concatenate((ordinary * (1 - nulls), [nulls, 1e-9, 1e-9]))
    yield np.array([0.99, 0.01])
    yield np.array([0.97, 0.03])
    for k in (30, 80):
        yield (1 / np.arange(1, k + 1)) / (1 / np.arange(1, k + 1)).sum()


def _moves(rng: np.random.Generator, kind: str, days: int) -> Floats:
    """Return how far each day's shares are tilted, (days,)."""
    weekend = np.arange(days) % 7 >= 5
    if kind == "weekly":
        return np.where(weekend, rng.choice([-1.5, 1.5]), 0.0)
    if kind == "good and bad days":
        return rng.normal(0, 0.3, days)
    if kind == "days that hang together":
        shocks, moves = rng.normal(0, 0.3, days), np.zeros(days)
        moves[0] = shocks[0]
        for t in range(1, days):
            moves[t] = 0.7 * moves[t - 1] + np.sqrt(1 - 0.49) * shocks[t]
        return moves
    return np.zeros(days)


def _softmax(logit: Floats) -> Floats:
    odds = np.exp(logit)
    share: Floats = odds / odds.sum(axis=1, keepdims=True)
    return share


def _shifted(share: Floats, late: NDArray[np.bool_], i: int, shift: str) -> Floats:
    moved = share.copy()
    if shift == SHIFTS[1] and i == 0:  # normal quantile bins, moved by half a standard deviation
        moved[late, :10] *= np.array([0.34, 0.50, 0.60, 0.70, 0.82, 0.94, 1.10, 1.30, 1.58, 2.12])
    if shift == SHIFTS[2] and i == 8:
        moved[late, 1] *= 3
    if shift == SHIFTS[3] and i == 6:
        moved[late, 10] *= 3
    return moved / moved.sum(axis=1, keepdims=True)


# --- checks -----------------------------------------------------------------------------------------


def checks(world: World, length: int, days: int) -> Iterator[Evidence]:
    """Yield what each of the last `days` days finds in its window."""
    first = world.scores.shape[0] - days - length + 1
    reference = _reference(world, first)
    sums = [np.concatenate((np.zeros((1, c.shape[1]), np.int64), np.cumsum(c, axis=0))) for c in world.features]
    scored = np.concatenate((np.zeros((1, SCORE_BINS), np.int64), np.cumsum(world.scores, axis=0)))
    rows = world.features[0].sum(axis=1)
    for start in range(first, first + days):
        end = start + length
        weekday = np.bincount(np.arange(start, end) % 7, rows[start:end], minlength=7)
        counts = Counts(
            rows=int(rows[start:end].sum()),
            features=tuple(_feature(i, s[end] - s[start]) for i, s in enumerate(sums)),
            scores=ScoreProfile(edges=_EDGES, counts=tuple((scored[end] - scored[start]).tolist())),
            weekday_rows=tuple(int(x) for x in weekday),
            oldest=_moment(start),
            newest=_moment(end) - timedelta(minutes=1),
        )
        yield Evidence(
            as_of=_moment(end),
            champion="c" * 64,
            drift=drift.feature_drift(reference, counts),
            scores=drift.score_drift(reference, counts),
        )


def ruled(evidence: Evidence, alarms: float) -> list[bool]:
    """Say which of the four rules raises an alarm."""
    theory = replace(
        evidence,
        drift=tuple(_by_theory(d) for d in evidence.drift),
        scores=_scores_by_theory(evidence.scores) if evidence.scores else None,
    )
    off, plain = Trigger(false_alarms_per_year=alarms, psi_action=None), Trigger(false_alarms_per_year=alarms)
    return [
        any((d.psi or 0.0) >= 0.25 for d in evidence.drift),
        _acts(theory, off),
        _acts(evidence, off),
        _acts(evidence, plain),
    ]


def _acts(evidence: Evidence, policy: Trigger) -> bool:
    return any(check.status is CheckStatus.ACT for check in drift_checks(evidence, policy))


def _by_theory(found: FeatureDrift) -> FeatureDrift:
    h = found.n_reference * found.n_current / (found.n_reference + found.n_current)
    p_value = float(chdtrc(max(found.bins - 1, 1), h * (found.psi or 0.0) * found.counted))
    return replace(found, p_value=p_value, history=None)


def _scores_by_theory(found: ScoreDrift) -> ScoreDrift:
    return replace(found, p_value=drift.law.p_of_ks(found.ks or 0.0, found.n_reference, found.n_current), history=None)


def _reference(world: World, days: int) -> Profile:
    """Return what a champion remembers of the first days."""
    dates = [START + timedelta(days=i) for i in range(days)]
    each = [
        (day, Counts(rows=0, features=tuple(_feature(i, c[t]) for i, c in enumerate(world.features))))
        for t, day in enumerate(dates)
    ]
    blank = tuple(_feature(i, np.zeros_like(c[0])) for i, c in enumerate(world.features))
    scores = world.scores[:days]
    window = Window(_moment(0), _moment(days))
    return remember(
        Profile(window=window, rows=int(world.features[0][:days].sum()), positives=0, features=blank),
        each,
        scores=ScoreProfile(
            edges=_EDGES,
            counts=tuple(scores.sum(axis=0).tolist()),
            by_weekday=tuple(tuple(scores[np.arange(days) % 7 == d].sum(axis=0).tolist()) for d in range(7)),
            spread=spread_of_scores(ordinals(dates), scores.astype(np.float64)),
        ),
    )


_EDGES = tuple(np.linspace(0, 1, SCORE_BINS + 1)[1:-1].tolist())


def _feature(i: int, counts: Whole) -> FeatureProfile:
    if i >= 8:
        values = tuple(f"v{k}" for k in range(counts.size))
        return FeatureProfile(
            feature=f"f{i}", kind=FeatureKind.CATEGORICAL, values=values, counts=tuple(counts.tolist())
        )
    *ordinary, missing, infinite, unseen = counts.tolist()
    return FeatureProfile(
        feature=f"f{i}",
        kind=FeatureKind.NUMERIC,
        edges=tuple(float(k) for k in range(9)),
        counts=tuple(ordinary),
        missing=missing,
        infinite=infinite,
        unseen=unseen,
    )


def _moment(day: int) -> datetime:
    return datetime(START.year, START.month, START.day, tzinfo=UTC) + timedelta(days=day)


if __name__ == "__main__":
    main()
