"""Lay out the record of a run for the screens of others: as rows of a table, as a page of Markdown, as an address."""

from __future__ import annotations

from collections.abc import Iterator

from rehone.config import Config
from rehone.places import Remote
from rehone.records import Check, RunRecord
from rehone.report.wording import ending, words

COLUMNS = ("part", "name", "status", "value", "limit", "interval", "says")


def address(record: RunRecord, config: Config) -> str:
    """Return where the record lies, as a link: file:///srv/my-model/runs/2026/08/….json, or s3://…"""
    runs, path = config.runs_path, f"{record.started_at:%Y/%m}/{record.run_id}.json"
    return str(runs / path) if isinstance(runs, Remote) else (runs / path).absolute().as_uri()


def rows(record: RunRecord) -> list[dict[str, str]]:
    """Return every stage and every check of a run, in its order; what was not measured is an empty cell."""
    stages = [
        dict.fromkeys(COLUMNS, "")
        | {"part": "stage", "name": s.name, "value": f"{s.seconds:.1f} s", "says": s.sentence}
        for s in record.stages
    ]
    return [*stages, *(_row(part, check) for part, check in _checks(record))]


def _checks(record: RunRecord) -> Iterator[tuple[str, Check]]:
    parts = (
        ("incident", record.trigger.incidents if record.trigger else ()),
        ("trigger", record.trigger.checks if record.trigger else ()),
        ("data", record.data_checks),
        ("gate", record.verdict.checks if record.verdict else ()),
        ("shadow", record.shadow_verdict.checks if record.shadow_verdict else ()),
        ("deployment", record.deployment_checks),
    )
    for part, checks in parts:
        for check in checks:
            yield part, check


def _row(part: str, check: Check) -> dict[str, str]:
    low_high = "" if check.interval is None else f"{check.interval[0]:.4g} .. {check.interval[1]:.4g}"
    return {
        "part": part,
        "name": check.label,
        "status": check.status.value,
        "value": _number(check.value),
        "limit": _number(check.limit),
        "interval": low_high,
        "says": check.sentence,
    }


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def markdown(record: RunRecord, link: str) -> str:
    """Return the story of a run as a page: its ending, its sentence, its stages and checks."""
    facts = [
        f"# {record.project}: {words(ending(record))}",
        record.sentence,
        f"Run `{record.run_id}`, as of {record.as_of:%Y-%m-%d %H:%M} UTC, Rehone {record.rehone_version}. Record: <{link}>",
    ]
    return "\n\n".join([*facts, "\n".join(_table(record))]) + "\n"


def _table(record: RunRecord) -> Iterator[str]:
    yield f"| {' | '.join(COLUMNS)} |"
    yield "|---" * len(COLUMNS) + "|"
    for row in rows(record):
        yield f"| {' | '.join(_cell(row[name]) for name in COLUMNS)} |"


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
