"""Hand projects to a scheduler: Prefect, or Kubeflow Pipelines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from rehone.cli import endings
from rehone.cli.options import projects_option
from rehone.integrations import is_fleet


@click.group()
def schedule() -> None:
    """Run projects under an orchestrator. Without one, put `rehone run` on cron."""


@schedule.command()
@projects_option("Folder of the project; given several times, or as a glob, they are a fleet. Default: this folder.")
@click.option("--cron", metavar="CRON", help='When to run, in data.timezone: "0 2 * * *" is every day at 2.')
@click.option("--every", type=click.FloatRange(min=1), metavar="SECONDS", help="The same as an interval.")
@click.option("--name", metavar="NAME", help='Name of the deployment. Default: project.name, or "fleet".')
@click.option(
    "--parallel", type=click.IntRange(min=1), metavar="N", help="Projects of a fleet that run at once. Default: 2."
)
@click.option("--retries", type=click.IntRange(min=0), metavar="N", help="Tries after a transient failure. Default: 2.")
def prefect(
    projects: tuple[str, ...],
    cron: str | None,
    every: float | None,
    name: str | None,
    **given: int | None,
) -> int:
    """Serve a schedule from a Prefect server, and make its runs here until stopped.

    No two runs of a project overlap. Deployed and skipped runs end Completed, all others Failed
    with the sentence that says why; only a transient failure is tried again.
    """
    if (cron is None) is (every is None):
        raise click.UsageError('say when to run: --cron "0 2 * * *", or --every SECONDS')
    projects = projects or (".",)
    _refuse_parallel(projects, given["parallel"])
    from rehone.integrations.prefect import serve

    asked = {option: value for option, value in given.items() if value is not None}
    serve(projects, cron=cron, every=every, name=name, **asked)
    return endings.GOOD


@schedule.command()
@projects_option(
    "Folder of the project as the containers see it; given several times, or as a glob, they are a fleet.",
    required=True,
)
@click.option(
    "--output",
    "-o",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    default=Path("pipeline.yaml"),
    metavar="FILE",
    show_default=True,
    help="File to write.",
)
@click.option("--image", metavar="IMAGE", help="Container image with rehone[kubeflow]. Default: rehone-python:VERSION.")
@click.option("--claim", metavar="NAME", help="Volume claim that holds projects, stores and run directories.")
@click.option("--mount", metavar="PATH", help="Where the claim is mounted in every container.")
@click.option(
    "--parallel", type=click.IntRange(min=1), metavar="N", help="Projects of a fleet that run at once. Default: 2."
)
def kubeflow(projects: tuple[str, ...], output: Path, claim: str | None, mount: str | None, **given: Any) -> int:
    """Write a pipeline for Kubeflow Pipelines 2, to be uploaded with a recurring run.

    Each stage of a run is a component; those after check run only when there is a reason to retrain.
    A fleet has one component for each project. The parameters of the pipeline are the project (or the
    projects), as_of, force, retries and retry_delay_seconds.
    """
    if (claim is None) is not (mount is None):
        raise click.UsageError("--claim and --mount belong together: which volume, and where")
    _refuse_parallel(projects, given["parallel"])
    from rehone.integrations.kubeflow import Volume, fleet_pipeline, retraining_pipeline, write

    asked = {option: value for option, value in given.items() if value is not None}
    volume = Volume(claim=claim, mount=mount) if claim and mount else None
    made = (
        retraining_pipeline(projects[0], volume=volume, **asked)
        if not is_fleet(projects)
        else fleet_pipeline(list(projects), volume=volume, **asked)
    )
    write(made, output)
    click.echo(f"wrote {output}: upload it to Kubeflow Pipelines, and let its recurring run have max_concurrency 1")
    return endings.GOOD


def _refuse_parallel(projects: tuple[str, ...], parallel: int | None) -> None:
    if parallel is not None and not is_fleet(projects):
        raise click.UsageError("--parallel is for a fleet: give --project several times, or as a glob")
