"""Compare rules for "the rows cannot tell": how often an equal and a worse challenger ships under each.

Binormal scores (champion ROC-AUC .90, correlation .9, 5 % positives), costs 1 and 10, independent rows,
the default margins. The rules differ only in recall and cost where these are inconclusive:

    apart   each must be not behind (the rule before decision 19)
    margin  each must be within its margin as far as can be seen (the rule of the gate)
    joint   their leads, weighed by precision and counted in margins, must not be behind together

    .venv/bin/python bench/weak_evidence.py
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import expit, ndtri
from scipy.stats import rankdata

MARGINS = (0.02, 0.05, 0.05)
Z = float(ndtri(0.95))
BATCH = 100


def main() -> None:
    print(f"{'truly worse':>11} {'positives':>9} {'ROC-AUC alone':>14} {'apart':>7} {'margin':>7} {'joint':>7}")
    for loss in (0.0, 0.01, 0.02, 0.03, 0.05):
        for positives in (25, 50, 100, 300):
            draws = 600 if positives == 300 else 1500
            rng = np.random.default_rng([positives, round(1000 * loss)])
            batches = [shipped(rng, positives, loss) for _ in range(draws // BATCH)]
            alone, apart, margin, joint = (float(np.mean(rule)) for rule in zip(*batches, strict=True))
            print(f"{loss:>11.2f} {positives:>9} {alone:>14.3f} {apart:>7.3f} {margin:>7.3f} {joint:>7.3f}", flush=True)


def shipped(rng: np.random.Generator, positives: int, loss: float) -> tuple[np.ndarray, ...]:
    """Return for each of 100 draws whether it ships by ROC-AUC alone and under each rule."""
    y = np.arange(20 * positives) < positives
    before, after = scores(rng, y, loss)
    found = (auc(y, before, after), recall(y, before, after), cost(y, before, after))
    shown = [lead - Z * error > -m for (lead, error), m in zip(found, MARGINS, strict=True)]
    worse = np.any([lead + Z * error < -m for (lead, error), m in zip(found, MARGINS, strict=True)], axis=0)
    leads = [lead for lead, _ in found]
    first = shown[0] | (leads[0] >= 0)
    weights = [(m / error) ** 2 for (_, error), m in zip(found, MARGINS, strict=True)]
    together = sum(w * lead / m for w, lead, m in zip(weights, leads, MARGINS, strict=True))
    rules = {
        "apart": (shown[1] | (leads[1] >= 0)) & (shown[2] | (leads[2] >= 0)),
        "margin": (shown[1] | (leads[1] >= -MARGINS[1])) & (shown[2] | (leads[2] >= -MARGINS[2])),
        "joint": together >= 0,
    }
    return (first & ~worse, *(first & ~worse & rule for rule in rules.values()))


def scores(rng: np.random.Generator, y: np.ndarray, loss: float) -> list[np.ndarray]:
    shared = math.sqrt(0.9) * rng.normal(size=(BATCH, y.size))
    drawn = []
    for area in (0.9, 0.9 - loss):
        lift = math.sqrt(2) * float(ndtri(area))
        s = shared + math.sqrt(0.1) * rng.normal(size=(BATCH, y.size)) + y * lift
        drawn.append(expit(lift * s - lift**2 / 2 + math.log(0.05 / 0.95)))
    return drawn


def auc(y: np.ndarray, before: np.ndarray, after: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the difference and DeLong's standard error, each (draws,)."""
    places = [placements(y, s) for s in (before, after)]
    of_positives, of_negatives = (places[1][k] - places[0][k] for k in (0, 1))
    error = np.sqrt(of_positives.var(1, ddof=1) / y.sum() + of_negatives.var(1, ddof=1) / (~y).sum())
    return of_positives.mean(1), error


def placements(y: np.ndarray, s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    ranks, positives = rankdata(s, axis=1), int(y.sum())
    above = (ranks[:, y] - rankdata(s[:, y], axis=1)) / (y.size - positives)
    below = 1 - (ranks[:, ~y] - rankdata(s[:, ~y], axis=1)) / positives
    return above, below


def recall(y: np.ndarray, before: np.ndarray, after: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the difference and about Tango's standard error at the threshold of least expected cost."""
    acted, now = before[:, y] >= 1 / 11, after[:, y] >= 1 / 11
    gain, lost = (now & ~acted).sum(1), (acted & ~now).sum(1)
    return (gain - lost) / y.sum(), np.sqrt(gain + lost + 1) / y.sum()


def cost(y: np.ndarray, before: np.ndarray, after: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the saving as a share of the champion's cost, and its standard error."""
    paid, now = (np.where(y, 10.0 * (s < 1 / 11), 1.0 * (s >= 1 / 11)) for s in (before, after))
    saved = paid - now
    return saved.mean(1) / paid.mean(1), saved.std(1, ddof=1) / math.sqrt(y.size) / paid.mean(1)


if __name__ == "__main__":
    main()
