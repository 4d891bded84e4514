"""Share the options that several commands have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click


def project_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--project`, which every command on a project has."""
    said = "Folder of the project, or the path of its rehone.toml."
    added: Callable[..., Any] = _projects("project", default=".", show_default=True, help=said)(command)
    return added


def projects_option(said: str, *, required: bool = False) -> Callable[..., Any]:
    """Add `--project` as a fleet gives it: several times, or as a glob; `said` is its help."""
    return _projects("projects", multiple=True, required=required, help=said)


def _projects(name: str, **facts: Any) -> Callable[..., Any]:
    return click.option("--project", "-p", name, metavar="DIR", **facts)


def json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--json`, by which a command prints its record and nothing else."""
    return click.option("--json", "as_json", is_flag=True, help="Print the record as JSON, and nothing else.")(command)


def quiet_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--quiet`, by which a command prints nothing: its exit code speaks."""
    return click.option("--quiet", "-q", is_flag=True, help="Print nothing: the exit code speaks.")(command)
