"""Write numbers so that a value never looks as if it were on the other side of its limit."""

from __future__ import annotations


def against(value: float, limit: float, *, digits: int = 4, sign: bool = False) -> tuple[str, str]:
    """Write a value and its limit with as many digits as it takes to tell them apart."""
    for places in range(digits, 18):
        said, bound = number(value, places, sign=sign), number(limit, places, sign=sign)
        if said != bound or value == limit:
            return said, bound
    return repr(value), repr(limit)


def number(value: float, digits: int = 4, *, sign: bool = False) -> str:
    """Write a number with a thousands separator, a true minus sign and, if asked, a plus sign."""
    text = f"{value:{'+' if sign else ''},.{digits}f}"
    return text.replace("-", "−")


def count(n: int, noun: str) -> str:
    """Write `1 row`, `1,488 rows`, `2 days`, `3 entities`."""
    plural = f"{noun[:-1]}ies" if noun.endswith("ty") else f"{noun}s"
    return f"{n:,} {noun if n == 1 else plural}"


def percent(level: float) -> str:
    """Write .95 as `95 %`."""
    return f"{100 * level:g} %"


def title(name: str) -> str:
    """Write the name of a metric as people know it."""
    return {"roc_auc": "ROC-AUC", "recall": "recall", "cost": "cost per 1,000"}[name]
