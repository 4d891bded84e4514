"""Tell what a person was asked of a challenger, and what they answered."""

from __future__ import annotations

import shlex
from pathlib import Path

from rehone.cli.text import fact, moment
from rehone.records import Approval, RunRecord, short_id


def approval_lines(record: RunRecord, width: int) -> list[str]:
    """Say until when a challenger waits and what it would replace, or who answered what, when and why."""
    asked = record.approval
    if asked is None:
        return []
    beside = f"champion {short_id(asked.champion)} (generation {asked.generation})" if asked.champion else "no champion"
    lines = fact("approval", f"asked at {moment(asked.asked_at)} against {beside}, {_answer(asked)}", width)
    if asked.judged_again:
        lines += fact(
            "", "judged again, since another version had gone live: the verdict below is the second one", width
        )
    return lines


def _answer(asked: Approval) -> str:
    if asked.approved is None:
        return f"open until {moment(asked.until)}"
    answer, when = "approved" if asked.approved else "rejected", f" at {moment(asked.at)}" if asked.at else ""
    return f"{answer} by {asked.by}{when}: {asked.because or 'no reason given'}"


def answer_lines(run: str, project: str) -> list[str]:
    """Give the commands that answer a challenger that waits."""
    where = "" if Path(project) == Path() else f" -p {shlex.quote(project)}"
    return [
        f"Run {run} waits for a person:",
        f"  rehone approve {run}{where}",
        f"  rehone reject {run}{where} --because TEXT",
    ]
