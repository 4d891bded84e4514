"""The command line: `main` runs one command and returns its exit code."""

from __future__ import annotations

from rehone.cli.endings import main

__all__ = ["main"]
