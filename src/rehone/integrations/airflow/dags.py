"""Make ready DAGs; a file in the dags folder calls one of these and keeps what it returns.

from rehone.integrations.airflow import retraining_dag

dag = retraining_dag("/srv/my-model", schedule="0 2 * * *")
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from airflow.sdk import DAG

from rehone.integrations.airflow.operators import RehoneFindOperator, RehoneRunOperator, RehoneStageOperator

STAGES = ("check", "validate", "train", "judge", "deploy")
LOGICAL_DATE = "{{ data_interval_end | default('', true) }}"
"""`as_of` of a DAG whose backfill shall replay days: the end of its interval, or now when it was started by hand."""

Folder = str | os.PathLike[str]


def retraining_dag(
    project: Folder,
    *,
    schedule: Any = "@daily",
    dag_id: str | None = None,
    as_of: str | None = None,
    python: str | None = None,
    **options: Any,
) -> DAG:
    """Return a DAG that makes the whole run in one task, `retrain`.

    Args:
        project: folder with a `rehone.toml`, as the workers see it.
        schedule: what Airflow calls a schedule: cron, preset, timetable or assets.
        dag_id: name of the DAG; left out: made from the folder's name.
        as_of: `LOGICAL_DATE` makes a backfill replay days; left out: each run acts as of now.
        python: interpreter of the environment that Rehone is installed in; left out: the worker's.
        options: what else a `DAG` takes. Unless told otherwise it does not catch up, runs do not
            overlap, and what may pass is tried again twice, as far apart as Airflow's configuration
            says (five minutes).
    """
    with _dag(dag_id or _named(project), schedule, options) as dag:
        RehoneRunOperator(
            task_id="retrain",
            project=os.fspath(project),
            as_of=as_of,
            python=python,
            max_active_tis_per_dag=1,  # a backfill has a limit of its own for runs at once
        )
    return dag


def staged_retraining_dag(
    project: Folder,
    *,
    schedule: Any = "@daily",
    dag_id: str | None = None,
    as_of: str | None = None,
    python: str | None = None,
    **options: Any,
) -> DAG:
    """Return a DAG with a task for each stage, check to deploy, and a leaf, `close`, that says how the run ended.

    The stages hand on what they made through the run's folder: every worker must see the project.
    `close` ends a run that is still open when no stage can go on, and fails unless the run
    deployed or had nothing to do: so the state of the DAG run is the ending of the run.
    Takes what `retraining_dag` takes.
    """
    common: dict[str, Any] = {"project": os.fspath(project), "python": python}
    with _dag(dag_id or f"{_named(project)}_staged", schedule, options) as dag:
        before = RehoneStageOperator(task_id="check", stage="check", as_of=as_of, **common)
        for stage in STAGES[1:]:
            before = before >> RehoneStageOperator(task_id=stage, stage=stage, **common)
        _ = before >> RehoneStageOperator(task_id="close", stage="close", trigger_rule="all_done", **common)
    return dag


def fleet_dag(
    projects: str | Sequence[Folder],
    *,
    at_once: int = 2,
    schedule: Any = "@daily",
    dag_id: str = "rehone_fleet",
    as_of: str | None = None,
    python: str | None = None,
    **options: Any,
) -> DAG:
    """Return a DAG that makes a whole run of each project, each in a mapped task of its own.

    A project that fails stops no other. The DAG run fails if any did, once all have ended.

    Args:
        projects: their folders; or a pattern such as `/srv/models/*`, which is looked up at the
            start of each run of the DAG.
        at_once: how many projects may run at the same time.
        schedule, dag_id, as_of, python, options: as for one project.

    Raises:
        ValueError: the list of projects is empty.
    """
    if not projects:
        raise ValueError("a fleet needs at least one project: give folders, or a pattern such as '/srv/models/*'")
    with _dag(dag_id, schedule, options) as dag:
        if isinstance(projects, str):
            found: Any = RehoneFindOperator(task_id="find", pattern=projects).output
        else:
            found = [os.fspath(project) for project in projects]
        RehoneRunOperator.partial(
            task_id="retrain",
            as_of=as_of,
            python=python,
            max_active_tis_per_dag=at_once,
            map_index_template="{{ task.project }}",
        ).expand(project=found)
    return dag


def _dag(dag_id: str, schedule: Any, options: dict[str, Any]) -> DAG:
    ours = {"catchup": False, "max_active_runs": 1, "tags": ["rehone"]}
    again = {"retries": 2, **options.get("default_args", {})}
    return DAG(dag_id, schedule=schedule, **{**ours, **options, "default_args": again})


def _named(project: Folder) -> str:
    return "rehone_" + re.sub(r"[^A-Za-z0-9_.-]", "_", Path(project).name)
