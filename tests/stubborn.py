"""An estimator that does what the first column says: hangs, sleeps, or raises what no estimator should."""

from __future__ import annotations

import threading
import time
from typing import Any

from sklearn.naive_bayes import GaussianNB

HANG, SLEEP, EXIT, STOP, FEWER = 1e9, 1e6, -1e6, -2e6, -3e6


class Stubborn(GaussianNB):  # type: ignore[misc]
    """Learns like any other."""

    def predict_proba(self, X: Any) -> Any:
        """Answer, unless a row orders something else."""
        orders = set(X[:, 0].tolist())
        if HANG in orders:
            threading.Event().wait()
        if SLEEP in orders:
            time.sleep(0.5)
        if EXIT in orders:
            raise SystemExit("enough")
        if STOP in orders:
            raise StopIteration
        return super().predict_proba(X)[1 if FEWER in orders else 0 :]
