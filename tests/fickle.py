"""An estimator with a bug: it falls over when asked about fewer rows than a fold has."""

from __future__ import annotations

from typing import Any

from sklearn.tree import DecisionTreeClassifier


class Fickle(DecisionTreeClassifier):  # type: ignore[misc]
    """Cross-validates well, then divides by zero on the holdout."""

    def predict_proba(self, X: Any) -> Any:
        """Answer folds of 960 rows, fall over on the holdout of 720."""
        if len(X) < 900:
            raise ZeroDivisionError("nobody planned this")
        return super().predict_proba(X)
