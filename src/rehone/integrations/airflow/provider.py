"""Say to Airflow what this package provides: `airflow providers list` shows it."""

from __future__ import annotations

from typing import Any


def info() -> dict[str, Any]:
    """Return what the entry point `apache_airflow_provider` is asked for."""
    return {
        "package-name": "rehone",
        "name": "Rehone",
        "description": "Retrain a model when there is a reason to, deploy it only when it is no worse.",
        "integrations": [{"integration-name": "Rehone", "tags": ["software"]}],
        "operators": [
            {"integration-name": "Rehone", "python-modules": ["rehone.integrations.airflow.operators"]},
        ],
    }
