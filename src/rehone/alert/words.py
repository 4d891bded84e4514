"""Write the one line of an alert: project, ending, reason with value and limit, next command."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from rehone.records import Alert, AlertKind, Check

LONGEST_REASON = 320
_COMMAND = re.compile(r"`(rehone [^`]+)`")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """Why a person is told: what was found in words, its value and its limit if they are numbers, and what to do."""

    said: str
    value: float | None = None
    limit: float | None = None
    command: str = ""

    @classmethod
    def of_check(cls, check: Check, *, others: int = 0, command: str = "") -> Reason:
        """Return what a check found; `others` act beside it."""
        more = f" (and {others} more)" if others else ""
        said = brief(check.detail) if check.detail else _numbers(check)
        return cls(said=f"{said}{more}", value=check.value, limit=check.limit, command=command)


def alert(kind: AlertKind, about: str, project: str, reason: Reason, *, at: datetime, run_id: str | None) -> Alert:
    """Put an alert into its line; alerts of the same kind `about` the same are the same trouble."""
    said = f": {reason.said}" if reason.said else ""
    return Alert(
        key="/".join(part for part in (project, str(kind), about) if part),
        kind=kind,
        project=project,
        at=at,
        line=f"{one_line(f'{project}: {named(kind)}{said}')}; next: `{reason.command}`",
        run_id=run_id,
        value=reason.value,
        limit=reason.limit,
        command=reason.command,
    )


def named(kind: AlertKind) -> str:
    """Name what a person is told of, in words."""
    return "waits for approval" if kind is AlertKind.APPROVAL else kind.replace("_", " ")


def trial(project: str, at: datetime) -> Alert:
    """Return the alert that tries whether an address takes any."""
    reason = Reason(said="alerts of this project arrive here", command="rehone alerts list")
    return alert(AlertKind.TEST, "", project, reason, at=at, run_id=None)


def sign_of_life(project: str, at: datetime, run_id: str | None = None) -> Alert:
    """Return what is listed of a sign of life that did not get through after a run; without one, of a trial of it."""
    if run_id is None:
        reason = Reason(said="asked for once, as after a run that did not fail", command="rehone alerts list")
    else:
        reason = Reason(said=f"no sign of life came through after run {run_id}", command="rehone alerts test")
    return alert(AlertKind.HEARTBEAT, run_id or "", project, reason, at=at, run_id=run_id)


def brief(text: str) -> str:
    """Return the first statement of a text that lists several, cut at `LONGEST_REASON` characters."""
    said = one_line(text).split(" | ")[0].split("; ")[0].rstrip(" .")
    return said if len(said) <= LONGEST_REASON else said[: LONGEST_REASON - 3].rsplit(" ", 1)[0] + "..."


def one_line(text: str) -> str:
    """Return a text without breaks and without characters that a terminal or a chat would obey."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def command_in(text: str) -> str:
    """Return the first command of ours that a remedy names, or ""."""
    found = _COMMAND.search(text)
    return found[1] if found else ""


def _numbers(check: Check) -> str:
    value = "not known" if check.value is None else f"{check.value:.4g}"
    return f"{check.label} {value}" + ("" if check.limit is None else f", limit {check.limit:.4g}")
