"""An estimator with a bug: it falls over when asked about as many rows as the holdout has."""

from __future__ import annotations

from typing import Any

from sklearn.tree import DecisionTreeClassifier


class Fickle(DecisionTreeClassifier):  # type: ignore[misc]
    """Cross-validates well, then divides by zero on the holdout."""

    def predict_proba(self, X: Any) -> Any:
        """Answer folds of 960 rows and a newest part of some 600, fall over on the holdout of 720."""
        if 700 < len(X) < 800:
            raise ZeroDivisionError("nobody planned this")
        return super().predict_proba(X)
