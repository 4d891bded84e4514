"""Sabotage challengers, bring each before the configured gate, and say what became of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import expit, logit

from rehone.drill.ground import Ground, twisted
from rehone.drill.leaking import leaking_feature
from rehone.errors import RehoneError
from rehone.records import CheckStatus, FeatureKind, Outcome, Sabotage, Verdict

LEAST_OF_SLICE = 0.03
MOST_OF_SLICE = 0.30
"""Share of the positives that a slice to be broken holds: so few that the whole hardly shows it."""
LARGEST_PAIRS = 6
"""Numeric features among which the two to be swapped are looked for."""
ODDS = 0.25
"""What the odds of each score are multiplied by to damage its calibration."""

Scores = NDArray[np.float64]
Way = Callable[[Ground], Sabotage]


def challengers(ground: Ground) -> Iterator[Sabotage]:
    """Bring the honest challenger, and then each sabotaged one."""
    ways: tuple[tuple[str, Way], ...] = (
        ("honest", _honest),
        ("labels permuted", _permuted),
        ("leaking feature", leaking_feature),
        ("slice broken", _slice_broken),
        ("calibration damaged", _uncalibrated),
        ("wrong preprocessor", _features_swapped),
        ("identical clone", _clone),
        ("older champion", _stale),
        ("trained on the holdout", _saw_holdout),
        ("holdout in disguise", _saw_copies),
    )
    for name, way in ways:
        try:
            yield way(ground)
        except (RehoneError, ValueError) as error:
            yield Sabotage(name=name, what="", expected="caught", happened="not tried", detail=str(error))


@dataclass(frozen=True, slots=True)
class Claim:
    """What is brought: its name, what is wrong with it, what it does, and what to do if nothing notices."""

    name: str
    what: str
    harm: str
    remedy: str


def found(claim: Claim, verdict: Verdict) -> Sabotage:
    """Say what the gate made of a sabotaged challenger; one that does no harm beyond a margin may pass."""
    told = Sabotage(name=claim.name, what=claim.what, expected="caught", happened="caught", detail=verdict.reason)
    if verdict.outcome is not Outcome.PASS:
        return replace(told, caught_by=stopped_by(verdict))
    if not claim.harm:
        said = "it passed, and on these rows it is not worse than the champion by more than a margin"
        return replace(told, happened="harmless", detail=said)
    return replace(told, happened="let through", detail=claim.harm, remedy=claim.remedy)


def stopped_by(verdict: Verdict) -> tuple[str, ...]:
    """Return the checks that a verdict which is no pass rests on."""
    wrong = [check for check in verdict.checks if check.status is CheckStatus.ACT]
    wrong = wrong or [c for c in verdict.checks if c.status is CheckStatus.UNKNOWN and c.sentence in verdict.reason]
    return tuple(dict.fromkeys(check.label for check in wrong)) or (verdict.outcome.value,)


def _honest(ground: Ground) -> Sabotage:
    verdict = ground.bring()
    passed = verdict.outcome is Outcome.PASS
    weak = " on weak evidence" if verdict.weak_evidence else ""
    return Sabotage(
        name="honest",
        what="the same recipe on all rows, nothing done to it",
        expected="passed",
        happened="passed" if passed else "held",
        caught_by=() if passed else stopped_by(verdict),
        detail=f"passed{weak}: {verdict.reason}" if passed else verdict.reason,
        remedy="" if passed else "look at that check first: on these rows it may hold any challenger",
    )


def _permuted(ground: Ground) -> Sabotage:
    label, draw = ground.config.data.label, np.random.default_rng(ground.config.project.seed)
    learned = ground.scene.learned
    mixed = learned.with_columns(learned[label].gather(draw.permutation(learned.height).tolist()).alias(label))
    search = ground.fit(mixed, seed=1)
    harm = ground.harm(search.predictor.predict_proba(ground.scene.held), search.predictor.threshold)
    claim = Claim(
        "labels permuted",
        "each row learned with the label of another",
        harm,
        "raise gate.min_roc_auc, or judge on more rows: data.lookback_days, train.holdout",
    )
    return found(claim, ground.bring(search))


def _slice_broken(ground: Ground) -> Sabotage:
    column, value, rows = _slice(ground)
    draw, scores = np.random.default_rng(ground.config.project.seed), _scores(ground)
    broken = scores.copy()
    broken[rows] = draw.permutation(scores[rows]) * 0.5
    own = ground.champion
    before = own.predict_proba(ground.scene.held)[rows & ground.labels] >= own.threshold
    after = broken[rows & ground.labels] >= ground.honest.predictor.threshold
    fell = before.mean() - after.mean()
    harm = f"recall where {column} is {value}: {before.mean():.3f} -> {after.mean():.3f}"
    claim = Claim(
        "slice broken",
        f"scores of rows where {column} is {value} ({int(rows.sum()):,} rows) are those of others, halved",
        harm if fell > ground.config.gate.margin_slice else "",
        f'set gate.slices = ["{column}"], so that each of its values is compared on its own',
    )
    return found(claim, ground.bring(twisted(ground.honest, broken)))


def _uncalibrated(ground: Ground) -> Sabotage:
    scores = expit(logit(np.clip(_scores(ground), 1e-9, 1 - 1e-9)) + np.log(ODDS))
    claim = Claim(
        "calibration damaged",
        f"the odds of every score are {ODDS:g} of what they were, the threshold is not",
        ground.harm(scores, ground.honest.predictor.threshold),
        "lower gate.margin_recall and gate.margin_cost: decisions at the own threshold are what suffers",
    )
    return found(claim, ground.bring(twisted(ground.honest, scores)))


def _features_swapped(ground: Ground) -> Sabotage:
    first, second, scores = _worst_swap(ground)
    claim = Claim(
        "wrong preprocessor",
        f"the model is handed {second} as {first} and {first} as {second}",
        ground.harm(scores, ground.honest.predictor.threshold),
        "raise gate.min_roc_auc, or lower gate.margin_roc_auc",
    )
    return found(claim, ground.bring(twisted(ground.honest, scores)))


def _clone(ground: Ground) -> Sabotage:
    scores = ground.champion.predict_proba(ground.scene.held)
    search = replace(ground.honest, predictor=ground.champion)
    claim = Claim("identical clone", "the champion's own model, brought as a challenger", "", "")
    return found(claim, ground.bring(twisted(search, scores)))


def _stale(ground: Ground) -> Sabotage:
    learned = ground.scene.learned.sort("__time__")
    oldest = learned.head(max(learned.height // 3, 2))
    search = ground.fit(oldest, seed=2, since=oldest["__time__"].min())  # type: ignore[arg-type]  # a time
    claim = Claim(
        "older champion",
        f"a model that learned from the oldest {oldest.height:,} rows alone, to {search.train_end:%Y-%m-%d}",
        ground.harm(search.predictor.predict_proba(ground.scene.held), search.predictor.threshold),
        "lower the margins of the gate, or judge on more rows",
    )
    return found(claim, ground.bring(search))


def _saw_holdout(ground: Ground) -> Sabotage:
    search = ground.fit(ground.scene.rows, seed=3)
    claim = Claim("trained on the holdout", "it learned from the very rows that it is judged on", _SEEN, _BY_ID)
    return found(claim, ground.bring(search))


def _saw_copies(ground: Ground) -> Sabotage:
    """Put copies of the held-out rows among the rows to learn from, under older dates."""
    scene = ground.scene
    age = scene.split.holdout.end - scene.split.train.start + timedelta(days=1)
    ago = min(age, scene.split.holdout.end - scene.split.holdout.start + timedelta(days=1))
    copies = scene.held.with_columns(pl.col("__time__") - ago)
    rows = pl.concat([scene.rows, copies]).sort("__time__")
    learned = rows.filter(pl.col("__time__") < scene.split.holdout.start)
    claim = Claim("holdout in disguise", "copies of the judged rows were learned under older dates", _SEEN, _BY_ID)
    return found(claim, ground.bring(ground.fit(learned, seed=4), rows=rows))


_SEEN = "its quality on these rows says nothing of rows to come"
_BY_ID = "set data.id_column, so that a row is recognised whatever its date"


def _scores(ground: Ground) -> Scores:
    return ground.honest.predictor.predict_proba(ground.scene.held)


def _slice(ground: Ground) -> tuple[str, object, NDArray[np.bool_]]:
    """Choose a column of few values, one of gate.slices if there are, and the value that fewest positives have."""
    held, labels, gate = ground.scene.held, ground.labels, ground.config.gate
    kinds = (FeatureKind.CATEGORICAL, FeatureKind.BOOLEAN)
    plain = [f.name for f in ground.honest.predictor.contract.features if f.kind in kinds]
    numbers = [n for n in ground.honest.predictor.contract.names if n not in plain and held[n].n_unique() <= 20]
    best: tuple[float, str, object, NDArray[np.bool_]] | None = None
    for column in [name for name in gate.slices if name in held.columns] or [*plain, *numbers]:
        for value in held[column].unique().drop_nulls().sort().to_list()[:50]:
            rows = (held[column] == value).fill_null(False).to_numpy()
            share = labels[rows].sum() / max(labels.sum(), 1)
            enough = labels[rows].sum() >= gate.slice_min_positives and share >= LEAST_OF_SLICE
            if enough and share <= MOST_OF_SLICE and (best is None or share < best[0]):
                best = (float(share), column, value, rows)
    if best is None:
        raise ValueError(
            f"no value of a column holds {LEAST_OF_SLICE:.0%} to {MOST_OF_SLICE:.0%} of the positives, "
            f"at least {gate.slice_min_positives} (gate.slice_min_positives)"
        )
    return best[1:]


def _worst_swap(ground: Ground) -> tuple[str, str, Scores]:
    """Swap the two numeric features that hurt the honest model most."""
    held, predictor = ground.scene.held, ground.honest.predictor
    numeric = [f.name for f in predictor.contract.features if f.kind is FeatureKind.NUMERIC][:LARGEST_PAIRS]
    pairs = [(a, b) for i, a in enumerate(numeric) for b in numeric[i + 1 :]]
    if not pairs:
        raise ValueError("there are no two numeric features to swap")
    tried = [(a, b, predictor.predict_proba(held.rename({a: b, b: a}))) for a, b in pairs]
    return min(tried, key=lambda one: ground.measure(one[2], predictor.threshold).roc_auc or 0.0)
