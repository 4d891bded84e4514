"""Judge a challenger against its minimums and against the champion, on rows that neither has seen.

Points 0 to 4 and 6 of the gate: legality, minimums, not worse than the champion, what all
promotions together have lost, slices, and how often these rows were used before. Pure: the same
facts give the same verdict.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from rehone import metrics
from rehone.config import Gate
from rehone.gate import rules
from rehone.gate.anchor import budget
from rehone.gate.comparisons import comparisons
from rehone.gate.facts import Case, Holdout, Ruling, Scored, Side, Unreadable
from rehone.gate.legality import LACKING, Legality, examine
from rehone.gate.shadow import judge_shadow
from rehone.gate.slices import slices
from rehone.gate.words import count
from rehone.records import Check, CheckStatus, Outcome, Verdict

__all__ = ["Holdout", "Scored", "Unreadable", "judge", "judge_shadow"]


def judge(
    holdout: Holdout,
    challenger: Scored,
    champion: Scored | Unreadable | None,
    policy: Gate,
    *,
    costs: tuple[float, float],
    anchors: Sequence[Scored | Unreadable] = (),
) -> Verdict:
    """Say whether a challenger may replace the champion; every check is in the verdict.

    In each check, `ok` is a pass, `act` a fail, `unknown` inconclusive or not measured, and
    `warn` a pass with a remark or on weak evidence. `interval` holds the two one-sided bounds
    at `policy.level`.

    Args:
        holdout: rows that both models were asked about; those that are not legal are left out.
        challenger: the winner of the training.
        champion: the version that is live; `None` only when none was ever deployed.
        policy: the `[gate]` section.
        costs: of acting on a negative, and of missing a positive.
        anchors: past champions, scored on the same rows, that all promotions together are held against.
    """
    legality = examine(holdout, challenger, champion, policy)
    if isinstance(champion, Unreadable):
        return Verdict(outcome=Outcome.INVALID, reason=_all_said(legality.broken), checks=legality.checks)
    if legality.broken or legality.keep is None:
        return _invalid(legality)
    case = _case(holdout, legality.keep, (challenger, champion), policy, costs)
    rulings = list(rules.minimums(case))
    if case.champion is not None:
        rulings.append(rules.two_models(case, case.champion))
        rulings += chain(comparisons(case, case.champion), slices(case, case.champion), budget(case, anchors))
    rulings.append(rules.uses(case))
    return _verdict(case, legality.checks, rulings)


def _invalid(legality: Legality) -> Verdict:
    return Verdict(
        outcome=Outcome.INVALID,
        reason=f"the comparison is not legal: {_all_said(legality.broken)}",
        checks=legality.checks,
        lacks_rows=legality.lacks_rows,
        flip=_rows_lacking(legality),
    )


def _rows_lacking(legality: Legality) -> str:
    """Say how many rows or positives would have let the gate judge, when nothing else is wrong."""
    if not legality.lacks_rows:
        return ""
    found = next(check for check in legality.broken if check.name == LACKING)
    what = "rows" if found.n == found.value and found.positives_needed is None else "positives"
    return (
        f"would have been judged had {found.limit or 0:,.0f} legal {what} been there instead of {found.value or 0:,.0f}"
    )


def _case(
    holdout: Holdout,
    keep: NDArray[np.bool_],
    models: tuple[Scored, Scored | None],
    policy: Gate,
    costs: tuple[float, float],
) -> Case:
    labels = holdout.labels[keep].astype(bool)
    times = np.asarray(holdout.times, dtype="datetime64[us]")[keep]
    blocks, kind = _blocks(holdout, policy)
    challenger, champion = models
    return Case(
        labels=labels,
        times=times,
        challenger=_side(labels, keep, challenger, costs),
        champion=None if champion is None else _side(labels, keep, champion, costs),
        blocks=None if blocks is None else blocks[keep],
        block_kind=kind,
        policy=policy,
        costs=costs,
        rows=keep,
        holdout=holdout,
    )


def _side(labels: NDArray[np.bool_], keep: NDArray[np.bool_], model: Scored, costs: tuple[float, float]) -> Side:
    scores = np.asarray(model.scores, dtype=np.float64)[keep]
    return Side(
        scores=scores,
        acted=metrics.decide(scores, model.threshold),
        metrics=metrics.measure(labels, scores, model.threshold, costs=costs),
    )


def _blocks(holdout: Holdout, policy: Gate) -> tuple[NDArray[np.generic] | None, str]:
    """Take the blocks that were given, the days of the event times, or none."""
    if policy.blocks == "none":
        return None, ""
    given = holdout.blocks is not None and policy.blocks in ("auto", holdout.block_kind)
    if given:
        return holdout.blocks, holdout.block_kind
    return np.asarray(holdout.times, dtype="datetime64[D]"), "day"


def _verdict(case: Case, legality: tuple[Check, ...], rulings: list[Ruling]) -> Verdict:
    judged = [ruling.check for ruling in rulings]
    failed = tuple(check for check in judged if check.status is CheckStatus.ACT)
    unsettled = tuple(check for check in judged if check.status is CheckStatus.UNKNOWN)
    weak = [ruling.check for ruling in rulings if ruling.weak]
    if failed:
        outcome, reason = Outcome.FAIL, _all_said(failed)
    elif unsettled:
        outcome, reason = Outcome.INCONCLUSIVE, _all_said(unsettled)
    else:
        outcome, reason = Outcome.PASS, _why_passed(case, judged, weak)
    return Verdict(
        outcome=outcome,
        reason=reason,
        checks=(*legality, *judged),
        challenger=case.challenger.metrics,
        champion=None if case.champion is None else case.champion.metrics,
        weak_evidence=outcome is Outcome.PASS and bool(weak),
        flip=_flip(rulings, passed=outcome is Outcome.PASS),
    )


def _flip(rulings: list[Ruling], *, passed: bool) -> str:
    """Say what would have turned the verdict: all that blocked it, or the check that came nearest to."""
    if passed:
        close = [ruling for ruling in rulings if ruling.slack is not None and ruling.flip]
        nearest = min(close, key=lambda ruling: ruling.slack or 0.0, default=None)
        return f"would not have passed had {nearest.flip}" if nearest else ""
    blocking = (CheckStatus.ACT, CheckStatus.UNKNOWN)
    said = [ruling.flip for ruling in rulings if ruling.check.status in blocking and ruling.flip]
    return f"would have passed had {'; and '.join(said)}" if said else ""


def _why_passed(case: Case, judged: list[Check], weak: list[Check]) -> str:
    floors = ", ".join(check.detail for check in judged if check.name.startswith("min_"))
    if case.champion is None:
        return f"first deployment, held against the minimums only: {floors}"
    if weak:
        return f"not behind the champion, on weak evidence: {_all_said(tuple(weak))}"
    decided = next(check.detail for check in judged if check.name == "roc_auc_vs_champion")
    return f"not worse than the champion: {decided}; {count(len(judged), 'check')} passed"


def _all_said(checks: tuple[Check, ...]) -> str:
    return " | ".join(check.sentence for check in checks)
