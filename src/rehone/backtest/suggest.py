"""Choose the policy that would have cost least, and write what changes in `rehone.toml`."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import stdtrit

from rehone.backtest.results import PolicyResult, Suggestion
from rehone.config import CONFIG_NAME
from rehone.config.editing import Value, difference, with_keys

LEVEL = 0.95
NEAR = 0.005
"""Mean ROC-AUC that a policy may lie below the best one and still be suggested."""


def suggestion(results: Sequence[PolicyResult], toml: str) -> Suggestion:
    """Suggest the policy of least total cost among those that a `rehone.toml` can say.

    It is only worth a change when it would have saved beyond chance: the paired differences to
    the current configuration, month by month, give a t interval, and the whole of it must lie
    above 0. Ten policies were tried on one history, so the best of them is flattered: the
    interval is at .95 shared by all of them (Bonferroni).
    """
    current = next((r for r in results if r.name == "current"), None)
    able = [r for r in results if r.change is not None and _near_best(r, results)]
    if current is None or not able:
        return Suggestion(policy="current", sentence="nothing to compare this rehone.toml with")
    best = min(able, key=lambda r: r.total)
    if best is current or best.total >= current.total:
        return Suggestion(policy="current", sentence="no policy would have cost less than this rehone.toml: keep it")
    saved, low, high = _saved(current, best, tried=len(results) - 1)
    said = f'"{best.name}" ({best.says}) would have cost {current.total - best.total:,.0f} less than this rehone.toml'
    if low <= 0:
        reason = f"{saved:,.0f} a month, between {low:,.0f} and {high:,.0f} by chance: keep what you have"
        return Suggestion(policy=best.name, sentence=f"{said}: {reason}", saved=saved, low=low, high=high)
    return Suggestion(
        policy=best.name,
        sentence=f"{said}: {saved:,.0f} a month, at least {low:,.0f} beyond chance",
        saved=saved,
        low=low,
        high=high,
        diff=change_of(toml, best),
    )


def change_of(toml: str, result: PolicyResult) -> str:
    """Return the difference that a policy makes to the text of a `rehone.toml`."""
    keys = {
        f"{section}.{key}": _written(value)
        for section, changed in (result.change or {}).items()
        for key, value in changed.items()
    }
    return difference(toml, with_keys(toml, keys), CONFIG_NAME)


def _near_best(result: PolicyResult, results: Sequence[PolicyResult]) -> bool:
    aucs = [r.roc_auc for r in results if r.roc_auc is not None]
    return not aucs or (result.roc_auc is not None and result.roc_auc >= max(aucs) - NEAR)


def _saved(current: PolicyResult, best: PolicyResult, *, tried: int) -> tuple[float, float, float]:
    """Return the mean saved per month with its interval; retrains are spread evenly over months."""
    spent = (current.spent - best.spent) / max(len(current.months), 1)
    each = np.array(
        [
            (a.cost_per_1000 * a.rows - b.cost_per_1000 * b.rows) / 1000 + spent
            for a, b in zip(current.months, best.months, strict=True)
        ]
    )
    mean = float(each.mean())
    if each.size < 2:
        return mean, -math.inf, math.inf
    quantile = float(stdtrit(each.size - 1, 1 - (1 - LEVEL) / 2 / max(tried, 1)))
    reach = quantile * float(each.std(ddof=1)) / math.sqrt(each.size)
    return mean, mean - reach, mean + reach


def _written(value: object) -> Value:
    if value is None:
        return "off"
    if isinstance(value, tuple):
        return tuple(str(item) for item in value)
    if isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{value!r} is no value of a key")
