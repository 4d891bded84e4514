"""Complete commands, options, runs and versions in a shell."""

from __future__ import annotations

from pathlib import Path

import click
from click.shell_completion import CompletionItem

from rehone.cli import endings

MOST = 40


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> int:
    """Print what makes a SHELL complete commands, options, runs and versions.

    bash: put eval "$(rehone completion bash)" into ~/.bashrc; zsh: the same with zsh into ~/.zshrc;
    fish: rehone completion fish > ~/.config/fish/completions/rehone.fish
    """
    from click.shell_completion import get_completion_class

    from rehone.cli.commands import app

    made = get_completion_class(shell)
    if made is None:
        raise click.UsageError(f"no completion for {shell}")
    click.echo(made(app, {}, "rehone", "_REHONE_COMPLETE").source())
    return endings.GOOD


def runs(context: click.Context, _parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Offer the newest runs whose id begins as typed, newest first, with how they ended."""
    from rehone.config import load_config
    from rehone.errors import RehoneError
    from rehone.report.wording import ending, words
    from rehone.runlog import RunLog

    try:
        log = RunLog.of(load_config(_project(context)))
        known = [(line.run_id, f"{words(line.status)}, as of {line.as_of:%Y-%m-%d}") for line in log.lines()]
        known += [(run.run_id, words(ending(run))) for run in log.unfinished()]
    except (RehoneError, OSError):  # nothing to offer outside a project, or in a broken one
        return []
    return [CompletionItem(run, help=said) for run, said in reversed(known) if run.startswith(typed)][:MOST]


def versions(context: click.Context, _parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Offer the versions that were deployed and whose id begins as typed, newest first."""
    from rehone.config import load_config
    from rehone.errors import RehoneError
    from rehone.store import Store, has_store

    try:
        config = load_config(_project(context))
        log = Store.of(config).log() if has_store(config) else ()
    except (RehoneError, OSError):
        return []
    newest = {d.version: f"generation {d.generation}, {d.at:%Y-%m-%d}" for d in log if d.version}
    found = [(version[:12], said) for version, said in reversed(newest.items()) if version.startswith(typed)]
    return [CompletionItem(version, help=said) for version, said in found][:MOST]


def runs_and_versions(context: click.Context, parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """Offer both, runs first."""
    return runs(context, parameter, typed) + versions(context, parameter, typed)


def _project(context: click.Context) -> Path:
    return Path(context.params.get("project") or ".")
