"""An Airflow of the tests' own, and the few questions that they ask it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "examples" / "airflow"
BIN = Path(sys.executable).parent


def settings(home: Path) -> dict[str, str]:
    """Return the environment of an Airflow in a folder of its own, with nothing but our DAG files."""
    return {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__DEFAULT_TASK_RETRY_DELAY": "1",
        "AIRFLOW__CORE__FERNET_KEY": "",
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
    }


@pytest.fixture(scope="session")
def airflow_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Make Airflow's folder and its database, before this process imports Airflow."""
    assert "airflow" not in sys.modules
    home = tmp_path_factory.mktemp("airflow")
    shutil.copytree(EXAMPLES, home / "dags")
    kept = dict(os.environ)
    os.environ.update(settings(home))
    done = subprocess.run([BIN / "airflow", "db", "migrate"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    yield home
    os.environ.clear()
    os.environ.update(kept)


@dataclass
class Told:
    """What Airflow keeps of a run of a DAG."""

    state: str
    tasks: dict[str, str]
    tries: dict[str, int]
    xcoms: dict[str, Any]


def run(dag_id: str, **options: Any) -> Told:
    """Run a DAG file of the dags folder with Airflow's own `dag.test()`, and return what its database says then."""
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(dag_folder=os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
    assert bag.import_errors == {}
    options.setdefault("logical_date", datetime.now(UTC))
    done = bag.dags[dag_id].test(**options)
    return told(done)


def told(done: Any) -> Told:
    """Read a run of a DAG from Airflow's database."""
    from airflow.models.xcom import XComModel
    from airflow.utils.session import create_session

    with create_session() as session:
        found = done.get_task_instances(session=session)
        values = session.query(XComModel).filter(XComModel.dag_id == done.dag_id, XComModel.run_id == done.run_id)
        name = {ti.task_id if ti.map_index < 0 else f"{ti.task_id}[{ti.map_index}]": ti for ti in found}
        return Told(
            state=str(done.state),
            tasks={key: str(ti.state) for key, ti in name.items()},
            tries={key: ti.try_number for key, ti in name.items()},
            xcoms={f"{x.task_id}.{x.key}": XComModel.deserialize_value(x) for x in values},
        )
