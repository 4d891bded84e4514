"""Hold a challenger against its minimums and against the champion, rule by rule."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from rehone import compare, metrics
from rehone.compare import Paired
from rehone.config import Gate
from rehone.gate.facts import Ruling
from rehone.gate.words import against, count, number, percent
from rehone.records import Check, CheckStatus, Metrics

POWER = 0.80
FEW_BLOCKS = 10
MOST_POSITIVES_SAID = 10_000_000
MOST_DAYS_ADVISED = 730


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Side:
    """One model on the legal rows."""

    scores: NDArray[np.float64]
    acted: NDArray[np.bool_]
    metrics: Metrics


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Case:
    """All that the rules look at: legal rows only. `blocks` is `None` when rows are independent."""

    labels: NDArray[np.bool_]
    challenger: Side
    champion: Side | None
    blocks: NDArray[Any] | None
    block_kind: str
    days: float
    policy: Gate
    costs: tuple[float, float]

    @property
    def positives(self) -> int:
        return self.challenger.metrics.positives


def minimums(case: Case) -> Iterator[Check]:
    """Hold ROC-AUC and recall against their floors, on unrounded values."""
    found, policy = case.challenger.metrics, case.policy
    auc_range = compare.roc_auc_interval(case.labels, case.challenger.scores, policy.level, blocks=case.blocks)
    yield _floor(case, "min_roc_auc", found.roc_auc, policy.min_roc_auc, auc_range)
    caught = int((case.challenger.acted & case.labels).sum())
    recall_range = compare.wilson(caught, found.positives, policy.level)
    yield _floor(case, "min_recall", found.recall, policy.min_recall, recall_range)


def comparisons(case: Case, champion: Side) -> Iterator[Ruling]:
    """Hold the challenger against the champion on the same rows."""
    yield _roc_auc(case, champion)
    yield _recall(case, champion)
    yield _cost(case, champion)
    yield Ruling(_average_precision(case, champion))
    if case.policy.max_relative_loss is not None:
        before, after = champion.metrics, case.challenger.metrics
        yield Ruling(_relative_loss(case, "roc_auc", before.roc_auc, after.roc_auc))
        yield Ruling(_relative_loss(case, "recall", before.recall, after.recall))


def uses(case: Case, prior: int) -> Check:
    """Say how often these rows have judged a challenger before."""
    seen = f"the holdout has judged {count(prior, 'challenger')} before this one"
    return Check(
        name="holdout_uses",
        status=CheckStatus.WARN if prior else CheckStatus.OK,
        value=float(prior),
        limit=0.0,
        n=case.labels.size,
        positives=case.positives,
        detail=f"{seen}: every further use makes a lucky pass likelier"
        if prior
        else "the holdout has judged no challenger before",
        remedy="wait for newer matured rows before the next attempt" if prior else "",
    )


def _floor(case: Case, name: str, value: float | None, limit: float, interval: tuple[float, float] | None) -> Check:
    what = _title(name.removeprefix("min_"))
    if value is None:  # both classes are there, so this is a fault and not a finding
        return Check(name=name, status=CheckStatus.ACT, limit=limit, detail=f"{what} could not be measured")
    holds = value >= limit
    said, floor = against(value, limit)
    return Check(
        name=name,
        status=CheckStatus.OK if holds else CheckStatus.ACT,
        value=value,
        limit=limit,
        interval=interval,
        n=case.labels.size,
        positives=case.positives,
        detail=f"{what} {said} must be ≥ {floor}",
        remedy="" if holds else f"look for better features or candidates, or lower gate.{name}",
    )


def _title(name: str) -> str:
    return {"roc_auc": "ROC-AUC", "recall": "recall", "cost": "cost per 1,000"}[name]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bout:
    """One comparison, turned so that a positive `ahead` is to the challenger's credit."""

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


def _roc_auc(case: Case, champion: Side) -> Ruling:
    both = (case.labels, champion.scores, case.challenger.scores)
    found = compare.delong(*both) if case.blocks is None else compare.delong_blocks(*both, case.blocks)
    policy = case.policy
    bout = _Bout(
        name="roc_auc",
        scale="",
        champion=found.champion,
        challenger=found.challenger,
        ahead=found.delta,
        low=found.lower(policy.level),
        high=found.upper(policy.level),
        margin=policy.margin_roc_auc,
        spread=found.se,
        p_value=found.p_non_inferior(policy.margin_roc_auc) if found.se is not None else None,
        blocks=found.blocks,
    )
    return _ruling(case, bout)


def _recall(case: Case, champion: Side) -> Ruling:
    """Take the wider of Tango's interval and, with blocks, the one between blocks."""
    policy, y = case.policy, case.labels
    before, after = champion.acted[y], case.challenger.acted[y]
    gain, loss = int((after & ~before).sum()), int((before & ~after).sum())
    low, high = compare.tango(case.positives, gain, loss, 2 * policy.level - 1)
    p_value = float(ndtr(-compare.tango_z(case.positives, gain, loss, policy.margin_recall)))
    spread: float | None = math.sqrt(gain + loss + 1) / case.positives
    between = _between(before, after, case.blocks, y)
    if between is not None:
        low, high = min(low, between.lower(policy.level)), max(high, between.upper(policy.level))
        p_value = max(p_value, between.p_non_inferior(policy.margin_recall))
        spread = None if between.se is None else max(spread or 0.0, between.se)
    bout = _Bout(
        name="recall",
        scale="",
        champion=float(before.mean()),
        challenger=float(after.mean()),
        ahead=(gain - loss) / case.positives,
        low=low,
        high=high,
        margin=policy.margin_recall,
        spread=spread,
        p_value=None if spread is None else p_value,
        blocks=None if between is None else between.blocks,
        remark=f"{gain:,} gained and {loss:,} lost of {count(case.positives, 'positive')}",
    )
    return _ruling(case, bout)


def _between(
    before: NDArray[np.bool_], after: NDArray[np.bool_], blocks: NDArray[Any] | None, rows: NDArray[np.bool_]
) -> Paired | None:
    return None if blocks is None else compare.block_difference(before, after, blocks[rows])


def _cost(case: Case, champion: Side) -> Ruling:
    policy, y = case.policy, case.labels
    before, after = (1000 * metrics.cost_of_rows(y, side.acted, case.costs) for side in (champion, case.challenger))
    found = compare.block_difference(before, after, case.blocks)
    margin = policy.margin_cost * found.champion
    bout = _Bout(
        name="cost",
        scale=f" ({percent(policy.margin_cost)} of the champion's)",
        champion=found.champion,
        challenger=found.challenger,
        ahead=-found.delta,
        low=-found.upper(policy.level),
        high=-found.lower(policy.level),
        margin=margin,
        spread=found.se,
        p_value=None if found.se is None else _p_not_dearer(found, margin),
        blocks=found.blocks,
        sign=-1,
    )
    return _ruling(case, bout)


def _p_not_dearer(found: Paired, margin: float) -> float:
    mirrored = Paired(
        delta=-found.delta, se=found.se, champion=found.champion, challenger=found.challenger, n=found.n, df=found.df
    )
    return mirrored.p_non_inferior(margin)


def _ruling(case: Case, bout: _Bout) -> Ruling:
    """Pass, fail, or say that the rows cannot tell; by default a tie or a lead then ships as weak evidence."""
    weak = not (bout.not_worse or bout.worse) and not case.policy.strict and bout.ahead >= 0
    unsettled = not (bout.not_worse or bout.worse)
    status = CheckStatus.OK
    if bout.worse:
        status = CheckStatus.ACT
    elif weak or (bout.not_worse and _few(bout)):
        status = CheckStatus.WARN
    elif unsettled:
        status = CheckStatus.UNKNOWN
    needed = _needed(case, bout) if unsettled else None
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
    return Ruling(check, weak=weak)


def _few(bout: _Bout) -> bool:
    return bout.blocks is not None and bout.blocks < FEW_BLOCKS


def _said(case: Case, bout: _Bout, *, weak: bool) -> str:
    digits = 2 if bout.name == "cost" else 4
    sure = percent(case.policy.level)
    title = (
        f"{_title(bout.name)} {number(bout.challenger, digits)} against the champion's {number(bout.champion, digits)}"
    )
    lead = number(bout.sign * bout.ahead, digits, sign=True)
    parts = [f"{title}, difference {lead}{_bounds(bout, digits, sure)}"]
    if bout.remark:
        parts.append(bout.remark)
    if bout.blocks is not None:
        parts.append(_blocks_said(case, bout))
    if weak:
        parts.append("weak evidence: inconclusive, but not behind")
    elif not (bout.not_worse or bout.worse):
        parts.append("inconclusive")
    return "; ".join(parts)


def _bounds(bout: _Bout, digits: int, sure: str) -> str:
    """Give the bound that decided, beside the limit; both bounds when none did."""
    limit = -bout.sign * bout.margin
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


def _blocks_said(case: Case, bout: _Bout) -> str:
    blocks = bout.blocks or 0
    found = f"{count(blocks, case.block_kind)} {'' if bout.name == 'cost' else 'with positives '}as blocks"
    if bout.spread is None:
        return f"{found}, too few to see how they differ"
    return f"only {found}, fewer than {FEW_BLOCKS}: the bounds are themselves uncertain" if _few(bout) else found


def _needed(case: Case, bout: _Bout) -> int | None:
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


def _remedy(case: Case, bout: _Bout, needed: int | None) -> str:
    if bout.worse:
        return "the champion stays; look at what changed in the training window or the candidates"
    if needed is not None:
        return _wait_or_widen(case, bout, needed)
    if bout.spread is None:
        return f"widen the holdout to at least {FEW_BLOCKS} of them: raise train.holdout or data.lookback_days"
    return ""


def _wait_or_widen(case: Case, bout: _Bout, needed: int) -> str:
    """Advise more rows when they can be had, and another margin when they cannot."""
    more = needed - case.positives
    rate = case.positives / case.days if case.days > 0 else 0.0
    days = math.ceil(more / rate) if rate else 0
    pace = f", about {count(days, 'more day')} at {number(rate, 1)} a day" if rate else ""
    if days <= MOST_DAYS_ADVISED:
        return f"about {count(more, 'more positive')} would settle it ({needed:,} in all{pace}): raise train.holdout or data.lookback_days"
    default = "set gate.strict = false" if case.policy.strict else "accept the default rule"
    return (
        f"these data cannot settle it at this margin (about {count(more, 'more positive')} needed{pace}): "
        f"raise gate.margin_{bout.name}, or {default}, which ships a challenger that is not behind"
    )


def _average_precision(case: Case, champion: Side) -> Check:
    before, after = champion.metrics.average_precision, case.challenger.metrics.average_precision
    known = before is not None and after is not None
    return Check(
        name="average_precision_vs_champion",
        status=CheckStatus.OK if known else CheckStatus.UNKNOWN,
        value=after - before if before is not None and after is not None else None,
        baseline=before,
        n=case.labels.size,
        positives=case.positives,
        detail=f"average precision {number(after)} against the champion's {number(before)}, reported and not judged"
        if before is not None and after is not None
        else "average precision could not be measured",
    )


def _relative_loss(case: Case, what: str, before: float | None, after: float | None) -> Check:
    """Apply the classic rule to the point estimates: at most a given share may be lost."""
    limit = case.policy.max_relative_loss or 0.0
    if before is None or after is None:
        return Check(name="relative_loss", subject=what, status=CheckStatus.ACT, detail=f"{what} could not be measured")
    holds = after >= before * (1 - limit)
    loss = (before - after) / before if before > 0 else 0.0
    said, most = against(100 * loss, 100 * limit, digits=2)
    return Check(
        name="relative_loss",
        subject=what,
        status=CheckStatus.OK if holds else CheckStatus.ACT,
        value=loss,
        limit=limit,
        baseline=before,
        n=case.labels.size,
        positives=case.positives,
        detail=f"{_title(what)} {number(after)} is {said} % below the champion's {number(before)}, must be at most {most} %",
        remedy="" if holds else "the champion stays; or raise gate.max_relative_loss",
    )
