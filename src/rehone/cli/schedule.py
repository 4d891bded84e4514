"""Hand projects to a scheduler: Prefect, or Kubeflow Pipelines."""

from __future__ import annotations

import click

from rehone.cli import endings


@click.group()
def schedule() -> None:
    """Run projects under an orchestrator. Without one, put `rehone run` on cron."""


_projects = click.option(
    "--project",
    "-p",
    "projects",
    multiple=True,
    default=(".",),
    show_default=True,
    metavar="DIR",
    help="Folder of the project; given several times, they are a fleet.",
)


@schedule.command()
@_projects
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
    if given["parallel"] is not None and len(projects) == 1:
        raise click.UsageError("--parallel is for a fleet: give --project several times")
    from rehone.integrations.prefect import serve

    asked = {option: value for option, value in given.items() if value is not None}
    serve(projects, cron=cron, every=every, name=name, **asked)
    return endings.GOOD
