"""Say what would have turned a decision, and by how much: the nearest limit that was, or was not, crossed.

A flip changes one measured value and leaves all else as it was. It is about the rule, not about the
world: it says how near the decision was, not what to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from rehone.records import Check, CheckStatus, Evidence
from rehone.trigger import words

_ACTING = ("psi", "score_ks", "recall", "cost_per_1000", "estimated_recall", "estimated_cost_per_1000", "age")
"""What can lead to a training; other checks are only told."""

_FLOORS = ("recall", "estimated_recall")
"""What acts when it falls; all else acts when it rises."""

_BY_CHANCE = 0.05
"""How near a value beyond its limit counts that chance alone may give: nearer than any that is below it."""


@dataclass(frozen=True, slots=True)
class Crossing:
    """Where a measured value would have to be for its check to act, or to stop acting."""

    check: Check
    needed: float

    @property
    def distance(self) -> float:
        """Return how far the value is from there, as a share of the larger of both."""
        value = self.check.value or 0.0
        return abs(self.needed - value) / max(abs(self.needed), abs(value), 1e-12)


def of_silence(checks: Sequence[Check], pauses: Sequence[Check], evidence: Evidence) -> str:
    """Say what would have led to a training on a day on which nothing acted; `pauses` would have to end too."""
    able = [check for check in checks if not _doubted(check, evidence)]
    near = sorted(filter(None, map(_to_act, able)), key=lambda crossing: crossing.distance)
    chance = [check for check in checks if _by_chance(check)]
    if chance and not (near and near[0].distance < _BY_CHANCE):
        said = f"would have trained had {_beyond_chance(chance[0])}"
    elif near:
        said = f"would have trained had {_had(near[0], acts=True)}"
    else:
        return "what would have turned it is not known: nothing that could act was measured"
    said += "".join(f", and {_pause(check)}" for check in pauses)
    by_age = next((c for c in near if c.check.name == "age"), None)
    if pauses or said.startswith("would have trained had the age"):
        return said
    return said + (f"; by age it will from {_day(by_age, evidence)} on" if by_age else "")


def of_rest(pauses: Sequence[Check]) -> str:
    """Say which pauses stood in the way of a training that something asked for."""
    return f"would have trained had {_all([_pause(check) for check in pauses])}"


def of_block(incidents: Sequence[Check]) -> str:
    """Say which incidents stood in the way."""
    crossings = [Crossing(check, check.limit) for check in incidents if check.limit is not None]
    said = [_had(crossing, acts=False) for crossing in crossings] or [
        f"{_title(check)} been as usual" for check in incidents
    ]
    return f"would not have been blocked had {_all(said)}"


def of_training(causes: Sequence[Check]) -> str:
    """Say what would have kept it from training: every cause together."""
    return f"would not have trained had {_all([_undone(check) for check in causes])}"


def _to_act(check: Check) -> Crossing | None:
    """Return where a quiet value would act; `None` when it could not, or was not measured."""
    if check.status is CheckStatus.ACT or check.value is None or check.limit is None or words.is_ignored(check):
        return None
    if check.name not in _ACTING or _by_chance(check):
        return None
    needed = check.limit
    if check.interval is not None:
        low, high = check.interval
        needed = check.value + (check.limit - (high if _is_floor(check) else low))
    return Crossing(check, needed) if needed > 0 else None


def _doubted(check: Check, evidence: Evidence) -> bool:
    """Say whether an estimate could not act wherever it was: something speaks against all of them."""
    found, held = evidence.estimated, evidence.held
    against = (found is not None and found.disagree) or (held is not None and held.covered is False)
    return check.name.startswith("estimated_") and against


def _undone(check: Check) -> str:
    """Say what would have silenced a check that acts."""
    if check.name == "forced":
        return "nobody asked for it"
    if check.name == "champion":
        return "there been a champion"
    if check.value is None or check.limit is None:
        return f"{_title(check)} been within its limit"
    needed = check.limit
    if check.interval is not None:
        low, high = check.interval
        needed = check.value + (check.limit - (high if _is_floor(check) else low))
    return _had(Crossing(check, needed), acts=False)


def _had(crossing: Crossing, *, acts: bool) -> str:
    check = crossing.check
    up = acts is not _is_floor(check)
    needed, value = _apart(crossing.needed, check.value or 0.0, up=up)
    unit = " days" if check.name == "age" else ""
    said = f"{_title(check)} been {_side(check, acts)}{needed}{unit} instead of {value}"
    return f"{said}, its interval as wide as it was" if check.interval is not None else said


def _side(check: Check, acts: bool) -> str:
    """Say on which side of a number a check acts, or does not."""
    if _is_floor(check):
        return "below " if acts else "at least "
    beyond = check.interval is not None or check.name in ("age", "skew")  # these act above their limit, others at it
    if acts:
        return "above " if beyond else ""
    return "at most " if beyond else "below "


def _pause(check: Check) -> str:
    if check.name == "cooldown" and check.value is not None and check.limit is not None:
        return f"the last training been {words.days(check.limit)} ago instead of {words.days(check.value)}"
    if check.name == "budget" and check.value is not None and check.limit is not None:
        return f"there been {check.limit - 1:g} trainings in 30 days instead of {check.value:g}"
    if check.name == "breaker" and check.value is not None and check.limit is not None:
        return f"there been {check.limit - 1:g} challengers lost in a row instead of {check.value:g}"
    return f"{check.name} not stood in the way"


def _beyond_chance(check: Check) -> str:
    return (
        f"{_title(check)}, {check.value:.3g}, been beyond chance too ({words.p_value(check.p_value)}), as on more rows"
    )


def _by_chance(check: Check) -> bool:
    """Say whether a value is beyond its limit, and does not act because chance gives as much."""
    if check.name not in ("psi", "score_ks") or check.status is CheckStatus.ACT or words.is_ignored(check):
        return False
    return check.value is not None and check.limit is not None and check.value >= check.limit


def _title(check: Check) -> str:
    named = {
        "psi": f"PSI of {check.subject}",
        "incident": f"PSI of {check.subject}",
        "score_ks": "the KS distance of scores",
        "cost_per_1000": "cost per 1,000",
        "age": "the age of the champion",
        "skew": f"the skew of {check.subject}",
    }
    return named.get(check.name, check.name.replace("_", " "))


def _is_floor(check: Check) -> bool:
    return check.name in _FLOORS


def _apart(needed: float, value: float, *, up: bool) -> tuple[str, str]:
    """Write two numbers with as many digits as it takes to tell them apart; what is needed is rounded to that side."""
    for digits in range(3, 18):
        said, had = _rounded(needed, digits, up=up), f"{value:,.{digits}g}"
        if said != had or needed == value:
            return said, had
    return repr(needed), repr(value)


def _rounded(number: float, digits: int, *, up: bool) -> str:
    """Write a number in so many significant digits, never on the wrong side of it."""
    exact = Decimal(f"{number:.12g}")
    if not exact:
        return "0"
    step = Decimal(1).scaleb(exact.adjusted() - digits + 1)
    rounded = (exact / step).to_integral_value(ROUND_CEILING if up else ROUND_FLOOR) * step
    return f"{float(rounded):,.{digits}g}"


def _all(parts: Sequence[str]) -> str:
    first, rest = list(parts[:3]), len(parts) - 3
    return " and ".join(first) + (f" and {rest} more like these" if rest > 0 else "")


def _day(age: Crossing, evidence: Evidence) -> str:
    left = timedelta(days=age.needed - (age.check.value or 0.0))
    return f"{evidence.as_of + left:%Y-%m-%d}"
