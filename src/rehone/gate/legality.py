"""Find out whether a comparison is legal, and which rows it may use."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rehone.config import Gate
from rehone.gate.facts import Holdout, Scored, Unreadable
from rehone.gate.words import count
from rehone.records import Check, CheckStatus

Bools = NDArray[np.bool_]
MORE_ROWS = "wait for more matured labels, or raise train.holdout or data.lookback_days"
LACKING = "enough_rows"


@dataclass(frozen=True, slots=True)
class Legality:
    """Which rows may be used (`None` when that cannot even be asked), and every check."""

    keep: Bools | None
    checks: tuple[Check, ...]

    @property
    def broken(self) -> tuple[Check, ...]:
        return tuple(check for check in self.checks if check.status is CheckStatus.ACT)

    @property
    def lacks_rows(self) -> bool:
        """Say whether nothing is wrong but that there are too few rows or positives."""
        return bool(self.broken) and all(check.name == LACKING for check in self.broken)


def examine(holdout: Holdout, challenger: Scored, champion: Scored | Unreadable | None, policy: Gate) -> Legality:
    """Check point by point that the same unseen, matured rows were scored by two different models."""
    models = {"challenger": challenger} | ({"champion": champion} if isinstance(champion, Scored) else {})
    first = (*_identities(challenger, champion), *_shapes(holdout, models))
    if any(check.name == "same_length" and check.status is CheckStatus.ACT for check in first):
        return Legality(None, first)
    drops = tuple(_drops(holdout, models))
    keep = ~np.logical_or.reduce([dropped for _, dropped in drops])
    checks = (
        *first,
        *_numbers(holdout, models, keep),
        *_unit(holdout, policy),
        *(check for check, _ in drops),
        _rows_left(holdout, keep, policy, [check for check, dropped in drops if dropped.any()]),
    )
    return Legality(keep, checks)


def _identities(challenger: Scored, champion: Scored | Unreadable | None) -> Iterator[Check]:
    if champion is None:
        return
    if isinstance(champion, Unreadable):
        yield Check(
            name="champion_readable",
            status=CheckStatus.ACT,
            subject=champion.version,
            detail=f"the champion {champion.version} cannot be read ({champion.why}), so nothing may replace it unjudged",
            remedy="put right what it lacks, or roll back to a version that can be read, or to none",
        )
        return
    if challenger.version is not None and challenger.version == champion.version:
        yield Check(
            name="two_models",
            status=CheckStatus.ACT,
            subject=champion.version,
            detail=f"challenger and champion are the same version {champion.version}: a model cannot be compared with itself",
            remedy="train a challenger, or name another version",
        )


def _shapes(holdout: Holdout, models: dict[str, Scored]) -> Iterator[Check]:
    n = len(holdout.labels)
    given = (
        {
            "times": holdout.times,
            "mature": holdout.mature,
            "blocks": holdout.blocks,
            "in_challenger_training": holdout.in_challenger_training,
            "in_champion_training": holdout.in_champion_training,
            "near_challenger_training": holdout.near_challenger_training,
            "near_champion_training": holdout.near_champion_training,
        }
        | {f"slices by {column}": values for column, values in holdout.slices.items()}
        | {f"{who} scores": model.scores for who, model in models.items()}
    )
    wrong = [f"{np.shape(a)} {name}" for name, a in given.items() if a is not None and np.shape(a) != (n,)]
    yield Check(
        name="same_length",
        status=CheckStatus.ACT if wrong else CheckStatus.OK,
        n=n,
        detail=f"{n:,} labels but {', '.join(wrong)}" if wrong else f"every array has {count(n, 'row')}",
        remedy="score exactly the held-out rows with both models" if wrong else "",
    )


def _numbers(holdout: Holdout, models: dict[str, Scored], keep: Bools) -> Iterator[Check]:
    odd = int((~np.isin(holdout.labels[keep], (0, 1))).sum())
    yield Check(
        name="labels",
        status=CheckStatus.ACT if odd else CheckStatus.OK,
        value=float(odd),
        limit=0.0,
        n=int(keep.sum()),
        detail=f"{odd:,} of {count(int(keep.sum()), 'legal row')} have a label that is not 0 or 1",
        remedy="repair the label column, or its due date" if odd else "",
    )
    for who, model in models.items():
        bad = int((~np.isfinite(np.asarray(model.scores, dtype=np.float64))).sum())
        threshold = "" if np.isfinite(model.threshold) else f", and its threshold is {model.threshold}"
        yield Check(
            name="finite_scores",
            subject=who,
            status=CheckStatus.ACT if bad or threshold else CheckStatus.OK,
            value=float(bad),
            limit=0.0,
            n=len(holdout.labels),
            detail=f"{bad:,} of {count(len(holdout.labels), 'score')} of the {who} are NaN or infinite{threshold}",
            remedy=f"repair the {who}: a model must answer every row with a number" if bad or threshold else "",
        )


def _unit(holdout: Holdout, policy: Gate) -> Iterator[Check]:
    if policy.blocks == "entity" and (holdout.blocks is None or holdout.block_kind != "entity"):
        yield Check(
            name="blocks",
            status=CheckStatus.ACT,
            detail='gate.blocks is "entity" but the rows carry no entity',
            remedy='set data.entity_column, or gate.blocks = "day"',
        )


def _drops(holdout: Holdout, models: dict[str, Scored]) -> Iterator[tuple[Check, Bools]]:
    times = np.asarray(holdout.times, dtype="datetime64[us]")
    for who, model in models.items():
        newer = times > model.newest_seen  # written so that a missing time is never newer
        yield _dropped("newer_than_training", who, f"are not newer than the {who}'s training end", ~newer)
    immature = ~np.asarray(holdout.mature, dtype=bool)
    yield _dropped("mature", None, "have a label that is not due yet", immature)
    seen = {"challenger": holdout.in_challenger_training, "champion": holdout.in_champion_training}
    for who in models:
        rows = seen[who]
        if rows is None:
            yield _seen_unknown(who, times.size), np.zeros(times.size, dtype=bool)
        else:
            yield _dropped("unseen", who, f"are also in the {who}'s training set", np.asarray(rows, dtype=bool))
    yield from _near(holdout, models, seen)


def _near(holdout: Holdout, models: dict[str, Scored], seen: dict[str, Bools | None]) -> Iterator[tuple[Check, Bools]]:
    """Leave out rows that differ from a training row by small digits only, and were not left out as the very row."""
    near = {"challenger": holdout.near_challenger_training, "champion": holdout.near_champion_training}
    for who in models:
        rows, same = near[who], seen[who]
        if rows is not None:
            twins = np.asarray(rows, dtype=bool)
            others = twins if same is None else twins & ~np.asarray(same, dtype=bool)
            yield _dropped("near_duplicates", who, f"are nearly a row of the {who}'s training set", others)


def _dropped(name: str, who: str | None, what: str, dropped: Bools) -> tuple[Check, Bools]:
    number = int(dropped.sum())
    check = Check(
        name=name,
        subject=who,
        status=CheckStatus.WARN if number else CheckStatus.OK,
        value=float(number),
        limit=0.0,
        n=dropped.size,
        detail=f"{number:,} of {count(dropped.size, 'row')} {what}",
        remedy="they were left out" if number else "",
    )
    return check, dropped


def _seen_unknown(who: str, n: int) -> Check:
    return Check(
        name="unseen",
        subject=who,
        status=CheckStatus.UNKNOWN,
        n=n,
        detail=f"whether rows are also in the {who}'s training set was not measured: only event times keep them apart",
        remedy="set data.id_column, so that a row can be recognised",
    )


def _rows_left(holdout: Holdout, keep: Bools, policy: Gate, drops: list[Check]) -> Check:
    left = int(keep.sum())
    positives = int((holdout.labels[keep] == 1).sum())
    negatives = int((holdout.labels[keep] == 0).sum())
    # A difference of ROC-AUCs has a standard error only with two rows of each class.
    fewest = max(policy.min_positives, 2)
    needs = [
        count(need, noun)
        for found, need, noun in (
            (left, policy.min_rows, "row"),
            (positives, fewest, "positive"),
            (negatives, fewest, "negative"),
        )
        if not found >= need
    ]
    found = f"{count(left, 'row')} with {count(positives, 'positive')} and {count(negatives, 'negative')} remain"
    detail = "; ".join([*(check.detail for check in drops), found])
    return Check(
        name=LACKING,
        status=CheckStatus.ACT if needs else CheckStatus.OK,
        value=float(positives if left >= policy.min_rows else left),
        limit=float(fewest if left >= policy.min_rows else policy.min_rows),
        n=left,
        positives=positives,
        positives_needed=fewest if positives < fewest else None,
        detail=f"{detail}, need at least {' and '.join(needs)}" if needs else detail,
        remedy=MORE_ROWS if needs else "",
    )
