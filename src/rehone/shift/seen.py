"""Hold what was measured, and the limits that turn it into yes and no."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime

from rehone.records import FeatureDrift
from rehone.shift.facts import Facts
from rehone.shift.inputs import Inputs
from rehone.shift.meaning import Meaning, day
from rehone.shift.outputs import Outputs

BROKEN_PSI = 0.25
"""PSI of missing, infinite, unseen or constant values from which the feed is said to be broken: the trigger's own default."""

MOVED_PSI = 0.10
"""PSI of a feature from which it is named as moved."""

APART = 0.55
"""ROC-AUC of current against reference rows, whole interval above it, from which inputs have moved."""

EMPTY = 0.05
"""Share of current rows where the reference has none from which they are off support."""

FLATTER = 0.15
"""Share of its slope that the line of labels over scores loses before the meaning has changed."""

TAUGHT = 0.02
"""Share of the log loss that features save beside the score, on new rows and not on older ones, from which meaning has changed."""

TAUGHT_ALONE = 0.06
"""The same where there are no older rows to hold it against: the champion may always have been that wrong."""

LEVEL = math.log(1.25)
"""Change of the odds at the same score, as a logarithm, from which it matters."""

LEVEL_FAR = math.log(2.0)
"""The same, beyond which other inputs do not explain it."""

SURE = 3.0
"""Standard errors by which a change must stand out."""

RARE = 0.001
"""p-value of a feature's drift below which it is not chance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The facts, and what each question about them gave."""

    facts: Facts
    meaning: Meaning | None
    outputs: Outputs | None
    inputs: Inputs | None

    @property
    def broken(self) -> tuple[FeatureDrift, ...]:
        """Return the features whose drift is a fault of the feed."""
        return tuple(d for d in self.drifted if d.incident is not None and (d.psi or 0.0) >= BROKEN_PSI)

    @property
    def drifted(self) -> tuple[FeatureDrift, ...]:
        """Return the features whose drift is large enough to be named, and not chance."""
        found = (d for d in self.facts.drift if d.psi is not None and d.psi >= MOVED_PSI)
        return tuple(d for d in found if d.p_value is not None and d.p_value < RARE)

    @property
    def knows_inputs(self) -> bool:
        return self.inputs is not None or any(d.psi is not None for d in self.facts.drift)

    @property
    def off_support(self) -> bool:
        return self.inputs is not None and self.inputs.off_support >= EMPTY

    @property
    def moved(self) -> bool:
        return self.inputs is not None and self.inputs.domain.low > APART

    @property
    def moved_beyond_odds(self) -> bool:
        """Whether inputs have moved by more than another share of positives explains."""
        if not self.moved or self.inputs is None:
            return False
        return self.inputs.weighed is None or self.inputs.weighed.low > APART

    @property
    def flatter(self) -> bool:
        found = self.meaning
        return found is not None and found.slope < -FLATTER and found.slope < -SURE * found.slope_error

    @property
    def taught(self) -> bool:
        """Whether new labels teach what older ones contradict."""
        found = self.meaning.lesson if self.meaning else None
        if found is None or found.gain < SURE * found.error:
            return False
        least = TAUGHT_ALONE if found.before is None else TAUGHT
        return min(found.gain, found.change) > least and found.change > SURE * found.change_error

    @property
    def since(self) -> datetime | None:
        """Return the first day of another loss; else, of a lesson that older rows contradict."""
        found = self.meaning
        if found is None or found.since is not None or not self.taught:
            return found.since if found else None
        return None if found.lesson is None or found.lesson.day is None else day(found.lesson.day)

    @property
    def steeper(self) -> bool:
        found = self.meaning
        return found is not None and found.slope > FLATTER and found.slope > SURE * found.slope_error

    @property
    def level(self) -> bool:
        found = self.meaning
        return found is not None and abs(found.level) > max(LEVEL, SURE * found.level_error)

    @property
    def level_far(self) -> bool:
        found = self.meaning
        return self.level and found is not None and abs(found.level) > LEVEL_FAR
