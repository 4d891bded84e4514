"""Do in a container of Kubeflow Pipelines what one step is there for: make a stage, log its metrics, close the run.

Needs no part of Kubeflow: the artifacts to write into are handed in. A run has the name of the job of
Kubeflow that begins it, so that a step made twice goes on with the same run, and the last step finds
the run to close whatever happened before it.
"""

from __future__ import annotations

import hashlib
import io
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from rehone import api, fleet
from rehone.config import Config, load_config
from rehone.errors import NotFound, RehoneError
from rehone.integrations import pages
from rehone.integrations.apart import GOOD, Ending, NotDeployed, Order, Runs
from rehone.records import Event, EventKind, Problem, RunRecord, RunStatus, StageEnd, Verdict
from rehone.runlog import RunLog

NOTHING_TO_DO = "nothing to do"
"""What the first step returns instead of a run that goes on."""

ROC_POINTS = 101

log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True)
class Tries:
    """How often what failed on something transient is made again, and after how many seconds."""

    retries: int
    seconds: float


def check(project: str, job: str, *, as_of: str, force: bool, tries: Tries) -> str:
    """Begin the run of a job and decide whether to retrain; return the run that goes on, or NOTHING_TO_DO.

    Made again, it goes on with the run that it began.

    Raises:
        NotDeployed: the run ended here, with something to fix.
    """
    config = load_config(Path(project))

    def begin() -> StageEnd:
        return api.run_stage(config, "check", run=_named(job), as_of=as_of or None, force=force, listen=_tell)

    end = begin()
    for _ in range(tries.retries):
        if end.status is None or not RunLog.of(config).find(end.run_id).retry:
            break
        log.warning("again in %g s: %s", tries.seconds, end.sentence)
        time.sleep(tries.seconds)
        end = begin()
    _refuse_bad(config, end)
    return end.run_id if end.status is None else NOTHING_TO_DO


def make(project: str, run: str, stage: str, tries: Tries) -> RunRecord:
    """Make a later stage of a run, again after a transient failure, and return its record.

    Raises:
        NotDeployed: the run ended here: it was rejected, inconclusive or rolled back, or it failed.
    """
    config = load_config(Path(project))
    end = _tried(lambda: api.run_stage(config, stage, run=run, listen=_tell), tries)
    _refuse_bad(config, end)
    return RunLog.of(config).find(run)


def _tried(stage: Callable[[], T], tries: Tries) -> T:
    for _ in range(tries.retries):
        try:
            return stage()
        except RehoneError as error:
            if not Problem(type=type(error).__name__, message="").transient:
                raise
            log.warning("again in %g s: %s", tries.seconds, error)
            time.sleep(tries.seconds)
    return stage()


def _refuse_bad(config: Config, end: StageEnd) -> None:
    if end.status is not None and end.status not in GOOD:
        raise NotDeployed(Ending.of(RunLog.of(config).find(end.run_id)))


def _tell(event: Event) -> None:
    if event.kind is EventKind.FINISHED:
        log.info("%s: %s", event.stage, event.sentence or "done")


def close(project: str, job: str, said: str) -> tuple[RunRecord | None, str]:
    """End the run of a job if it is still open, and return its record with a page about it.

    `said` is what Kubeflow knows of the steps before, for the case that no run was begun.
    """
    config = load_config(Path(project))
    try:
        record = api.close_run(config, _named(job))
    except NotFound:
        return None, f"# no run was begun\n\n{said or 'the first step did not come so far; its log says why'}\n"
    return record, pages.markdown(record, pages.address(record, config))


def log_gate(metrics: Any, matrix: Any, verdict: Verdict | None) -> None:
    """Log what the gate measured: each check with its interval, and what the challenger caught and missed."""
    if verdict is None:
        return
    for name, value in _measured(verdict):
        metrics.log_metric(name, value)
    if matrix is not None and (counts := _counts(verdict)):
        matrix.log_confusion_matrix(["label 0", "label 1"], counts)


def _measured(verdict: Verdict) -> Iterator[tuple[str, float]]:
    """Name every number of a verdict; what was not measured is left out."""
    for check in verdict.checks:
        for end, value in zip(("", "_low", "_high"), (check.value, *(check.interval or ())), strict=False):
            if value is not None:
                yield f"{check.label}{end}", value
    for who, found in (("challenger", verdict.challenger), ("champion", verdict.champion)):
        for name in ("roc_auc", "average_precision", "recall", "precision", "cost_per_1000", "threshold"):
            value = getattr(found, name, None)
            if value is not None:
                yield f"{who}_{name}", value


def _counts(verdict: Verdict) -> list[list[int]]:
    """Return the challenger's confusion matrix on the holdout; rows are labels. Empty where it was not measured."""
    found = verdict.challenger
    if found is None or found.recall is None:
        return []
    caught = round(found.recall * found.positives)
    alarms = round(caught / found.precision) - caught if found.precision else 0
    return [[found.n - found.positives - alarms, alarms], [found.positives - caught, caught]]


def log_roc(curve: Any, project: str, run: str) -> None:
    """Log the winner's ROC curve on rows that it had not learned from, by cross-validation."""
    from sklearn.metrics import roc_curve

    runlog = RunLog.of(load_config(Path(project)))
    place, disk = runlog.folder_of(runlog.find(run))
    with np.load(io.BytesIO(disk.read(place / "scores.npz")), allow_pickle=False) as kept:
        fpr, tpr, limits = roc_curve(kept["oof_labels"], kept["oof_scores"])
    some = np.unique(np.linspace(0, len(fpr) - 1, ROC_POINTS).round().astype(int))
    limits = np.minimum(limits, 1.0)  # scikit-learn begins at infinity
    curve.log_roc_curve(fpr[some].tolist(), tpr[some].tolist(), limits[some].tolist())


def find(patterns: list[str]) -> list[str]:
    """Return the projects of a fleet: folders, or globs of them."""
    return [str(path) for path in fleet.find(patterns)]


def whole(project: str, *, as_of: str, force: bool, tries: Tries) -> Ending:
    """Make a whole run of one project of a fleet and return how it ended, whatever that is."""
    order = Order(project=project, as_of=as_of or None, force=force)
    with Runs() as runs:
        ending = runs.make(order, _tell)
        for _ in range(tries.retries if ending.retry else 0):
            log.warning("again in %g s: %s", tries.seconds, ending.sentence)
            time.sleep(tries.seconds)
            ending = runs.make(order, _tell)
            if not ending.retry:
                break
    return ending


def page(project: str, ending: Ending) -> str:
    """Return the page about a run that ended so."""
    if ending.record is None:
        return f"# {project}\n\n{ending.said}\n"
    return pages.markdown(ending.record, pages.address(ending.record, load_config(Path(project))))


def refuse_bad_fleet(endings: list[dict[str, Any]]) -> None:
    """Say which projects need a look.

    Raises:
        RehoneError: at least one does.
    """
    bad = [f"{e['project']}: {e['said']}" for e in endings if RunStatus(e["status"]) not in GOOD]
    if bad:
        raise RehoneError(f"{len(bad)} of {len(endings)} projects need a look: " + "; ".join(bad))


def _named(job: str) -> str:
    """Return what the run of a job is called."""
    return f"kubeflow-{hashlib.sha256(job.encode()).hexdigest()[:12]}"
