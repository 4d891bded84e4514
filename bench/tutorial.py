"""Retrain and check the way that tutorials show it; the yardstick of `bench/run.py`.

    python bench/tutorial.py train FOLDER TEST    pandas load, preprocessor fitted on everything,
                                                  GradientBoosting(200) and RandomForest(200), 5 folds each
    python bench/tutorial.py check FOLDER REF     pandas load, PSI of each feature, KS of the score

Prints one line of JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd


def load_folder(folder: str) -> pd.DataFrame:
    """Read every file and put them behind each other."""
    return pd.concat([pd.read_parquet(p) for p in sorted(Path(folder).glob("*.parquet"))], ignore_index=True)


def train(folder: str, test: str) -> dict[str, float]:
    """Fit both models with five folds each, keep the better one, score fresh rows."""
    from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold, cross_val_score, train_test_split
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rows = load_folder(folder)
    y = rows.pop("label").to_numpy()
    features = [c for c in rows.columns if c != "at"]
    prepare = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    X = prepare.fit_transform(rows[features])
    X_train, _, y_train, _ = train_test_split(X, y, test_size=0.2, stratify=y, random_state=7)
    models = [
        GradientBoostingClassifier(n_estimators=200, random_state=7),
        RandomForestClassifier(n_estimators=200, random_state=7),
    ]
    folds = StratifiedKFold(5, shuffle=True, random_state=7)
    scores = [cross_val_score(m, X_train, y_train, cv=folds, scoring="roc_auc").mean() for m in models]
    best = models[int(np.argmax(scores))].fit(X_train, y_train)
    fresh = load_folder(test)
    auc = roc_auc_score(fresh["label"], best.predict_proba(prepare.transform(fresh[features]))[:, 1])
    return {"cv": float(max(scores)), "auc": float(auc)}


def psi(reference: np.ndarray, current: np.ndarray) -> float:
    """Population stability index over ten quantile bins of the reference, smoothed by 1e-9."""
    edges = np.unique(np.nanquantile(reference, np.linspace(0, 1, 11)))
    edges[0], edges[-1] = -np.inf, np.inf
    a = np.histogram(reference[~np.isnan(reference)], edges)[0] / len(reference) + 1e-9
    b = np.histogram(current[~np.isnan(current)], edges)[0] / len(current) + 1e-9
    return float(((b - a) * np.log(b / a)).sum())


def check(folder: str, reference: str) -> dict[str, float]:
    """Compare every feature and the score of the current rows with the reference rows."""
    from scipy.stats import ks_2samp

    ref, cur = load_folder(reference), load_folder(folder)
    features = [c for c in ref.columns if c not in ("at", "label", "score")]
    found = {f: psi(ref[f].to_numpy(), cur[f].to_numpy()) for f in features}
    return {**found, "ks": float(ks_2samp(ref["score"], cur["score"]).statistic)}


if __name__ == "__main__":
    verb, *paths = sys.argv[1:]
    print(json.dumps({"train": train, "check": check}[verb](*paths)))
