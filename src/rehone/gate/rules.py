"""Hold a challenger against its minimums, its rows against their use, and its point estimates against the classic rule."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from rehone import compare
from rehone.gate.facts import Case, Ruling, Side
from rehone.gate.words import against, count, number, title
from rehone.records import Check, CheckStatus


def two_models(case: Case, champion: Side) -> Ruling:
    """Refuse a challenger that gives every legal row the champion's very score and decision: nothing would change.

    Either one model stands on both sides by mistake, or the challenger is the champion over again.
    """
    if not np.array_equal(case.challenger.scores, champion.scores):
        return Ruling(Check(name="two_models", status=CheckStatus.OK, detail="challenger and champion are two models"))
    same = np.array_equal(case.challenger.acted, champion.acted)
    rows = count(case.labels.size, "row")
    check = Check(
        name="two_models",
        status=CheckStatus.ACT if same else CheckStatus.WARN,
        n=case.labels.size,
        detail=f"challenger and champion give the very same answer on all {rows}: nothing would change, or one model was loaded twice"
        if same
        else f"challenger and champion give the very same score on all {rows}, and only their thresholds differ",
        remedy="wait for rows that teach something else; if the two should differ, look at how the champion is read"
        if same
        else "",
    )
    return Ruling(check, flip="a single row been answered otherwise")


def minimums(case: Case) -> Iterator[Ruling]:
    """Hold ROC-AUC and recall against their floors, on unrounded values."""
    found, policy = case.challenger.metrics, case.policy
    auc_range = compare.roc_auc_interval(case.labels, case.challenger.scores, policy.level, blocks=case.blocks)
    yield _floor(case, "roc_auc", found.roc_auc, auc_range)
    caught = int((case.challenger.acted & case.labels).sum())
    recall_range = compare.wilson(caught, found.positives, policy.level)
    yield _floor(case, "recall", found.recall, recall_range)


def _floor(case: Case, what: str, value: float | None, interval: tuple[float, float] | None) -> Ruling:
    name, limit = f"min_{what}", float(getattr(case.policy, f"min_{what}"))
    if value is None:  # both classes are there, so this is a fault and not a finding
        said = f"{title(what)} could not be measured"
        return Ruling(Check(name=name, status=CheckStatus.ACT, limit=limit, detail=said))
    holds = value >= limit
    said, floor = against(value, limit)
    check = Check(
        name=name,
        status=CheckStatus.OK if holds else CheckStatus.ACT,
        value=value,
        limit=limit,
        interval=interval,
        n=case.labels.size,
        positives=case.positives,
        detail=f"{title(what)} {said} must be ≥ {floor}",
        remedy="" if holds else f"look for better features or candidates, or lower gate.{name}",
    )
    flip = f"{title(what)} been {'below' if holds else 'at least'} {floor} instead of {said}"
    return Ruling(check, flip=flip, slack=(value - limit) / float(getattr(case.policy, f"margin_{what}")))


def uses(case: Case) -> Ruling:
    """Say how often these rows have judged a challenger before, and stop at the limit.

    An earlier challenger that was judged on half of these rows counts half.
    """
    prior = case.holdout.prior_uses
    weighed = float(prior) if case.holdout.effective_uses is None else case.holdout.effective_uses
    most = case.policy.max_holdout_uses
    over = most is not None and weighed >= most
    check = Check(
        name="holdout_uses",
        status=CheckStatus.UNKNOWN if over else CheckStatus.WARN if prior else CheckStatus.OK,
        value=weighed,
        limit=None if most is None else float(most),
        n=case.labels.size,
        positives=case.positives,
        detail=_uses_said(prior, weighed, most, over=over),
        remedy=_uses_remedy(prior, over=over),
    )
    return Ruling(check, flip=f"these rows judged fewer than {most or 0:,} challengers before instead of {weighed:.1f}")


def _uses_said(prior: int, weighed: float, most: int | None, *, over: bool) -> str:
    if not prior:
        return "the holdout has judged no challenger before"
    seen = f"the holdout has judged {count(prior, 'challenger')} before this one"
    if abs(weighed - prior) >= 0.05:
        seen += f" (as many as {number(weighed, 1)} on all of its rows)"
    if over:
        return f"{seen}, must be fewer than {most:,}: whoever tries that often passes by luck"
    return f"{seen}: every further use makes a lucky pass likelier"


def _uses_remedy(prior: int, *, over: bool) -> str:
    if over:
        return "wait for newer matured rows, train less often, or raise gate.max_holdout_uses"
    return "wait for newer matured rows before the next attempt" if prior else ""


def average_precision(case: Case, champion: Side) -> Ruling:
    """Report the difference of average precision; it is never judged."""
    before, after = champion.metrics.average_precision, case.challenger.metrics.average_precision
    known = before is not None and after is not None
    check = Check(
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
    return Ruling(check)


def relative_losses(case: Case, champion: Side) -> Iterator[Ruling]:
    """Apply the classic rule to ROC-AUC and recall, where it is asked for."""
    if case.policy.max_relative_loss is None:
        return
    before, after = champion.metrics, case.challenger.metrics
    yield _relative_loss(case, "roc_auc", before.roc_auc, after.roc_auc)
    yield _relative_loss(case, "recall", before.recall, after.recall)


def _relative_loss(case: Case, what: str, before: float | None, after: float | None) -> Ruling:
    """Apply the classic rule to the point estimates: at most a given share may be lost."""
    limit = case.policy.max_relative_loss or 0.0
    if before is None or after is None:
        said = f"{what} could not be measured"
        return Ruling(Check(name="relative_loss", subject=what, status=CheckStatus.ACT, detail=said))
    holds = after >= before * (1 - limit)
    loss = (before - after) / before if before > 0 else 0.0
    said, most = against(100 * loss, 100 * limit, digits=2)
    check = Check(
        name="relative_loss",
        subject=what,
        status=CheckStatus.OK if holds else CheckStatus.ACT,
        value=loss,
        limit=limit,
        baseline=before,
        n=case.labels.size,
        positives=case.positives,
        detail=f"{title(what)} {number(after)} is {said} % below the champion's {number(before)}, must be at most {most} %",
        remedy="" if holds else "the champion stays; or raise gate.max_relative_loss",
    )
    return Ruling(check, flip=f"{title(what)} been at most {most} % below the champion's instead of {said} %")
