"""Settle one comparison of challenger and champion: not worse, worse, or more than the rows can tell."""

from __future__ import annotations

import math
from dataclasses import dataclass

from rehone import compare
from rehone.gate.facts import Case, Ruling
from rehone.gate.power import MOST_DAYS_ADVISED, POWER, rows_to_settle
from rehone.gate.words import against, count, number, percent, title
from rehone.records import Check, CheckStatus

FEW_BLOCKS = 10
MOST_POSITIVES_SAID = 10_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Bout:
    """One comparison, turned so that a positive `ahead` is to the challenger's credit.

    `spared` is how far behind a challenger may be and still ship on weak evidence when the rows cannot tell.
    """

    name: str
    scale: str
    champion: float
    challenger: float
    ahead: float
    low: float
    high: float
    margin: float
    spread: float | None
    p_value: float | None
    spared: float = 0.0
    blocks: int | None = None
    sign: int = 1
    remark: str = ""

    @property
    def same(self) -> bool:
        return self.ahead == self.low == self.high == 0

    @property
    def not_worse(self) -> bool:
        return self.low > -self.margin or self.same

    @property
    def worse(self) -> bool:
        return self.high < -self.margin

    @property
    def unsettled(self) -> bool:
        return not (self.not_worse or self.worse)

    @property
    def digits(self) -> int:
        return 2 if self.name == "cost" else 4


def settle(case: Case, bout: Bout) -> Ruling:
    """Pass, fail, or say that the rows cannot tell; by default one that is not behind then ships as weak evidence."""
    weak = bout.unsettled and not case.policy.strict and bout.ahead >= -bout.spared
    status = CheckStatus.OK
    if bout.worse:
        status = CheckStatus.ACT
    elif weak or (bout.not_worse and _few(bout)):
        status = CheckStatus.WARN
    elif bout.unsettled:
        status = CheckStatus.UNKNOWN
    needed = _needed(case, bout) if bout.unsettled else None
    low, high = sorted((bout.sign * bout.low, bout.sign * bout.high))
    check = Check(
        name=f"{bout.name}_vs_champion",
        status=status,
        value=bout.sign * bout.ahead,
        limit=-bout.sign * bout.margin,
        baseline=bout.champion,
        interval=(low, high) if math.isfinite(low) and math.isfinite(high) else None,
        p_value=bout.p_value,
        n=case.labels.size,
        positives=case.positives,
        positives_needed=needed,
        detail=_said(case, bout, weak=weak),
        remedy=_remedy(case, bout, needed),
    )
    passes = weak or bout.not_worse
    slack = _room(case, bout)
    flip = _would_fall(bout, slack) if passes else _would_pass(case, bout)
    measured = slack / bout.margin if math.isfinite(slack) and bout.margin else None
    return Ruling(check, weak=weak, flip=flip, slack=measured)


def _few(bout: Bout) -> bool:
    return bout.blocks is not None and bout.blocks < FEW_BLOCKS


def _said(case: Case, bout: Bout, *, weak: bool) -> str:
    sure = percent(case.policy.level)
    named = f"{title(bout.name)} {number(bout.challenger, bout.digits)} against the champion's {number(bout.champion, bout.digits)}"
    lead = number(bout.sign * bout.ahead, bout.digits, sign=True)
    parts = [f"{named}, difference {lead}{_bounds(bout, sure)}"]
    if bout.remark:
        parts.append(bout.remark)
    if bout.blocks is not None:
        parts.append(_blocks_said(case, bout))
    if weak and bout.ahead < 0:
        parts.append("weak evidence: inconclusive, but within the margin as far as can be seen")
    elif weak:
        parts.append("weak evidence: inconclusive, but not behind")
    elif bout.unsettled:
        parts.append("inconclusive")
    return "; ".join(parts)


def _bounds(bout: Bout, sure: str) -> str:
    """Give the bound that decided, beside the limit; both bounds when none did."""
    limit, digits = -bout.sign * bout.margin, bout.digits
    if not math.isfinite(bout.low) or not math.isfinite(bout.high):
        return f", its error could not be measured, limit {number(limit, digits, sign=True)}{bout.scale}"
    near, far = ("at least", "at most") if bout.sign > 0 else ("at most", "at least")
    must = f"must be {'above' if bout.sign > 0 else 'below'}"
    worst_said, limit_said = against(bout.sign * bout.low, limit, digits=digits, sign=True)
    if bout.worse:
        best_said, limit_said = against(bout.sign * bout.high, limit, digits=digits, sign=True)
        return f", {far} {best_said} with {sure} confidence, {must} {limit_said}{bout.scale}"
    if bout.not_worse:
        return f", {near} {worst_said} with {sure} confidence, {must} {limit_said}{bout.scale}"
    best_said = number(bout.sign * bout.high, digits, sign=True)
    return f", {near} {worst_said} and {far} {best_said} with {sure} confidence each, {must} {limit_said}{bout.scale}"


def _blocks_said(case: Case, bout: Bout) -> str:
    blocks = bout.blocks or 0
    found = f"{count(blocks, case.block_kind)} {'' if bout.name == 'cost' else 'with positives '}as blocks"
    if bout.spread is None:
        return f"{found}, too few to see how they differ"
    return f"only {found}, fewer than {FEW_BLOCKS}: the bounds are themselves uncertain" if _few(bout) else found


def _needed(case: Case, bout: Bout) -> int | None:
    """Return about how many positives would settle it, with power .80, were the models equal.

    When there are that many already, the difference found is taken for the true one instead.
    """
    if bout.spread is None:
        return None
    for distance in (bout.margin, bout.ahead + bout.margin):
        needed = compare.positives_needed(case.positives, bout.spread, distance, level=case.policy.level, power=POWER)
        if needed is not None and case.positives < needed < MOST_POSITIVES_SAID:
            return needed
    return None


def _remedy(case: Case, bout: Bout, needed: int | None) -> str:
    if bout.worse:
        return "the champion stays; look at what changed in the training window or the candidates"
    if needed is not None:
        return _wait_or_widen(case, bout, needed)
    if bout.spread is None:
        return f"widen the holdout to at least {FEW_BLOCKS} of them: raise train.holdout or data.lookback_days"
    return ""


def _wait_or_widen(case: Case, bout: Bout, needed: int) -> str:
    """Advise more rows when they can be had, and another margin when they cannot."""
    settled = rows_to_settle(case, needed)
    pace = f", about {count(settled.days, 'more day')} at {number(settled.rate, 1)} a day" if settled.rate else ""
    if settled.days <= MOST_DAYS_ADVISED:
        return f"about {count(settled.positives, 'more positive')} would settle it ({needed:,} in all{pace}): raise train.holdout or data.lookback_days"
    strict = ", or set gate.strict = false, which ships a challenger that is not behind"
    return (
        f"these data cannot settle it at this margin (about {count(settled.positives, 'more positive')} needed{pace}): "
        f"raise gate.margin_{bout.name}{strict if case.policy.strict else ''}"
    )


def _room(case: Case, bout: Bout) -> float:
    """Return how much further behind a challenger that passes could be; below 0, how much it lacks."""
    shown = math.inf if bout.same else bout.low + bout.margin
    return shown if case.policy.strict else max(shown, bout.ahead + bout.spared)


def _would_fall(bout: Bout, room: float) -> str:
    """Name the difference at which a challenger that passes would not any more."""
    found = bout.sign * bout.ahead
    if not math.isfinite(room):
        return ""
    said, edge = against(found, bout.sign * (bout.ahead - room), digits=bout.digits, sign=True)
    return f"the difference in {title(bout.name)} been {edge} instead of {said}"


def _would_pass(case: Case, bout: Bout) -> str:
    """Name the nearest ways to a pass: a better bound, a better difference, more positives."""
    ways = []
    if not case.policy.strict:
        said, edge = against(bout.sign * bout.ahead, 0.0 - bout.sign * bout.spared, digits=bout.digits, sign=True)
        ways.append(f"the difference in {title(bout.name)} been {edge} instead of {said}")
    if math.isfinite(bout.low):
        side, must = ("lower", "above") if bout.sign > 0 else ("upper", "below")
        said, edge = against(bout.sign * bout.low, -bout.sign * bout.margin, digits=bout.digits, sign=True)
        lacking = number(bout.sign * (-bout.margin - bout.low), bout.digits, sign=True)
        ways.append(
            f"its {side} bound been {must} {edge} instead of {said} (about {lacking}{_more_positives(case, bout)})"
        )
    if len(ways) == 1 and ways[0].startswith("its"):
        return ways[0].replace("its", f"{title(bout.name)}'s", 1)
    return ", or ".join(ways)


def _more_positives(case: Case, bout: Bout) -> str:
    """Say how many more positives would bring the bound there, were the difference to stay as it is."""
    reach, room = bout.ahead - bout.low, bout.ahead + bout.margin
    if room <= 0 or reach <= 0:
        return ""
    more = math.ceil(case.positives * ((reach / room) ** 2 - 1))
    return f", or {count(more, 'more positive')} at the same difference" if 0 < more < MOST_POSITIVES_SAID else ""
