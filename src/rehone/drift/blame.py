"""Say what a drift is made of, and whether a fault of the feed carries it."""

from __future__ import annotations

import numpy as np

from rehone.drift.bins import SPECIAL, Bins, Floats
from rehone.records import FeatureKind, FeatureProfile


def incident(like: FeatureProfile, current: FeatureProfile, bins: Bins, parts: Floats) -> str | None:
    """Name the bins that make this a fault of the feed, if they carry most of the drift."""
    if _stuck(current, bins):
        return "constant"
    special = {name: float(parts[i]) for i, name in enumerate(bins.names) if name in SPECIAL}
    carried, whole = sum(special.values()), float(parts.sum())
    if not carried or carried < whole / 2:
        return None
    names = [name for name, part in special.items() if part >= carried / 5]
    if names == ["unseen"]:
        if _one_value(like):
            return "constant"
        if like.kind is FeatureKind.NUMERIC:  # a number that grew is news of the world, not of the feed
            return None
    return ", ".join(names)


def _stuck(current: FeatureProfile, bins: Bins) -> bool:
    """Say whether all current values are one that fewer than half of the reference rows hold."""
    if not _one_value(current):
        return False
    held = [i for i, name in enumerate(bins.names) if bins.now[i] and name not in SPECIAL]
    return len(held) == 1 and bool(bins.then[held[0]] < bins.then.sum() / 2)


def _one_value(counted: FeatureProfile) -> bool:
    if counted.kind is FeatureKind.NUMERIC:
        return counted.lowest is not None and counted.lowest == counted.highest
    return sum(n > 0 for n in counted.counts) == 1 and not counted.pooled and not counted.unseen


def most_of_it(bins: Bins, parts: Floats) -> str:
    """Say which bin moved most, and how much is missing, infinite or unseen."""
    worst = int(np.argmax(parts))
    told = dict.fromkeys([worst, *(i for i, name in enumerate(bins.names) if name in SPECIAL)])
    return "; ".join(_moved(bins, i) for i in told)


def _moved(bins: Bins, i: int) -> str:
    then, now = bins.then[i] / bins.then.sum(), bins.now[i] / bins.now.sum()
    return f"{bins.names[i]}: {then:.1%} -> {now:.1%} of rows"
