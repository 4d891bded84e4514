"""One task makes the whole run: put this file into Airflow's dags folder."""

from __future__ import annotations

import os

from rehone.integrations.airflow import LOGICAL_DATE, retraining_dag

dag = retraining_dag(
    os.environ.get("REHONE_PROJECT", "/srv/my-model"),  # a folder with a rehone.toml
    dag_id="rehone",
    schedule="0 2 * * *",
    as_of=LOGICAL_DATE,  # a backfill replays days; left out: now
    python=os.environ.get("REHONE_PYTHON"),  # interpreter of Rehone's own environment; left out: Airflow's
)
