"""Hold recall that is estimated without labels against the recall that labels show, on simulated fraud.

Run it with `python bench/estimates.py`. A LightGBM model learns from 72 of 90 days of the fraud stream of
`rehone.testing`; what its scores are worth is known from cross-validation and from the last 18 days, as in a
version. Then one thing changes, and 30 days are scored. The table gives, over 12 draws, the recall that labels
show, the estimate that is reported, what was not chosen, and how often the 95 % interval holds the truth.
"""

from __future__ import annotations

import argparse
import warnings
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
from lightgbm import LGBMClassifier
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold

from rehone import estimate
from rehone.records import Estimated, Window
from rehone.testing import Dials, FraudStream

Floats = NDArray[np.float64]

DAYS, LEARNED, AFTER = 90, 72, 30
APART = ("event_time", "label", "label_known_at", "p")
CHANGES = {
    "nothing": Dials(),
    "other inputs (covariate)": Dials(covariate=1.0),
    "more positives (label)": Dials(prior=1.0),
    "inputs never seen (off support)": Dials(off_support=1.0),
    "another meaning (concept)": Dials(concept=1.0),
}


@dataclass(frozen=True)
class Draw:
    """What labels showed, and what was estimated without them."""

    truth: float
    found: Estimated


def main() -> None:
    """Print one line for each change."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=12)
    draws = parser.parse_args().draws
    warnings.filterwarnings("ignore", message="X does not have valid feature names")
    print("| what changed | recall | estimated | mean error | interval holds it | the other | contradict | chosen |")
    print("|---|---|---|---|---|---|---|---|")
    for name, dials in CHANGES.items():
        print(line(name, [draw(seed, dials) for seed in range(draws)]), flush=True)


def line(name: str, made: list[Draw]) -> str:
    """Write a row of the table."""
    truth, found = np.array([d.truth for d in made]), [d.found for d in made]
    recalls = [f.recall for f in found if f.recall is not None]
    values = np.array([r.value for r in recalls])
    held = sum(r.low <= t <= r.high for r, t in zip(recalls, truth, strict=True))
    others = [f.other_recall.value for f in found if f.other_recall is not None]
    bases = sorted({f.basis for f in found}, key=lambda b: -sum(f.basis == b for f in found))
    chosen = ", ".join(f"{b} {sum(f.basis == b for f in found)}" for b in bases)
    cells = (
        name,
        f"{truth.mean():.3f}",
        f"{values.mean():.3f}",
        f"{(values - truth).mean():+.3f}",
        f"{held} of {len(made)}",
        f"{np.mean(others):.3f}" if others else "-",
        f"{sum(f.disagree for f in found)}",
        chosen,
    )
    return f"| {' | '.join(cells)} |"


def draw(seed: int, dials: Dials) -> Draw:
    """Make one history, learn from it, and estimate what follows."""
    stream = FraudStream(seed=seed, rows_per_day=300, changes=((DAYS, dials),))
    before, after = stream.days(0, DAYS), stream.days(DAYS, AFTER)
    names = [c for c in before.columns if c not in APART]
    x, y = before.select(names).to_numpy(), before["label"].to_numpy()
    learned = round(LEARNED / DAYS * y.size)
    out_of_fold = np.empty(learned)
    for rows, left in StratifiedKFold(5, shuffle=True, random_state=0).split(x[:learned], y[:learned]):
        out_of_fold[left] = scores(model().fit(x[rows], y[rows]), x[left])
    fitted = model().fit(x[:learned], y[:learned])
    reference = estimate.of_rows(np.concatenate([out_of_fold, scores(fitted, x[learned:])]), y)
    threshold = float(np.quantile(out_of_fold, 0.9))
    now, labels = scores(fitted, after.select(names).to_numpy()), after["label"].to_numpy()
    start = datetime(2026, 4, 1, tzinfo=UTC)
    window = Window(start, start + timedelta(days=AFTER))
    found = estimate.estimate(reference, now, threshold, window=window, terms=estimate.Terms(costs=(1, 10), seed=seed))
    return Draw(float(labels[now >= threshold].sum() / labels.sum()), found)


def model() -> LGBMClassifier:
    """Return the model that is learned."""
    return LGBMClassifier(n_estimators=150, learning_rate=0.05, num_leaves=15, verbose=-1, n_jobs=1)


def scores(fitted: LGBMClassifier, x: Floats) -> Floats:
    """Return the probability of label 1, (n,)."""
    return np.asarray(fitted.predict_proba(x)[:, 1], dtype=np.float64)


if __name__ == "__main__":
    main()
