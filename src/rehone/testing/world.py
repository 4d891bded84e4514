"""Draw card payments and say with which odds each is a fraud: the law behind the stream.

Twelve features in real units and p(x, t) = sigmoid(b + score(x, t)). Everything here is a
function of its arguments, so that whoever draws from it knows the true odds of each row.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.special import expit, ndtr, ndtri

COLUMN_TYPES: dict[str, type[pl.DataType]] = {
    "amount": pl.Float64,
    "transactions_1h": pl.Int32,
    "transactions_24h": pl.Int32,
    "distance_km": pl.Float64,
    "hour": pl.Int8,
    "weekday": pl.Int8,
    "merchant_code": pl.String,
    "device_match": pl.Int8,
    "cvv_match": pl.Int8,
    "address_match": pl.Int8,
    "country_match": pl.Int8,
    "card_present": pl.Int8,
}
FEATURES = tuple(COLUMN_TYPES)
MERCHANTS = ("5411", "5812", "5541", "5311", "5732", "5999", "4814", "5967", "7995", "4511")
MOST_EUROS, MOST_KM = 5_000.0, 2_000.0  # nothing on support lies beyond; what is off support lies there

Columns = dict[str, npt.NDArray[np.generic]]
Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

_SHARES = np.array([0.26, 0.18, 0.12, 0.11, 0.08, 0.09, 0.06, 0.04, 0.02, 0.04])
_SHARES_MOVED = np.array([0.20, 0.15, 0.09, 0.11, 0.12, 0.12, 0.07, 0.06, 0.03, 0.05])
_RISKS = np.array([-0.5, -0.4, -0.3, 0.0, 0.6, 0.3, 0.1, 0.8, 1.0, 0.4])
_RISKS_NEW = np.array([0.7, 0.2, 0.6, -0.1, -0.6, -0.3, 0.9, -0.2, -0.5, -0.4])
_HOURS = np.array([2, 1, 1, 1, 1, 2, 3, 5, 7, 8, 9, 10, 11, 10, 9, 9, 10, 12, 12, 10, 8, 6, 4, 3], dtype=np.float64)
_SPREAD = 1.42  # standard deviation of the score: the best possible ROC-AUC is about .84
_EVERYDAY = 40_000  # rows on which intercept and scale are fixed, the same for every stream


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """Which payments are made: how far x has moved, which share is off support, and the weekend."""

    covariate: float = 0.0
    off_support: float = 0.0
    weekend: float = 0.0
    weekday: int | None = None


def draw(n: int, rng: np.random.Generator, mix: Mix) -> Columns:
    """Return `n` payments as columns; those of one day when `mix.weekday` says which."""
    moved = mix.covariate
    amount = np.exp(3.9 + 1.1 * _below(n, rng, 0.65 * moved + 0.35 * mix.weekend, np.log(MOST_EUROS) - 3.9, 1.1))
    distance = np.exp(2.1 + 1.3 * _below(n, rng, 0.25 * moved + 0.25 * mix.weekend, np.log(MOST_KM) - 2.1, 1.3))
    recent = rng.poisson(0.6 * (1 + 0.30 * moved), n)
    weekdays = rng.integers(0, 7, n) if mix.weekday is None else np.full(n, mix.weekday)
    shares = _SHARES + np.clip(moved, 0, 1) * (_SHARES_MOVED - _SHARES)
    columns: Columns = {
        "amount": amount,
        "transactions_1h": recent,
        "transactions_24h": recent + rng.poisson(2.5 * (1 + 0.15 * moved), n),
        "distance_km": distance,
        "hour": rng.choice(24, n, p=_HOURS / _HOURS.sum()),
        "weekday": weekdays,
        "merchant_code": rng.choice(len(MERCHANTS), n, p=shares / shares.sum()),
        "device_match": rng.random(n) < 0.85 - 0.05 * moved,
        "cvv_match": rng.random(n) < 0.95,
        "address_match": rng.random(n) < 0.90,
        "country_match": rng.random(n) < 0.94 - 0.02 * moved,
        "card_present": rng.random(n) < 0.55 - 0.15 * moved - 0.10 * mix.weekend,
    }
    return _partly_elsewhere(columns, rng, mix.off_support)


def _below(n: int, rng: np.random.Generator, mean: float, most: float, sigma: float) -> Floats:
    """Draw normal deviates around `mean` that stay below `most / sigma`."""
    drawn: Floats = mean + ndtri(rng.uniform(1e-12, ndtr(most / sigma - mean), n))
    return drawn


def _partly_elsewhere(columns: Columns, rng: np.random.Generator, share: float) -> Columns:
    """Replace a share of rows by large payments from far away, as none was ever seen."""
    n = len(columns["amount"])
    away = rng.random(n) < share
    amount = np.exp(rng.uniform(np.log(1.2 * MOST_EUROS), np.log(12 * MOST_EUROS), n))
    distance = rng.uniform(1.5 * MOST_KM, 7 * MOST_KM, n)
    return columns | {
        "amount": np.where(away, amount, columns["amount"]),
        "distance_km": np.where(away, distance, columns["distance_km"]),
    }


def odds(columns: Columns, positive_rate: float, concept: float) -> Floats:
    """Return for each payment the logit of its true odds.

    `concept` turns the score from the old pattern of fraud (0) to the new one (1) and keeps
    spread and rate of positives, whatever x is; x itself is not touched.
    """
    here = intercept(positive_rate, concept) + _turned(columns, concept)
    elsewhere = -1.0 + 0.7 * _z(columns["transactions_24h"], 3.1, 1.76) - 1.2 * _flag(columns["device_match"])
    logits: Floats = np.where(columns["amount"].astype(np.float64) > MOST_EUROS, elsewhere, here)
    return logits


@lru_cache(maxsize=256)
def intercept(positive_rate: float, concept: float) -> float:
    """Find by bisection the b at which `positive_rate` of everyday payments are frauds."""
    score = _turned(_everyday(), concept)
    low, high = -30.0, 30.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if expit(middle + score).mean() < positive_rate else (low, middle)
    return (low + high) / 2


def _turned(columns: Columns, concept: float) -> Floats:
    """Blend the two patterns; whatever the blend, its spread over everyday payments is the same."""
    turned = _blend(columns, concept)
    center, spread = _scale(concept)
    return (turned - center) * (_SPREAD / spread)


@lru_cache(maxsize=256)
def _scale(concept: float) -> tuple[float, float]:
    blend = _blend(_everyday(), concept)
    return float(blend.mean()), float(blend.std())


def _blend(columns: Columns, concept: float) -> Floats:
    angle = concept * np.pi / 2
    blend: Floats = np.cos(angle) * _score(columns, 0) + np.sin(angle) * _score(columns, 1)
    return blend


@lru_cache(maxsize=1)
def _everyday() -> Columns:
    return draw(_EVERYDAY, np.random.default_rng(0), Mix())


def _score(columns: Columns, pattern: int) -> Floats:
    """Score by the old pattern (0: large, far, in a hurry, at night) or the new one (1: small payments that test a card)."""
    amount = _z(np.log(columns["amount"].astype(np.float64)), 3.9, 1.1)
    distance = _z(np.log(columns["distance_km"].astype(np.float64)), 2.1, 1.3)
    hour, day = columns["transactions_1h"], columns["transactions_24h"]
    absent = 1.0 - _flag(columns["card_present"])
    merchant = columns["merchant_code"].astype(np.int64)
    cvv, country = 1.0 - _flag(columns["cvv_match"]), 1.0 - _flag(columns["country_match"])
    device, address = 1.0 - _flag(columns["device_match"]), 1.0 - _flag(columns["address_match"])
    night = (columns["hour"].astype(np.int64) < 6).astype(np.float64)
    weekend = (columns["weekday"].astype(np.int64) >= 5).astype(np.float64)
    if pattern == 0:
        mismatches = 0.7 * device + 1.0 * cvv + 0.5 * address + 1.0 * country
        pace = 0.45 * _z(hour, 0.6, 0.775) + 0.10 * _z(day, 3.1, 1.76)
        return 0.6 * amount + 0.35 * distance + pace + mismatches + 0.6 * absent + 0.6 * night + 0.7 * _RISKS[merchant]
    mismatches = 0.4 * device + 0.9 * cvv - 0.2 * address + 0.4 * country
    pace = 0.15 * _z(hour, 0.6, 0.775) + 0.65 * _z(day, 3.1, 1.76)
    return (
        -0.28 * amount + 0.15 * distance + pace + mismatches + 0.7 * absent + 0.3 * weekend + 0.7 * _RISKS_NEW[merchant]
    )


def _z(values: npt.NDArray[np.generic], mean: float, sigma: float) -> Floats:
    return (values.astype(np.float64) - mean) / sigma


def _flag(values: npt.NDArray[np.generic]) -> Floats:
    return values.astype(np.float64)
