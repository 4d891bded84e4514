"""Many models: each folder with a rehone.toml is retrained in a mapped task of its own, so many at once."""

from __future__ import annotations

import os

from rehone.integrations.airflow import LOGICAL_DATE, fleet_dag

dag = fleet_dag(
    os.environ.get("REHONE_FLEET", "/srv/models/*"),
    at_once=int(os.environ.get("REHONE_AT_ONCE", "2")),
    dag_id="rehone_fleet",
    schedule="0 3 * * *",
    as_of=LOGICAL_DATE,  # a backfill replays days; left out: now
    python=os.environ.get("REHONE_PYTHON"),
)
