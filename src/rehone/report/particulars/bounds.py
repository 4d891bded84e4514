"""Say what the intervals in a table of checks are: of which level, and whether it is that of both ends or of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rehone.records import Check


def in_trigger(checks: Sequence[Check], config: Mapping[str, Any]) -> str:
    """Say what intervals a decision was made by; empty where it has none, or nobody recorded their level."""
    level, found = _level(config, "trigger", "interval_level"), _bounded(checks)
    if not level or not found:
        return ""
    held = "; that of estimate held is of what was estimated" if "estimate_held" in found else ""
    return f"Intervals are two-sided, at {level} (trigger.interval_level){held}."


def in_gate(checks: Sequence[Check], config: Mapping[str, Any]) -> str:
    """Say what intervals a verdict was made by: those of floors are not those of comparisons."""
    level = _level(config, "gate", "level")
    said = "; ".join(_of_gate(_bounded(checks), level))
    return f"Intervals: {said}." if level and said else ""


def in_shadow(checks: Sequence[Check], config: Mapping[str, Any]) -> str:
    """Say what intervals a challenger was judged by on what was asked."""
    level = _level(config, "shadow", "level")
    return f"Intervals: each end is a one-sided bound, at {level} (shadow.level)." if level and _bounded(checks) else ""


def _of_gate(found: Sequence[str], level: str) -> Iterator[str]:
    if any(name.startswith("min_") for name in found):
        yield f"of a required minimum two-sided, at {level} (gate.level)"
    if any(name.endswith("_vs_champion") for name in found):
        yield f"of a comparison with the champion each end is a one-sided bound, at {level} or more (gate.level)"
    if "anchor" in found:
        yield "of one with a past champion so too, but its lower end at the level that its row names"


def _bounded(checks: Sequence[Check]) -> list[str]:
    return [check.name for check in checks if check.interval is not None]


def _level(config: Mapping[str, Any], section: str, key: str) -> str:
    level = config.get(section, {}).get(key)
    return f"{100 * level:.4g} %" if level else ""
