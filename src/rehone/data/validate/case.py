"""Hold what every rule on a window is given, and the words they share."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from rehone.config import Data
from rehone.data.facts import DataFacts
from rehone.records import CheckStatus, FeatureProfile, Profile

OK, WARN, ACT = CheckStatus.OK, CheckStatus.WARN, CheckStatus.ACT


@dataclass(frozen=True, slots=True)
class Case:
    """What the rules judge: facts, the policy, and the champion's memory of its own data."""

    facts: DataFacts
    policy: Data
    champion: Profile | None

    @property
    def known(self) -> dict[str, FeatureProfile]:
        """The champion's bins by feature; none without a champion."""
        return {f.feature: f for f in self.champion.features} if self.champion else {}


def percent(share: float) -> str:
    """Write a share as people read it."""
    return f"{share:.4g}" if 0 < share < 0.0001 else f"{100 * share:.4g} %"


def counted(number: int, what: str) -> str:
    """Write a number with its noun."""
    return f"1 {what}" if number == 1 else f"{number:,} {what}s"


def at(moment: datetime) -> str:
    """Write a moment to the minute."""
    return f"{moment:%Y-%m-%d %H:%M} UTC"
