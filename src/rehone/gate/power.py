"""Say what a holdout can see, how often the configured rule errs on it, and when more rows will be there.

All from the measured standard error of the difference, taken as normal (Student's t between
blocks): the usual power calculation of a non-inferiority test (Chow, Shao and Wang, *Sample size
calculations in clinical research*, 2008, chapter 3).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from scipy.special import ndtr, ndtri, stdtr, stdtrit

from rehone import compare
from rehone.compare import Paired
from rehone.config import Gate
from rehone.gate.facts import Case, Ruling
from rehone.gate.words import count, number, percent
from rehone.records import Check, CheckStatus

POWER = 0.80
MOST_DAYS_ADVISED = 730


@dataclass(frozen=True, slots=True)
class Settled:
    """What it takes to have so many positives: more positives, more rows, days, and the day."""

    positives: int
    rows: int
    rate: float
    days: int
    when: datetime | None


def rows_to_settle(case: Case, needed: int) -> Settled:
    """Return what it takes to have `needed` positives, at the rate at which the held-out rows came.

    The day is that on which the label of the last of them is due; `None` when no day was given
    or the rows are all of one time.
    """
    more = max(0, needed - case.positives)
    rows = math.ceil(more * case.labels.size / case.positives) if case.positives else 0
    rate = case.positives / case.days if case.days > 0 else 0.0
    days = math.ceil(more / rate) if rate else 0
    when = None
    if rate and case.holdout.as_of is not None and days <= MOST_DAYS_ADVISED:
        newest = case.times.max().astype("datetime64[us]").astype(datetime).replace(tzinfo=case.holdout.as_of.tzinfo)
        when = max(case.holdout.as_of, newest + timedelta(days=days + case.holdout.label_delay_days))
    return Settled(more, rows, rate, days, when)


def detectable(found: Paired, level: float, power: float = POWER) -> float | None:
    """Return the smallest true loss that a one-sided test at `level` finds with this power."""
    if found.se is None:
        return None
    return (_quantile(level, found.df) + _quantile(power, found.df)) * found.se


def chance_to_pass(found: Paired, policy: Gate, true: float) -> float | None:
    """Return how often the configured rule for ROC-AUC passes a challenger that is truly `true` ahead.

    It passes one whose lower bound is above the margin or, unless strict, one that is not behind.
    """
    if found.se is None:
        return None
    if found.se == 0:
        return float(true > -policy.margin_roc_auc)
    edge = -policy.margin_roc_auc + _quantile(policy.level, found.df) * found.se
    if not policy.strict:
        edge = min(edge, 0.0)
    z = (true - edge) / found.se
    return float(ndtr(z) if found.df is None else stdtr(found.df, z))


def power(case: Case, found: Paired) -> Ruling:
    """Say what this holdout can see in ROC-AUC, and what the rule would do with a worse and an equal challenger."""
    policy = case.policy
    seen = detectable(found, policy.level)
    if seen is None or found.se is None:
        return Ruling(_unmeasured(case))
    enough = seen <= policy.margin_roc_auc
    needed = (
        compare.positives_needed(case.positives, found.se, policy.margin_roc_auc, level=policy.level)
        if not enough
        else None
    )
    return Ruling(
        Check(
            name="power",
            status=CheckStatus.OK if enough else CheckStatus.WARN,
            value=seen,
            limit=policy.margin_roc_auc,
            n=case.labels.size,
            positives=case.positives,
            positives_needed=needed,
            detail=f"{_sight(case, seen)}; {_errors(found, policy)}",
            remedy="" if needed is None else _more(case, needed),
        )
    )


def _sight(case: Case, seen: float) -> str:
    margin = case.policy.margin_roc_auc
    other = f", not of {number(margin, 3)}" if seen > margin else ""
    return (
        f"this holdout has {count(case.positives, 'positive')}: it can see a loss of {number(seen, 3)} ROC-AUC{other} "
        f"({percent(case.policy.level)} confidence, {percent(POWER)} power)"
    )


def _errors(found: Paired, policy: Gate) -> str:
    worse, equal = (chance_to_pass(found, policy, true) for true in (-policy.margin_roc_auc, 0.0))
    return (
        f"were the challenger truly {number(policy.margin_roc_auc, 3)} worse, this comparison would pass it with "
        f"probability {number(worse or 0.0, 2)}; were it equal, with {number(equal or 0.0, 2)}"
    )


def _more(case: Case, needed: int) -> str:
    settled = rows_to_settle(case, needed)
    said = f"about {count(settled.rows, 'more labelled row')} ({count(settled.positives, 'positive')}) would do"
    when = f", around {settled.when:%Y-%m-%d} at the current rate" if settled.when else ""
    if settled.days > MOST_DAYS_ADVISED:
        when = f", more than two years at {number(settled.rate, 1)} positives a day: raise gate.margin_roc_auc instead"
        return said + when
    return f"{said}{when}: raise train.holdout or data.lookback_days"


def _unmeasured(case: Case) -> Check:
    return Check(
        name="power",
        status=CheckStatus.WARN,
        limit=case.policy.margin_roc_auc,
        n=case.labels.size,
        positives=case.positives,
        detail="what this holdout can see could not be measured: its positives are all in one block",
        remedy="raise train.holdout or data.lookback_days",
    )


def _quantile(level: float, df: float | None) -> float:
    return float(ndtri(level) if df is None else stdtrit(df, level))
