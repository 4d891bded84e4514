"""Let Kubeflow Pipelines run projects: stage by stage, on the trigger's condition, each in a container of its own.

    from kfp import compiler
    from rehone.integrations.kubeflow import retraining_pipeline

    compiler.Compiler().compile(retraining_pipeline("/srv/my-model", image="…"), "pipeline.yaml")

This is what `rehone schedule kubeflow` does. The components hold no more than a call, because
Kubeflow copies their source into the YAML; what they call is in the image.
"""
# No `from __future__ import annotations` here: Kubeflow reads the annotations of the components themselves.

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rehone import __version__
from rehone.errors import RehoneError
from rehone.integrations.kubeflow_steps import NOTHING_TO_DO

try:
    from kfp import compiler, dsl
    from kfp import kubernetes as cluster
except ModuleNotFoundError as missing:
    raise RehoneError("Kubeflow Pipelines is not installed: pip install 'rehone[kubeflow]'") from missing

from kfp.dsl import ClassificationMetrics, Markdown, Metrics, Output, PipelineTaskFinalStatus

IMAGE = f"rehone-python:{__version__}"


@dataclass(frozen=True, kw_only=True)
class Volume:
    """A claim of a cluster's volume with the projects, their stores and run directories, and where it is mounted."""

    claim: str
    mount: str


def retraining_pipeline(
    project: str, *, image: str = IMAGE, volume: Volume | None = None, name: str | None = None
) -> Any:
    """Return the pipeline of one project, whose parameters have these defaults.

    Args:
        project: folder with a `rehone.toml`, as the containers see it.
        image: container image with `rehone[kubeflow]`.
        volume: what is mounted into every container; left out where all is in object stores.
        name: left out: "rehone-" and the name of the folder.
    """
    place = project

    def pipeline(
        project: str = place,
        as_of: str = "",
        force: bool = False,
        retries: int = 2,
        retry_delay_seconds: float = 60.0,
    ) -> None:
        step = _Steps(image, volume)
        tries = {"retries": retries, "retry_delay_seconds": retry_delay_seconds}
        last = step(record, project=project, job=dsl.PIPELINE_JOB_ID_PLACEHOLDER)
        with dsl.ExitHandler(last, name="run"):
            begun = step(check, project=project, job=dsl.PIPELINE_JOB_ID_PLACEHOLDER, as_of=as_of, force=force, **tries)
            with dsl.If(begun.output != NOTHING_TO_DO, name="retrain"):  # locally, only a lone output may be asked
                given = {"project": project, "run": begun.output, **tries}
                valid = step(validate, **given)
                fitted = step(train, **given).after(valid)
                judged = step(judge, **given).after(fitted)
                step(deploy, **given).after(judged)

    made = dsl.pipeline(name=name or f"rehone-{_slug(Path(place).absolute().name)}", description=f"Rehone on {place}")
    return made(pipeline)


def fleet_pipeline(
    projects: list[str], *, parallel: int = 2, image: str = IMAGE, volume: Volume | None = None, name: str | None = None
) -> Any:
    """Return the pipeline of many projects, `parallel` at a time, each run in one container.

    None stops the others: a container says how its run ended and succeeds; the last step fails when
    a run needs a look, and names each that does.
    """
    places = list(projects)

    def pipeline(
        projects: list = places,  # type: ignore[type-arg]  # Kubeflow's word for a list of anything
        as_of: str = "",
        force: bool = False,
        retries: int = 2,
        retry_delay_seconds: float = 60.0,
    ) -> None:
        step = _Steps(image, volume)
        given = {"as_of": as_of, "force": force, "retries": retries, "retry_delay_seconds": retry_delay_seconds}
        found = step(find, patterns=projects)
        with dsl.ParallelFor(found.output, parallelism=parallel, name="each project") as one:
            ended = step(retrain, project=one, **given)
        step(conclude, endings=dsl.Collected(ended.outputs["Output"]))

    return dsl.pipeline(name=name or "rehone-fleet", description=f"Rehone on {', '.join(places)}")(pipeline)


def write(pipeline: Any, path: Path) -> None:
    """Compile a pipeline to YAML."""
    compiler.Compiler().compile(pipeline, str(path))


class _Steps:
    """Make tasks of components: in one image, with the volume, never from a cache."""

    def __init__(self, image: str, volume: Volume | None) -> None:
        self._image = image
        self._volume = volume

    def __call__(self, component: Callable[..., Any], **given: Any) -> Any:
        made = dsl.component(component, base_image=self._image, install_kfp_package=False)
        task = made(**given).set_caching_options(enable_caching=False)
        if self._volume is not None:
            cluster.mount_pvc(task, pvc_name=self._volume.claim, mount_path=self._volume.mount)
        return task


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "project"


# --- components: Kubeflow copies the source of each into the YAML -----------------------------------


def check(project: str, job: str, as_of: str, force: bool, retries: int, retry_delay_seconds: float) -> str:
    """Begin a run, look at the champion and decide; return the run, or nothing where there is nothing to do."""
    from rehone.integrations import kubeflow_steps as steps

    return steps.check(project, job, as_of=as_of, force=force, tries=steps.Tries(retries, retry_delay_seconds))


def validate(project: str, run: str, retries: int, retry_delay_seconds: float) -> None:
    """Validate the data window."""
    from rehone.integrations import kubeflow_steps as steps

    steps.make(project, run, "validate", steps.Tries(retries, retry_delay_seconds))


def train(project: str, run: str, retries: int, retry_delay_seconds: float, roc: Output[ClassificationMetrics]) -> None:
    """Train the candidates and choose the best."""
    from rehone.integrations import kubeflow_steps as steps

    steps.make(project, run, "train", steps.Tries(retries, retry_delay_seconds))
    steps.log_roc(roc, project, run)


def judge(
    project: str,
    run: str,
    retries: int,
    retry_delay_seconds: float,
    metrics: Output[Metrics],
    matrix: Output[ClassificationMetrics],
) -> None:
    """Judge the challenger against the champion on rows that neither has seen."""
    from rehone.integrations import kubeflow_steps as steps

    made = steps.make(project, run, "judge", steps.Tries(retries, retry_delay_seconds))
    steps.log_gate(metrics, matrix, made.verdict)


def deploy(project: str, run: str, retries: int, retry_delay_seconds: float) -> None:
    """Put the challenger live, prove over the wire that it serves, or put the champion back."""
    from rehone.integrations import kubeflow_steps as steps

    steps.make(project, run, "deploy", steps.Tries(retries, retry_delay_seconds))


def record(
    project: str, job: str, status: PipelineTaskFinalStatus, page: Output[Markdown], metrics: Output[Metrics]
) -> None:
    """Close the run whatever happened, and show its record; made after every run."""
    from rehone.integrations import kubeflow_steps as steps

    closed, text = steps.close(project, job, status.error_message or "")
    with open(page.path, "w", encoding="utf-8") as file:
        file.write(text)
    if closed is not None:
        steps.log_gate(metrics, None, closed.verdict)


def find(patterns: list) -> list:  # type: ignore[type-arg]  # as above
    """Find the projects of the fleet."""
    from rehone.integrations import kubeflow_steps as steps

    return steps.find(patterns)


def retrain(
    project: str, as_of: str, force: bool, retries: int, retry_delay_seconds: float, page: Output[Markdown]
) -> dict:  # type: ignore[type-arg]  # as above
    """Make a whole run of one project and return how it ended."""
    from rehone.integrations import kubeflow_steps as steps

    ending = steps.whole(project, as_of=as_of, force=force, tries=steps.Tries(retries, retry_delay_seconds))
    with open(page.path, "w", encoding="utf-8") as file:
        file.write(steps.page(project, ending))
    return {"project": project, "status": ending.status.value, "said": ending.said}


def conclude(endings: list) -> None:  # type: ignore[type-arg]  # as above
    """Fail when a project needs a look, and say which."""
    from rehone.integrations import kubeflow_steps as steps

    steps.refuse_bad_fleet(endings)
