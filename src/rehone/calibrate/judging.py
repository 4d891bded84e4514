"""Say of each measure of drift whether it told the loss, which limit follows, and which keys should change."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rehone.calibrate.signals import (
    FEWEST_OF_A_KIND,
    FEWEST_WINDOWS,
    LEVEL,
    Pairs,
    auc,
    auc_interval,
    chance_of,
    crossing,
    crossing_interval,
    just_below,
)
from rehone.config import Trigger
from rehone.records import CalibrationSignal, CalibrationWindow

CHANCE = 0.05
USEFUL = 0.8  # a ROC-AUC from which on a measure would be of use; an interval below it is an answer
WARN_SHARE = 0.4  # of the limit, as 0.10 is of 0.25

_NAMES = {"psi": "PSI", "score_ks": "score KS"}


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The windows, which loss counts as a fall, and the seed of the bootstrap."""

    windows: Sequence[CalibrationWindow]
    drop: float
    seed: int

    @property
    def measured(self) -> list[CalibrationWindow]:
        return [w for w in self.windows if w.fallen is not None]


def signals(asked: Asked, policy: Trigger) -> tuple[CalibrationSignal, ...]:
    """Return what the largest PSI and the KS of scores told."""
    return (
        _signal(asked, "psi", policy.psi_action, lambda w: w.psi),
        _signal(asked, "score_ks", policy.ks_action, lambda w: w.score_ks),
    )


def of_features(asked: Asked, policy: Trigger) -> tuple[CalibrationSignal, ...]:
    """Return what the PSI of each feature told, the one that told most first.

    The best of many features looks better than it is: the level of each interval is shared by
    all of them (Bonferroni).
    """
    names = dict.fromkeys(name for w in asked.measured for name in w.psi_of)
    level = 1 - (1 - LEVEL) / max(len(names), 1)
    found = [
        replace(_signal(asked, "psi", policy.psi_action, _psi_of(name), level=level), subject=name) for name in names
    ]
    return tuple(sorted(found, key=lambda s: (-(s.auc or 0.0), s.subject or "")))


def chance(asked: Asked) -> float | None:
    """Return how likely as many falls are when recall has never left its baseline."""
    known = [w for w in asked.measured if w.recall is not None and w.baseline is not None]
    if not known:
        return None
    positives = np.array([w.recall.positives if w.recall else 0 for w in known])
    baselines = np.array([w.baseline or 0.0 for w in known])
    return chance_of(positives, baselines, sum(bool(w.fallen) for w in known), asked.drop)


def changes(found: Iterable[CalibrationSignal], policy: Trigger) -> dict[str, float]:
    """Return the keys that should have another value; none when drift does not tell the loss."""
    made: dict[str, float] = {}
    for signal in found:
        if not signal.predicts or signal.threshold is None:
            continue
        key = f"trigger.{'psi_action' if signal.name == 'psi' else 'ks_action'}"
        if signal.threshold != signal.limit:
            made[key] = signal.threshold
    action = made.get("trigger.psi_action")
    if action is not None and policy.psi_warn > action:
        made["trigger.psi_warn"] = float(f"{WARN_SHARE * action:.2g}")
    return made


def _psi_of(name: str) -> Callable[[CalibrationWindow], float | None]:
    return lambda window: window.psi_of.get(name)


def _signal(
    asked: Asked,
    name: str,
    limit: float | None,
    of: Callable[[CalibrationWindow], float | None],
    *,
    level: float = LEVEL,
) -> CalibrationSignal:
    known = [w for w in asked.measured if of(w) is not None]
    pairs = _pairs(known, of, asked.drop)
    fallen = int(pairs.fallen.sum())
    signal = CalibrationSignal(
        name=name, windows=len(known), fallen=fallen, limit=limit, predicts=None, detail="", auc=None
    )
    if limit is not None:
        signal = replace(signal, fires_now=_fires(pairs, limit)[0], hits_now=_fires(pairs, limit)[1])
    if why := _too_little(asked, len(known), fallen):
        return replace(signal, detail=why)
    interval = auc_interval(pairs, asked.seed, level)
    signal = replace(signal, auc=auc(pairs.drift, pairs.fallen), auc_interval=interval)
    if interval is None or interval[0] <= 0.5:
        useless = interval is not None and interval[1] < USEFUL
        return replace(signal, predicts=False if useless else None, detail=_does_not_tell(signal, useless=useless))
    return _told(signal, pairs, asked)


def _pairs(windows: Sequence[CalibrationWindow], of: Callable[[CalibrationWindow], float | None], drop: float) -> Pairs:
    known = [(w.recall.value, w.baseline, w.recall.positives) for w in windows if w.recall and w.baseline]
    recall, baseline, positives = (np.array([row[i] for row in known], dtype=np.float64) for i in range(3))
    drift = np.array([of(w) for w in windows], dtype=np.float64)
    return Pairs.of(drift, recall, baseline, positives, drop)


def _fires(pairs: Pairs, limit: float) -> tuple[int, int]:
    fired = pairs.drift >= limit
    return int(fired.sum()), int((fired & pairs.fallen).sum())


def _too_little(asked: Asked, windows: int, fallen: int) -> str:
    seen = f"{windows} windows with recall and drift, {fallen} of them fallen"
    if windows < FEWEST_WINDOWS:
        return f"history is too short: {seen}; need at least {FEWEST_WINDOWS}"
    if fallen < FEWEST_OF_A_KIND:
        return f"recall hardly ever fell: {seen}; need at least {FEWEST_OF_A_KIND} to learn from which drift on it does"
    if windows - fallen < FEWEST_OF_A_KIND:
        return (
            f"recall was down nearly all the time: {seen}; need at least {FEWEST_OF_A_KIND} others to tell them apart"
        )
    by_chance = chance(asked)
    if by_chance is not None and by_chance > CHANCE:
        return (
            f"the falls may be chance: {seen}, and with so few positives as many fall with probability "
            f"{by_chance:.2g} although recall never left its baseline; take longer windows"
        )
    return ""


def _does_not_tell(signal: CalibrationSignal, *, useless: bool) -> str:
    name = _NAMES[signal.name]
    low, high = signal.auc_interval or (0.0, 1.0)
    measured = f"ROC-AUC {signal.auc or 0:.2f} ({low:.2f}..{high:.2f})"
    seen = f"{signal.fallen} of {signal.windows} windows"
    if not useless:
        return f"whether {name} tells where recall had fallen ({seen}) cannot be said yet: {measured} holds both .5, which is a coin, and {USEFUL:g}"
    said = "it was lower, not higher, where recall had fallen" if high < 0.5 else "no better than a coin, or hardly"
    return f"{name} does not tell where recall had fallen ({seen}): {measured}, {said}; no limit follows from it"


def _told(signal: CalibrationSignal, pairs: Pairs, asked: Asked) -> CalibrationSignal:
    name, at = _NAMES[signal.name], crossing(pairs)
    low, high = signal.auc_interval or (0.0, 1.0)
    tells = f"{name} tells where recall had fallen: ROC-AUC {signal.auc or 0:.2f} ({low:.2f}..{high:.2f})"
    threshold = just_below(pairs, at) if at is not None else None
    if at is None or threshold is None:
        why = (
            "on average recall never fell so far"
            if at is None
            else f"recall was down from the least drift on ({at:.3g})"
        )
        return replace(signal, predicts=True, at=at, detail=f"{tells}, but {why}: no limit separates them")
    at_low, at_high = crossing_interval(pairs)
    fires, hits = _fires(pairs, threshold)
    detail = (
        f"{tells}; from {at:.3g} on ({_bounds(at_low, at_high)}) it was {asked.drop:.0%} or more below its baseline. "
        f"A limit of {threshold:.3g} would have fired in {fires} of {signal.windows} windows, {hits} of them fallen, "
        f"and been silent in {signal.fallen - hits} of {signal.fallen} fallen"
    )
    return replace(
        signal,
        predicts=True,
        at=at,
        at_low=at_low,
        at_high=at_high,
        threshold=threshold,
        fires=fires,
        hits=hits,
        detail=detail,
    )


def _bounds(low: float | None, high: float | None) -> str:
    return f"{'below all seen' if low is None else f'{low:.3g}'}..{'above all seen' if high is None else f'{high:.3g}'}"
