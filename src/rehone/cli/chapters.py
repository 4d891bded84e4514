"""List the commands by what a person wants, instead of by their first letter."""

from __future__ import annotations

import click

CHAPTERS = {
    "Every day": ("init", "run", "check", "serve"),
    "Look": ("status", "history", "show", "why", "health", "forecasts", "report", "dashboard"),
    "Act": ("rollback", "approve", "reject", "breaker", "doctor", "alerts"),
    "Try and prove": ("backtest", "calibrate", "drill", "replay"),
    "Many, and elsewhere": ("fleet", "stage", "schedule", "metrics", "keys", "completion"),
}


class Chapters(click.Group):
    """A group whose help has a chapter for each thing that people come for."""

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the chapters; a command that none names stands in one of its own."""
        left = [name for name in self.list_commands(context) if not any(name in names for names in CHAPTERS.values())]
        longest = max(len(name) for name in self.commands)
        for title, names in (*CHAPTERS.items(), ("More", tuple(left))):
            found = [(name, self.commands[name]) for name in names if name in self.commands]
            rows = [(name.ljust(longest), command.get_short_help_str(limit=200)) for name, command in found]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)
