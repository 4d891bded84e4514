"""The commands that make pages: one file, or a dashboard that follows the runs."""

from __future__ import annotations

from pathlib import Path

import click

from rehone.cli import endings
from rehone.cli.options import project_option


@click.command()
@project_option
@click.option(
    "--out",
    "-o",
    metavar="FILE",
    type=click.Path(path_type=Path),
    default=Path("report.html"),
    show_default=True,
    help="File to write.",
)
@click.option(
    "--runs",
    type=click.IntRange(0),
    default=20,
    show_default=True,
    metavar="N",
    help="Newest runs that get a page of their own; all others stand in the table.",
)
@click.option("--quiet", "-q", is_flag=True, help="Print nothing.")
def report(project: str, out: Path, runs: int, quiet: bool) -> int:
    """Write one HTML file that says all: what is live and why, the trend, drift, every run.

    It needs no network and no server: it can be sent as it is.
    """
    from rehone import api

    written = api.report(project, out, runs=runs)
    if not quiet:
        click.echo(f"written: {written}")
    return endings.GOOD


@click.command()
@click.argument("projects", nargs=-1, metavar="[PROJECT]...")
@click.option("--host", metavar="ADDRESS", help="Address to listen on. Default: dashboard.host of rehone.toml.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on; 0 takes a free one.")
@click.option(
    "--token-file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="File of the token that opens the pages elsewhere, and that approves on them. Default: dashboard.token_file.",
)
def dashboard(projects: tuple[str, ...], host: str | None, port: int | None, token_file: Path | None) -> int:
    """Show the same pages live, of one project or of a fleet; they follow every run.

    PROJECT is a folder with a rehone.toml, or a glob of them. Default: the present folder. The pages change nothing;
    with a token, a challenger that waits can be approved on them. Ends with Ctrl-C.
    """
    from rehone import dashboard as door

    door.serve(projects or (".",), host=host, port=port, token_file=token_file, say=click.echo)
    return endings.GOOD
