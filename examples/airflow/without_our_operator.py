"""The same by exit code, with Airflow's own BashOperator: nothing of Rehone in Airflow's environment.

The check exits with 99 when there is nothing to do, which is how a BashOperator is skipped. It hands
on the id of the run; what is left of the run is made by the second task.
"""

from __future__ import annotations

import json
import os
from typing import Any

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG

REHONE = os.environ.get("REHONE_COMMAND", "/opt/rehone/bin/rehone")
PROJECT = os.environ.get("REHONE_PROJECT", "/srv/my-model")


def run_id(said: str) -> Any:
    """Return the id of the run from the last line of the check."""
    return json.loads(said)["run_id"]


with DAG("rehone_by_exit_code", schedule="0 2 * * *", catchup=False, max_active_runs=1) as dag:
    check = BashOperator(
        task_id="check",
        bash_command=f"set -o pipefail; {REHONE} stage check --project {PROJECT} --as-of {{{{ ds }}}} --json | tr -d '\\n'",
        output_processor=run_id,
    )
    check >> BashOperator(
        task_id="retrain",
        bash_command=f"{REHONE} run --project {PROJECT} --resume {{{{ ti.xcom_pull(task_ids='check') }}}}",
        retries=1,  # goes on where it was killed; an exit code does not say what may pass, so the rest is told twice
    )
