"""Make a run, or one stage of it, as an Airflow task whose state tells how it ended.

deployed, or go on            success
skipped: nothing to do        skipped; so are the stages after it
rejected, inconclusive,
rolled back                   failed at once, never retried: the same rows would say the same
failed                        retried if it may have passed since, else failed at once
"""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Mapping, Sequence
from typing import Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from rehone.integrations.airflow.child import Answer, Child
from rehone.records import Problem, RunStatus

CONFIG_NAME = "rehone.toml"
GOOD = (RunStatus.DEPLOYED, RunStatus.SKIPPED)
MUST_FIX = 2  # exit code of `rehone`: a person must change something first


class _Rehone(BaseOperator):  # type: ignore[misc] # Airflow is not where types are checked
    """Run commands of Rehone on one project, in a child process."""

    template_fields: Sequence[str] = ("project", "as_of", "python")
    ui_color = "#e4ecf7"

    def __init__(
        self,
        *,
        project: str | os.PathLike[str],
        as_of: str | None = None,
        python: str | None = None,
        env: Mapping[str, str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.project = project
        self.as_of = as_of
        self.python = python
        self.env = env
        self._child: Child | None = None

    def on_kill(self) -> None:
        """End the child: it undoes what it must, closes its record, and outlives nobody."""
        if self._child is not None:
            self._child.end()

    def _ask(self, *words: str) -> Answer:
        command = [*words, "--project", os.fspath(self.project), "--json"]
        self.log.info("rehone %s", " ".join(command))
        self._child = Child(command, python=self.python, env=self.env)
        return self._child.answer(self.log.info)

    def _dated(self) -> list[str]:
        return ["--as-of", str(self.as_of)] if self.as_of else []


class RehoneRunOperator(_Rehone):
    """Make a whole run: `rehone run`. XCom carries its id, however it ended.

    Args:
        project: folder with a `rehone.toml`, as the worker sees it.
        as_of: day or moment to act as of, such as `LOGICAL_DATE`; left out: now.
        python: interpreter of the environment that Rehone is installed in; left out: the worker's.
        env: variables that the child gets on top of the worker's.
        force: train although no trigger fired; the data and the gate are judged as always.
    """

    def __init__(self, *, force: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.force = force

    def execute(self, context: Mapping[str, Any]) -> str:
        """Return the id of the run, which has deployed, or waits for a person's approval."""
        answer = self._ask("run", *self._dated(), *(["--force"] if self.force else []))
        if answer.record is None:
            raise _unanswered(answer, final=answer.code == MUST_FIX)
        if answer.record["status"] is None:  # its challenger waits for a person
            self.log.info("%s", answer.record["sentence"])
            return str(answer.record["run_id"])
        return _ended(answer.record, context)


class RehoneStageOperator(_Rehone):
    """Make one stage of a run: `rehone stage`. XCom carries the id of the run.

    The stages know their run by a name that is made of the run of the DAG: a worker that dies
    after `check`, before Airflow has noted the id, loses no run.

    Args:
        stage: `check` begins a run; `validate`, `train`, `judge` and `deploy` go on with it;
            `close` ends it if it is open, and fails unless it deployed or had nothing to do.
        run: id of the run, or a name of your own for it; left out: a name for the run of the DAG.
        project, as_of, python, env: as for a whole run.
        force: with `check`: train although no trigger fired.
    """

    template_fields: Sequence[str] = (*_Rehone.template_fields, "run")

    def __init__(self, *, stage: str, run: str | None = None, force: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.stage = stage
        self.run = run
        self.force = force

    def execute(self, context: Mapping[str, Any]) -> str:
        """Return the id of the run, which may go on or has deployed."""
        options = [*self._dated(), *(["--force"] if self.force else [])] if self.stage == "check" else []
        answer = self._ask("stage", self.stage, "--run", str(self.run or _name(context)), *options)
        record = answer.record
        if record is None:
            raise _unanswered(answer, final=False)
        if record["status"] is None or (self.stage == "close" and record["status"] in GOOD):
            self.log.info("%s", record["sentence"])
            return str(record["run_id"])
        if self.stage == "check":  # it may begin another run: the whole record says if that makes sense
            record = self._ask("show", str(record["run_id"])).record or record
        else:
            record = {**record, "problem": None}  # the run has ended: to make this stage again changes nothing
        return _ended(record, context)


def _name(context: Mapping[str, Any]) -> str:
    """Return what the run of Rehone is called that belongs to this run of the DAG."""
    made = f"{context['ti'].dag_id} {context['ti'].run_id}"
    return f"airflow-{hashlib.sha256(made.encode()).hexdigest()[:12]}"


class RehoneFindOperator(BaseOperator):  # type: ignore[misc] # Airflow is not where types are checked
    """Find the projects of a fleet: every folder with a `rehone.toml` that the pattern matches, in order."""

    template_fields: Sequence[str] = ("pattern",)

    def __init__(self, *, pattern: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pattern = pattern

    def execute(self, context: Mapping[str, Any]) -> list[str]:  # noqa: ARG002 - Airflow's name and place
        """Return the paths of the folders; a fleet of none is a mistake and not a quiet success."""
        found = [p for p in sorted(glob.glob(self.pattern)) if os.path.isfile(os.path.join(p, CONFIG_NAME))]  # noqa: PTH113, PTH118, PTH207
        if not found:
            raise AirflowFailException(f"no folder with a {CONFIG_NAME} matches {self.pattern}: is the disk mounted?")
        return found


def _ended(record: Mapping[str, Any], context: Mapping[str, Any]) -> str:
    """Return the id of a run that deployed; raise what gives the task the state of any other ending."""
    status, said = RunStatus(record["status"]), f"{record['sentence']} (run {record['run_id']})"
    if status is RunStatus.SKIPPED and record.get("trigger") is None and context["ti"].try_number > 1:
        raise AirflowException(f"{said}: that may be an earlier try of this task, so it is tried again")
    # a task that raises returns nothing, so the id is handed on here
    context["ti"].xcom_push(key="return_value", value=record["run_id"])
    if status is RunStatus.DEPLOYED:
        return str(record["run_id"])
    if status is RunStatus.SKIPPED:
        raise AirflowSkipException(said)
    if _passing(record):
        raise AirflowException(said)
    raise AirflowFailException(f"{status.value.replace('_', ' ')}: {said}")


def _passing(record: Mapping[str, Any]) -> bool:
    """Whether a run that failed may end otherwise when it is made again."""
    problem = record.get("problem")
    return problem is not None and Problem(type=problem["type"], message=problem["message"]).transient


def _unanswered(answer: Answer, *, final: bool) -> AirflowException:
    said = answer.said or f"the command ended with {answer.code} and said nothing"
    return AirflowFailException(said) if final else AirflowException(said)
