"""Estimators that learn like any other and misbehave only in production."""

from __future__ import annotations

import time
from typing import Any

from sklearn.naive_bayes import GaussianNB


class Slow(GaussianNB):  # type: ignore[misc]
    """Takes 20 ms for the few rows of a request."""

    def predict_proba(self, X: Any) -> Any:
        """Answer, after a pause where it would be noticed."""
        if len(X) < 200:
            time.sleep(0.02)
        return super().predict_proba(X)


class Afraid(GaussianNB):  # type: ignore[misc]
    """Raises for a number that no row of training had."""

    def predict_proba(self, X: Any) -> Any:
        """Answer, unless a number is very large."""
        if (X > 30).any():
            raise ZeroDivisionError("a number that nobody foresaw")
        return super().predict_proba(X)
