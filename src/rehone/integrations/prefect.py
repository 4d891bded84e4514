"""Let Prefect run projects: on a schedule, never two runs of one at a time, tried again only where that can help.

    from rehone.integrations.prefect import retraining_flow, serve

    retraining_flow("my-model")                 # once, here and now
    serve(["my-model"], cron="0 2 * * *")       # every night; what `rehone schedule prefect` does

Deployed and skipped runs end Completed. All others end Failed, with the sentence that says why; the
names of the states stay Prefect's own, so that its filters and alerts know them.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rehone import __version__, fleet
from rehone.config import CONFIG_NAME, load_config
from rehone.errors import Locked, NotFound, RehoneError
from rehone.integrations import is_fleet, pages
from rehone.integrations.apart import CLOSING_SECONDS, Ending, NotDeployed, Order, Runs
from rehone.records import Event, EventKind, Problem, RunStatus
from rehone.store import Store

try:
    import prefect
except ModuleNotFoundError as missing:
    raise RehoneError("Prefect is not installed: pip install 'rehone[prefect]'") from missing

from prefect import flow, get_client, get_run_logger, runtime, task, unmapped
from prefect.artifacts import create_link_artifact, create_table_artifact
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import ConcurrencyLimitConfig, ConcurrencyLimitStrategy, State, TaskRun
from prefect.deployments.runner import EntrypointType, RunnerDeployment
from prefect.exceptions import ObjectNotFound
from prefect.schedules import Cron, Interval, Schedule
from prefect.settings import PREFECT_API_URL
from prefect.states import Completed, Crashed, Failed
from prefect.task_runners import ThreadPoolTaskRunner

RETRIES = 2
RETRY_DELAY_SECONDS = 60.0


def _can_help(_task: object, _run: TaskRun, state: State[Any]) -> bool:
    """Say whether trying again can help: never after a verdict, and not where a person must change something."""
    return state.data.ending.retry if isinstance(state.data, NotDeployed) else True


def _task_name() -> str:
    return f"retrain {_folder(runtime.task_run.parameters['project'])}"


def _folder(project: str) -> str:
    """Return the name by which a list tells a project from others: that of its folder."""
    path = Path(project).absolute()
    return path.parent.name if path.name == CONFIG_NAME else path.name


@task(  # type: ignore[untyped-decorator]  # Prefect is not there where types are checked
    name="retrain",
    task_run_name=_task_name,
    retry_condition_fn=_can_help,
    cache_policy=NO_CACHE,
    persist_result=False,
)
def retrain(project: str, as_of: str | None, force: bool, runs: Runs) -> State[Any]:
    """Make one run in a process of its own, and keep its record as artifacts."""
    log = get_run_logger()

    def tell(event: Event) -> None:
        if event.kind is EventKind.FINISHED:
            log.info("%s: %s", event.stage, event.sentence or "done")

    try:
        load_config(Path(project))
    except RehoneError as error:
        transient = Problem(type=type(error).__name__, message="").transient
        ending = Ending(project=project, status=RunStatus.FAILED, sentence=str(error), retry=transient)
    else:
        ending = runs.make(Order(project=project, as_of=as_of, force=force), tell)
        _keep(ending, project)
    return _state(ending)


def _state(ending: Ending) -> State[Any]:
    if ending.good:
        return Completed(message=ending.said, data=ending)
    return Failed(message=ending.said, data=NotDeployed(ending))


def _keep(ending: Ending, project: str) -> None:
    """Keep the record as artifacts; a server that does not take them changes nothing of what happened."""
    record = ending.record
    if record is None:
        return
    key = _slug(record.project)
    try:
        link = pages.address(record, load_config(Path(project)))
        create_table_artifact(pages.rows(record), key=f"{key}-run", description=f"**{ending.said}**")
        create_link_artifact(link, record.run_id, key=f"{key}-record", description=ending.said)
    except Exception:  # noqa: BLE001 - the run has ended and has its record; only Prefect's copy is missing
        get_run_logger().warning("the record of run %s could not be kept as an artifact", record.run_id, exc_info=True)


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "project"


def _run_name() -> str:
    given = runtime.flow_run.parameters
    name = _folder(given["project"]) if "project" in given else "fleet"
    return f"{name} {given.get('as_of') or format(runtime.flow_run.scheduled_start_time, '%Y-%m-%d %H:%M')}"


@flow(name="retraining", flow_run_name=_run_name, persist_result=False)  # type: ignore[untyped-decorator]  # as above
def retraining_flow(
    project: str,
    as_of: str | None = None,
    force: bool = False,
    retries: int = RETRIES,
    retry_delay_seconds: float = RETRY_DELAY_SECONDS,
) -> State[Any]:
    """Do what `rehone run` does with one project.

    Ends Completed when deployed or skipped, Failed otherwise. A run that failed on something that
    may have passed by then is made again, at most `retries` times; a verdict is final.
    """
    tried = retrain.with_options(retries=retries, retry_delay_seconds=retry_delay_seconds)
    with Runs() as runs:
        return _again(tried(project, as_of, force, runs, return_state=True))


@flow(name="retraining-fleet", flow_run_name=_run_name, persist_result=False)  # type: ignore[untyped-decorator]  # as above
def fleet_flow(
    projects: list[str],
    parallel: int = 2,
    as_of: str | None = None,
    force: bool = False,
    retries: int = RETRIES,
    retry_delay_seconds: float = RETRY_DELAY_SECONDS,
) -> State[Any]:
    """Run many projects, `parallel` at a time, each in a task and a process of its own.

    `projects` are folders or globs of them, looked for anew in each run of the flow.
    None stops the others; the flow ends Failed when one of them did, and names each that did.
    """
    tried = retrain.with_options(retries=retries, retry_delay_seconds=retry_delay_seconds)
    with ThreadPoolTaskRunner(max_workers=parallel) as pool, Runs() as runs:
        found = [str(path) for path in fleet.find(projects)]
        given = {"as_of": unmapped(as_of), "force": unmapped(force), "runs": unmapped(runs)}
        states = [future.state for future in _waited(pool.map(tried, {"project": found, **given}))]
    table = [
        {"project": p, "state": s.type.value.lower(), "says": s.message} for p, s in zip(found, states, strict=True)
    ]
    create_table_artifact(table, key="fleet", description=f"{len(found)} projects")
    bad = [f"{row['project']}: {row['says']}" for row in table if row["state"] != "completed"]
    if bad:
        return Failed(message=f"{len(bad)} of {len(found)} projects need a look: " + "; ".join(bad))
    return Completed(message=f"{len(found)} projects deployed or skipped")


def _waited(futures: Sequence[Any]) -> Sequence[Any]:
    for future in futures:
        future.wait()
    return futures


def _again(state: State[Any]) -> State[Any]:
    """Return a state that says the same of the flow as this one does of its task."""
    data = state.result(raise_on_failure=False)
    return State(type=state.type, message=state.message, data=data)


def deployment(
    projects: Sequence[str],
    *,
    cron: str | None = None,
    every: float | None = None,
    name: str | None = None,
    **given: Any,
) -> RunnerDeployment:
    """Return a Prefect deployment of one project, or of a fleet, in which no two runs overlap.

    A run that is due while the one before is still under way ends Cancelled, by Prefect itself.

    Args:
        projects: folders with a `rehone.toml`; more than one, or a glob, are a fleet.
        cron: when to run, in `data.timezone` of the (first) project.
        every: the same as an interval in seconds. Without either it runs only when asked for.
        name: left out: the name of the project, or "fleet".
        given: other parameters of the flow, such as `retries` or `parallel`.

    Raises:
        ConfigError: the configuration of the (first) project cannot be used.
        NotFound: a glob finds no project.
        RehoneError: the schedule is not one.
    """
    many = is_fleet(projects)
    first = load_config(fleet.find(projects)[0] if many else Path(projects[0]))
    places = [str(Path(project).absolute()) for project in projects]
    chosen = fleet_flow if many else retraining_flow
    return chosen.to_deployment(
        name or ("fleet" if many else first.project.name),
        schedule=_schedule(cron, every, first.data.timezone),
        parameters={"projects": places} | given if many else {"project": places[0]} | given,
        concurrency_limit=ConcurrencyLimitConfig(limit=1, collision_strategy=ConcurrencyLimitStrategy.CANCEL_NEW),
        entrypoint_type=EntrypointType.MODULE_PATH,  # by its file, this module would be imported as `prefect`
        version=__version__,
        tags=["rehone"],
    )


def _schedule(cron: str | None, every: float | None, timezone: str) -> Schedule | None:
    if cron is None:
        return None if every is None else Interval(every)
    try:
        return Cron(cron, timezone=timezone)
    except ValueError as error:
        raise RehoneError(
            f'{cron!r} is not a cron schedule ({error}): write it as "0 2 * * *", every day at 2'
        ) from None


def serve(projects: Sequence[str], **options: Any) -> None:
    """Register the `deployment` with the Prefect server and make its runs in child processes, until stopped.

    Stopped, it pauses its schedule; started again, it goes on. One deployment is served from one place.

    Raises:
        ConfigError: a project's configuration cannot be used.
        RehoneError: the schedule is not one, or no Prefect server answers.
    """
    server = PREFECT_API_URL.value()
    if not server:
        raise RehoneError(
            "no Prefect server is named: start one with `prefect server start`, then "
            "`prefect config set PREFECT_API_URL=http://127.0.0.1:4200/api`"
        )
    made = deployment(projects, **options)
    with get_client(sync_client=True) as client:
        if (error := client.api_healthcheck()) is not None:
            raise RehoneError(f"no Prefect server answers at {server} ({error}): start it with `prefect server start`")
        _end_dead_runs(client, f"{made.flow_name}/{made.name}")
    prefect.serve(made)


def _end_dead_runs(client: Any, name: str) -> None:
    """Tell the server of runs whose process died without a word.

    It takes them for running, and each would hold the only place of its deployment for ever: every
    later run would be cancelled. That nothing is under way is known by the run lock of the projects.
    """
    try:
        found = client.read_deployment_by_name(name)
    except ObjectNotFound:
        return
    said = {"deployment_id": {"any_": [found.id]}, "state": {"type": {"any_": ["PENDING", "RUNNING", "CANCELLING"]}}}
    for run in client.read_flow_runs(flow_run_filter=FlowRunFilter.model_validate(said)):
        if _at_rest(run.parameters):
            client.set_flow_run_state(run.id, Crashed(message="its process is gone, and its projects are at rest"))


def _at_rest(parameters: dict[str, Any]) -> bool:
    """Wait a little for what is closing its record, and say whether nobody runs the projects of a flow run."""
    try:
        paths = fleet.find(parameters["projects"]) if "projects" in parameters else (Path(parameters["project"]),)
    except NotFound:
        return True
    limit = time.monotonic() + 2 * CLOSING_SECONDS
    while any(_busy(path) for path in paths):
        if time.monotonic() > limit:
            return False
        time.sleep(0.5)
    return True


def _busy(project: Path) -> bool:
    try:
        with Store.of(load_config(project)).lock("schedule"):
            return False
    except Locked:
        return True
    except RehoneError:  # without a configuration or a store nothing can be under way
        return False
