"""Hold a challenger against past champions on the same rows, so that many small losses do not add up.

Every promotion may lose up to a margin unseen. The anchor is the past champion that is furthest
ahead of the challenger on these rows; the loss against it must be within a budget of its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rehone.compare import Paired
from rehone.config import Gate
from rehone.gate.comparisons import auc_difference
from rehone.gate.facts import Case, Ruling, Scored, Unreadable
from rehone.gate.words import against, count, number
from rehone.records import Check, CheckStatus, short_id


@dataclass(frozen=True, slots=True)
class _Held:
    """What one past champion did on the rows that are legal for it too."""

    version: str | None
    found: Paired


def budget(case: Case, anchors: Sequence[Scored | Unreadable]) -> Iterator[Ruling]:
    """Say whether all promotions together have lost no more than the budget.

    A past champion that cannot be asked, or that has seen most of these rows, is said and left out.
    """
    if case.policy.anchor_budget is None or not anchors:
        return
    held: list[_Held] = []
    left_out: list[str] = []
    for anchor in anchors:
        outcome = _held(case, anchor)
        if isinstance(outcome, _Held):
            held.append(outcome)
        else:
            left_out.append(outcome)
    if left_out:
        yield Ruling(_left_out(left_out, len(anchors)))
    if held:
        best = min(held, key=lambda one: one.found.delta)
        yield _ruling(case, best, len(held), case.policy.anchor_budget)


def level_of(policy: Gate, tries: int) -> float:
    """Return the one-sided level for a try: the error that is left shrinks with the root of the number of tries.

    One test at 5 % for each of many challengers would let one through in the end. Sharing the
    error by the root of their number keeps the chance below 5 % in simulated chains of up to 52
    tries, where sharing it by their number would stop equal challengers (docs/explain/gate.md).
    """
    return 1 - (1 - policy.level) / math.sqrt(max(1, tries))


def _held(case: Case, anchor: Scored | Unreadable) -> _Held | str:
    named = short_id(anchor.version)
    if isinstance(anchor, Unreadable):
        return f"{named} cannot be read ({anchor.why})"
    if anchor.scores.shape != case.rows.shape:
        return f"{named} gave {anchor.scores.size:,} scores for {count(case.rows.size, 'row')}"
    legal = case.times > anchor.newest_seen
    if anchor.seen is not None:
        legal &= ~np.asarray(anchor.seen, dtype=bool)[case.rows]
    scores = np.asarray(anchor.scores, dtype=np.float64)[case.rows]
    if not np.isfinite(scores[legal]).all():
        return f"{named} gives scores that are not finite"
    labels = case.labels[legal]
    fewest = max(case.policy.min_positives, 2)
    if min(labels.sum(), (~labels).sum()) < fewest:
        return f"{named} has not seen only {count(labels.size, 'row')} with {count(int(labels.sum()), 'positive')} of these"
    some = replace(case, labels=labels, blocks=None if case.blocks is None else case.blocks[legal])
    found = auc_difference(some, scores[legal], case.challenger.scores[legal])
    return _Held(anchor.version, found)


def _left_out(why: list[str], n: int) -> Check:
    return Check(
        name="anchors",
        status=CheckStatus.WARN,
        value=float(len(why)),
        n=n,
        detail=f"{len(why)} of {count(n, 'past champion')} could not be held against: {'; '.join(why)}",
        remedy="raise deploy.keep_versions if they were removed",
    )


def _ruling(case: Case, best: _Held, n: int, limit: float) -> Ruling:
    policy, found = case.policy, best.found
    tries = case.holdout.anchor_tries + 1
    level = level_of(policy, tries)
    low, high = found.lower(level), found.upper(policy.level)
    holds = low > -limit or found.delta == low == high == 0
    status = CheckStatus.OK if holds else CheckStatus.ACT if high < -limit else CheckStatus.UNKNOWN
    said, edge = against(low, -limit, sign=True) if math.isfinite(low) else ("unknown", number(-limit, sign=True))
    check = Check(
        name="anchor",
        subject=best.version,
        status=status,
        value=found.delta,
        limit=-limit,
        baseline=found.champion,
        interval=(low, high) if math.isfinite(low) and math.isfinite(high) else None,
        p_value=None if found.se is None else found.p_non_inferior(limit),
        n=found.n,
        positives=found.positives,
        detail=f"ROC-AUC {number(found.challenger)} against {number(found.champion)} of {short_id(best.version)}, "
        f"{_rank(n)}, difference {number(found.delta, sign=True)}, at least {said} with {100 * level:.4g} % confidence "
        f"(try {tries:,} of the past year), must be above {edge}",
        remedy=_remedy(status, best),
    )
    flip = (
        f"the lower bound of the difference to the past champion {short_id(best.version)} been {edge} instead of {said}"
    )
    return Ruling(check, flip=flip, slack=(low + limit) / limit if math.isfinite(low) else None)


def _rank(n: int) -> str:
    return "the past champion" if n == 1 else f"the best of {n} past champions on these rows"


def _remedy(status: CheckStatus, best: _Held) -> str:
    if status is CheckStatus.OK:
        return ""
    back = f"`rehone rollback --to {short_id(best.version)}` brings the better one back"
    if status is CheckStatus.ACT:
        return f"promotions have lost more than the budget together: {back}, or raise gate.anchor_budget"
    return (
        "more positives would settle it: raise train.holdout or data.lookback_days, or gate.anchor_budget; "
        f"{back} if it was better"
    )
