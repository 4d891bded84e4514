"""Tell how a challenger that waits is answered."""

from __future__ import annotations

from rehone.report.again import option


def answer_lines(run: str, project: str) -> list[str]:
    """Give the commands that answer a challenger that waits."""
    where = option(project)
    return [
        f"Run {run} waits for a person:",
        f"  rehone approve {run}{where}",
        f"  rehone reject {run}{where} --because TEXT",
    ]
