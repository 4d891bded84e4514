"""Hold a challenger against the champion on the same rows: ROC-AUC, recall and cost, each with its own margin."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from rehone import compare, metrics
from rehone.compare import Paired
from rehone.gate.bouts import Bout, settle
from rehone.gate.facts import Case, Ruling, Side
from rehone.gate.power import power
from rehone.gate.rules import average_precision, relative_losses
from rehone.gate.words import count, percent


def comparisons(case: Case, champion: Side) -> Iterator[Ruling]:
    """Hold the challenger against the champion; all of it must pass."""
    found = auc_difference(case, champion.scores, case.challenger.scores)
    yield settle(case, _roc_auc(case, found))
    yield power(case, found)
    yield settle(case, _recall(case, champion))
    yield settle(case, _cost(case, champion))
    yield average_precision(case, champion)
    yield from relative_losses(case, champion)


def auc_difference(case: Case, before: NDArray[np.float64], after: NDArray[np.float64]) -> Paired:
    """Compare two ROC-AUCs on the legal rows, between blocks when there are any.

    Of few positives the error of independent rows is itself uncertain: Student's t tells it.
    """
    if case.blocks is None:
        found = compare.delong(case.labels, before, after)
        return replace(found, df=float((found.positives or 2) - 1))
    return compare.delong_blocks(case.labels, before, after, case.blocks)


def _roc_auc(case: Case, found: Paired) -> Bout:
    policy = case.policy
    return Bout(
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


def _recall(case: Case, champion: Side) -> Bout:
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
    return Bout(
        name="recall",
        scale="",
        champion=float(before.mean()),
        challenger=float(after.mean()),
        ahead=(gain - loss) / case.positives,
        low=low,
        high=high,
        margin=policy.margin_recall,
        spared=policy.margin_recall,
        spread=spread,
        p_value=None if spread is None else p_value,
        blocks=None if between is None else between.blocks,
        remark=f"{gain:,} gained and {loss:,} lost of {count(case.positives, 'positive')}",
    )


def _between(
    before: NDArray[np.bool_], after: NDArray[np.bool_], blocks: NDArray[Any] | None, rows: NDArray[np.bool_]
) -> Paired | None:
    return None if blocks is None else compare.block_difference(before, after, blocks[rows])


def _cost(case: Case, champion: Side) -> Bout:
    policy, y = case.policy, case.labels
    before, after = (1000 * metrics.cost_of_rows(y, side.acted, case.costs) for side in (champion, case.challenger))
    found = compare.block_difference(before, after, case.blocks)
    margin = policy.margin_cost * found.champion
    return Bout(
        name="cost",
        scale=f" ({percent(policy.margin_cost)} of the champion's)",
        champion=found.champion,
        challenger=found.challenger,
        ahead=-found.delta,
        low=-found.upper(policy.level),
        high=-found.lower(policy.level),
        margin=margin,
        spared=margin,
        spread=found.se,
        p_value=None if found.se is None else _p_not_dearer(found, margin),
        blocks=found.blocks,
        sign=-1,
    )


def _p_not_dearer(found: Paired, margin: float) -> float:
    mirrored = Paired(
        delta=-found.delta, se=found.se, champion=found.champion, challenger=found.challenger, n=found.n, df=found.df
    )
    return mirrored.p_non_inferior(margin)
