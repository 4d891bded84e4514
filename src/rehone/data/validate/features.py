"""Judge whether the features are there, mean what they meant, and carry something."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Sequence

from rehone.data.facts import HUGE, ColumnFacts
from rehone.data.validate.case import ACT, WARN, Case, percent
from rehone.records import Check, FeatureKind, FeatureProfile, Profile


def missing_features(asked: Sequence[str], champion: Profile | None, columns: Collection[str]) -> Iterator[Check]:
    """Name every feature, asked for or known to the champion, that is a column of no file."""
    needed = dict.fromkeys((name for name in asked if name not in columns), "data.features")
    for feature in champion.features if champion else ():
        if feature.feature not in columns:
            needed.setdefault(feature.feature, "the champion's features")
    for name, where in needed.items():
        near = difflib.get_close_matches(name, columns, 1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        yield Check(
            name="feature_missing",
            subject=name,
            status=ACT,
            detail=f"feature {name!r} is in no file, but among {where}",
            remedy=f"{hint}add the column" + (", or take it out of data.features" if where == "data.features" else ""),
        )


def _features_there(case: Case) -> Iterator[Check]:
    yield from missing_features(case.facts.missing_features, case.champion, case.facts.known_columns)
    for name, dtype in case.facts.unusable_features:
        yield Check(
            name="feature_type",
            subject=name,
            status=ACT,
            detail=f"feature {name!r} is {dtype}; a feature is numeric, boolean or text",
            remedy="write it as one of these, or take it out of data.features",
        )
    if not case.facts.columns:
        yield Check(
            name="features",
            status=ACT,
            value=0.0,
            limit=1.0,
            detail="0 columns can be used as features, need at least 1",
            remedy="list data.features, or look at data.exclude",
        )


def _feature_kinds(case: Case) -> Iterator[Check]:
    for column in case.facts.columns:
        known = case.known.get(column.name)
        if known is None or known.kind is column.kind or column.empty:
            continue
        yield Check(
            name="feature_type",
            subject=column.name,
            status=ACT,
            detail=f"feature {column.name!r} is {column.kind} ({column.dtype}) now, but {known.kind} in the champion",
            remedy=_as_kind(column, known.kind),
        )


def _as_kind(column: ColumnFacts, kind: FeatureKind) -> str:
    if kind is FeatureKind.CATEGORICAL:
        return f"write it as text again, or name {column.name!r} in data.categorical"
    return f"write it as {kind} again, or rename it if it means something else now"


def _lifeless(case: Case) -> Iterator[Check]:
    columns = [c for c in case.facts.columns if c.rows]
    dead = [c for c in columns if c.empty or c.constant]
    every = bool(dead) and len(dead) == len(columns)
    for column in dead:
        what = "has no value" if column.empty else "is the same"
        new = _newly_lifeless(column, case.known.get(column.name))
        since = ", and varied in the champion's data" if new else ""
        yield Check(
            name="no_values" if column.empty else "constant",
            subject=column.name,
            status=ACT if every or new else WARN,
            value=float(column.missing if column.empty else column.rows - column.missing),
            n=column.rows,
            detail=f"feature {column.name!r} {what} in all {column.rows:,} matured rows{since}{'' if new else ': it carries nothing'}",
            remedy="repair the feed" if new else "name it in data.exclude",
        )


def _newly_lifeless(column: ColumnFacts, known: FeatureProfile | None) -> bool:
    if known is None:
        return False
    there = [*known.counts, known.pooled]
    if column.empty:
        return sum(there) + known.infinite > 0
    return sum(1 for count in there if count) > 1


def _nulls(case: Case) -> Iterator[Check]:
    jump, much = case.policy.max_null_jump, case.policy.warn_null_rate
    for column in case.facts.columns:
        known = case.known.get(column.name)
        share = column.missing_share
        before = known.missing / known.n if known is not None and known.n else None
        if before is not None and share > before + jump:
            yield Check(
                name="null_jump",
                subject=column.name,
                status=ACT,
                value=share,
                limit=before + jump,
                baseline=before,
                n=column.rows,
                detail=f"{percent(share)} of {column.name!r} is null, {percent(before)} in the champion's data: the rise may be at most {percent(jump)}",
                remedy="repair the feed, or raise max_null_jump if nulls are right now",
            )
        elif share > much and not column.empty:
            yield Check(
                name="null_rate",
                subject=column.name,
                status=WARN,
                value=share,
                limit=much,
                baseline=before,
                n=column.rows,
                detail=f"{percent(share)} of {column.name!r} is null, above {percent(much)}: nulls are imputed",
                remedy="look at the feed, or raise warn_null_rate",
            )


def _wild_numbers(case: Case) -> Iterator[Check]:
    for column in case.facts.columns:
        wild = (
            ("infinite", column.infinite, "infinite, and read as missing"),
            ("huge", column.huge, f"beyond {HUGE:g} in size, and clipped"),
        )
        for name, count, what in wild:
            if count:
                yield Check(
                    name=name,
                    subject=column.name,
                    status=WARN,
                    value=float(count),
                    limit=0.0,
                    n=column.rows,
                    detail=f"{count:,} of {column.rows:,} values of {column.name!r} are {what}; 0 are expected",
                    remedy="look for a division by zero or a wrong unit in the feed",
                )


def _new_categories(case: Case) -> Iterator[Check]:
    for column in case.facts.columns:
        if column.unseen:
            shown = ", ".join(repr(v) for v in column.unseen_values)
            yield Check(
                name="new_category",
                subject=column.name,
                status=WARN,
                value=column.unseen / column.rows,
                limit=0.0,
                n=column.rows,
                detail=f"{column.unseen:,} of {column.rows:,} values of {column.name!r} are new to the champion (0 are expected), such as {shown}",
                remedy="nothing if the world has changed, a challenger learns them; else repair the feed",
            )


RULES = (_features_there, _feature_kinds, _lifeless, _nulls, _wild_numbers, _new_categories)
