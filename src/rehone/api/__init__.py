"""Open the Python door: what the command line can do, as functions.

    from rehone import load, run_pipeline

    record = run_pipeline("path/to/project")
    print(record["status"], record.sentence)
    champion = load("path/to/project")
    champion.predict_proba(frame)

What training needs is imported only where it is used: a rollback works when it is broken.
Only the doors (this package and the command line) read the clock, the user and git.
"""

from rehone.api.approving import approve, reject
from rehone.api.backtesting import backtest
from rehone.api.calibrating import apply_calibration, calibrate
from rehone.api.door import When, Where, moment
from rehone.api.drilling import drill
from rehone.api.forecasting import forecasts
from rehone.api.replaying import replay
from rehone.api.reporting import book, report
from rehone.api.running import STAGES, check, close_run, resume_run, run_pipeline, run_stage
from rehone.api.standing import deployments, doctor, history, runs, show, status
from rehone.api.telling import deliveries, tell
from rehone.api.telling_why import why
from rehone.api.versions import load, rollback
from rehone.api.wellbeing import breaker, health, reset_breaker
from rehone.config import CONFIG_NAME

__all__ = [
    "CONFIG_NAME",
    "STAGES",
    "When",
    "Where",
    "apply_calibration",
    "approve",
    "backtest",
    "book",
    "breaker",
    "calibrate",
    "check",
    "close_run",
    "deliveries",
    "deployments",
    "doctor",
    "drill",
    "forecasts",
    "health",
    "history",
    "load",
    "moment",
    "reject",
    "replay",
    "report",
    "reset_breaker",
    "resume_run",
    "rollback",
    "run_pipeline",
    "run_stage",
    "runs",
    "show",
    "status",
    "tell",
    "why",
]
