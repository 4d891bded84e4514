"""Print what makes a shell complete commands, options, runs and versions."""

from __future__ import annotations

import click

from rehone.cli import endings


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> int:
    """Print the completion script of a shell.

    bash: `eval "$(rehone completion bash)"` in ~/.bashrc; zsh: the same with zsh in ~/.zshrc;
    fish: `rehone completion fish > ~/.config/fish/completions/rehone.fish`.
    """
    from click.shell_completion import get_completion_class

    from rehone.cli.commands import app

    made = get_completion_class(shell)
    if made is None:
        raise click.UsageError(f"no completion for {shell}")
    click.echo(made(app, {}, "rehone", "_REHONE_COMPLETE").source())
    return endings.GOOD
