"""The same by exit code, with Airflow's own BashOperator: nothing of Rehone in Airflow's environment."""

from __future__ import annotations

import os
import shlex

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

REHONE = os.environ.get("REHONE_COMMAND", "/opt/rehone/bin/rehone")
PROJECT = os.environ.get("REHONE_PROJECT", "/srv/my-model")

with DAG("rehone_by_exit_code", schedule="0 2 * * *", catchup=False, max_active_runs=1) as dag:
    BashOperator(
        task_id="retrain",
        bash_command=shlex.join([REHONE, "run", "--project", PROJECT]),
        retries=0,  # an exit code does not say whether the cause may have passed
    )
