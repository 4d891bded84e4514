"""A task for each stage: check, validate, train, judge, deploy, and a leaf that says how the run ended."""

from __future__ import annotations

import os

from rehone.integrations.airflow import LOGICAL_DATE, staged_retraining_dag

dag = staged_retraining_dag(
    os.environ.get("REHONE_PROJECT", "/srv/my-model"),
    dag_id="rehone_staged",
    schedule="0 2 * * *",
    as_of=LOGICAL_DATE,  # a backfill replays days; left out: now
    python=os.environ.get("REHONE_PYTHON"),
)
