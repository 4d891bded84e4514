"""Say in what a run was configured otherwise than the run before it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rehone.records import RunRecord

ABSENT = "not there"
"""What is said of a key that a record does not have, as one of an older Rehone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One key of the configuration, or one fact of the code, with its value before and now."""

    key: str
    before: str
    now: str


def differences(before: RunRecord, now: RunRecord) -> tuple[Difference, ...]:
    """Return what differs between two runs: the code first, then each key of the configuration.

    A section that one of the two does not have is one difference, not one for each of its keys.
    """
    return (*_code(before, now), *_keys(before.config, now.config))


def _code(before: RunRecord, now: RunRecord) -> Iterator[Difference]:
    facts = (
        ("Rehone", before.rehone_version, now.rehone_version),
        ("git commit", before.git_commit or "not in git", now.git_commit or "not in git"),
    )
    for key, old, new in facts:
        if old != new:
            yield Difference(key=key, before=old, now=new)


def _keys(before: Mapping[str, Any], now: Mapping[str, Any], path: str = "") -> Iterator[Difference]:
    for name in sorted({*before, *now}):
        key = f"{path}{name}"
        if name not in before or name not in now:
            yield Difference(key=key, before=_side(before, name), now=_side(now, name))
        elif before[name] != now[name]:
            yield from _changed(before[name], now[name], key)


def _changed(before: object, now: object, key: str) -> Iterator[Difference]:
    if isinstance(before, dict) and isinstance(now, dict):
        yield from _keys(before, now, f"{key}.")
    elif _alike(before, now) and isinstance(before, list) and isinstance(now, list):
        for n, (old, new) in enumerate(zip(before, now, strict=True)):
            if old != new:
                yield from _changed(old, new, f"{key}[{n}]")
    else:
        yield Difference(key=key, before=_written(before), now=_written(now))


def _alike(before: object, now: object) -> bool:
    """Whether two lists are so much the same that their entries can be held against each other."""
    if not (isinstance(before, list) and isinstance(now, list)) or len(before) != len(now):
        return False
    return all(isinstance(each, dict) for each in (*before, *now))


def _side(config: Mapping[str, Any], name: str) -> str:
    return _written(config[name]) if name in config else ABSENT


def _written(value: object) -> str:
    if value is None:
        return "not set"
    if isinstance(value, dict):
        return f"{len(value)} keys" if len(value) != 1 else "1 key"
    return json.dumps(value, ensure_ascii=False)
