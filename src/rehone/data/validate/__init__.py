"""Judge the facts of a window: every finding at once, none of them twice."""

from __future__ import annotations

from rehone.config import Data
from rehone.data.facts import DataFacts
from rehone.data.validate import features, labels, times
from rehone.data.validate.case import Case
from rehone.data.validate.features import missing_features
from rehone.data.validate.times import freshness
from rehone.records import Check, Profile

__all__ = ["freshness", "missing_features", "validate"]


def validate(facts: DataFacts, policy: Data, champion: Profile | None) -> tuple[Check, ...]:
    """Return every finding on a window, those on its files first; one that acts stops the run.

    Pure: nothing is read. What was found in order is listed too, so that a record shows
    what was looked at.
    """
    case = Case(facts, policy, champion)
    rules = (*labels.RULES, *features.RULES, *times.RULES)
    return (*facts.findings, *(check for rule in rules for check in rule(case)))
