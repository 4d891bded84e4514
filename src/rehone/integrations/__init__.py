"""Let orchestrators call Rehone (prefect, airflow, kubeflow), and tell trackers of its runs (mlflow, wandb)."""

from __future__ import annotations

from collections.abc import Sequence


def is_fleet(projects: Sequence[str]) -> bool:
    """Say whether what was named is many projects: several, or a glob of them."""
    return len(projects) != 1 or bool(set(projects[0]) & set("*?["))
