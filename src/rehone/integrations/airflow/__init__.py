"""Let Apache Airflow 3 call Rehone: ready DAGs, the operators they are made of, and what its provider list shows.

    from rehone.integrations.airflow import retraining_dag

    dag = retraining_dag("/srv/my-model", schedule="0 2 * * *")

Rehone itself runs in a child process, with an interpreter of its own if told so: Airflow's
environment needs this package but none of the libraries that it trains with.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rehone.errors import RehoneError

if TYPE_CHECKING:
    from rehone.integrations.airflow.dags import LOGICAL_DATE, fleet_dag, retraining_dag, staged_retraining_dag
    from rehone.integrations.airflow.operators import RehoneFindOperator, RehoneRunOperator, RehoneStageOperator

__all__ = [
    "LOGICAL_DATE",
    "RehoneFindOperator",
    "RehoneRunOperator",
    "RehoneStageOperator",
    "fleet_dag",
    "retraining_dag",
    "staged_retraining_dag",
]


def __getattr__(name: str) -> Any:
    """Import Airflow only where it is used: it reads its list of providers before it is whole.

    Raises:
        RehoneError: Airflow is not installed.
    """
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from rehone.integrations.airflow import dags, operators
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("airflow"):
            raise
        raise RehoneError(
            f"{name} needs Apache Airflow 3, which is not installed here: pip install 'rehone[airflow]'"
        ) from None
    return getattr(operators if name.endswith("Operator") else dags, name)
