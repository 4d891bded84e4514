"""Put what was found into one sentence: why to train, why not, and what is not known."""

from __future__ import annotations

from collections.abc import Sequence

from rehone.records import Check, CheckStatus, Evidence

OK, WARN, UNKNOWN = CheckStatus.OK, CheckStatus.WARN, CheckStatus.UNKNOWN


def because(causes: Sequence[Check]) -> str:
    """Give the first cause whole, and the others with their values."""
    first, *others = causes
    more = [f"{c.label} {c.value:.3g}" for c in others if c.value is not None]
    return first.detail + (f"; also {_few(more)}" if more else "")


def resting(causes: Sequence[Check], pauses: Sequence[Check]) -> str:
    """Say why not now, and what would have been the reason."""
    return f"not now: {'; '.join(c.sentence for c in pauses)}. It would have been: {because(causes)}"


def blocked(incidents: Sequence[Check]) -> str:
    """Say which incident blocks training, and its remedy."""
    first, *others = incidents
    more = f"; also {_few([c.subject or c.name for c in others])}" if others else ""
    return f"training is blocked, {first.detail}{more}: {first.remedy}"


def quiet(checks: Sequence[Check]) -> str:
    """Say that nothing acts: the worst of each kind with its limit, and what is not known."""
    known = [c for c in checks if c.status in (OK, WARN) and c.value is not None and not is_ignored(c)]
    seen: dict[str, Check] = {}
    for check in known:
        seen.setdefault(check.name, check)
    found = "; ".join(f"{c.label} {c.value:.3g} (limit {c.limit:.3g})" for c in seen.values() if c.limit is not None)
    unknown = [c.label for c in checks if c.status is UNKNOWN]
    said = f"nothing acts: {found}" if found else "nothing acts"
    said += "".join(f"; {c.detail}" for c in checks if c.name == "predictions" and c.status is UNKNOWN)
    return f"{said}; not known: {_few(unknown)}" if unknown else said


def unmeasured(what: str, evidence: Evidence) -> str:
    """Say why something is not known."""
    if evidence.champion is None:
        return "there is no champion to compare with"
    return f"{what} was not measured"


def p_value(adjusted: float | None) -> str:
    """Write a p-value, adjusted for the number of tests."""
    if adjusted is None:
        return "no p-value"
    return "adjusted p < 1e-300" if adjusted < 1e-300 else f"adjusted p {adjusted:.2g}"


def percent(share: float) -> str:
    """Write a share in percent; only a whole is 100."""
    text = f"{100 * share:.3g}"
    return "99.9" if text == "100" and share < 1 else text


def days(number: float) -> str:
    """Write a number of days; less than a tenth of one in minutes."""
    if 0 < number < 0.1:
        minutes = number * 1440
        return f"{minutes:.0f} minutes" if minutes >= 2 else "less than 2 minutes"
    return "1 day" if number == 1 else f"{number:.4g} days"


def is_ignored(check: Check) -> bool:
    """Say whether a drift is recorded but never acts."""
    return check.name == "psi" and ", ignored: " in check.detail


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
