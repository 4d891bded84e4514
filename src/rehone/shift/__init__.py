"""Tell one kind of shift from another: a list of rules, the first that applies names it.

Pure: the same facts give the same answer; where a draw is made, `Facts.seed` fixes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from rehone.records import Estimate, Shift, ShiftKind
from rehone.reliability import Line
from rehone.shift import words
from rehone.shift.facts import Columns, Facts, Matured, Sample
from rehone.shift.inputs import FEWEST as FEWEST_ROWS
from rehone.shift.inputs import inputs
from rehone.shift.meaning import FEWEST, meaning
from rehone.shift.outputs import outputs
from rehone.shift.seen import Seen

__all__ = ["FEWEST_ROWS", "Columns", "Facts", "Matured", "Sample", "name"]

Z = 1.959963984540054


def name(facts: Facts) -> Shift:
    """Say what has changed between the champion's reference and now, and what that suggests.

    A broken feed comes first, for nothing else can be told through it; then inputs that were
    never seen, for of them no old label speaks; then meaning, odds, inputs.
    """
    found = meaning(facts)
    prior = found.prior if found else None
    scores = outputs(facts.scores, facts.remembered, prior)
    guessed = prior if prior is not None or scores is None else scores.prior
    seen = Seen(facts=facts, meaning=found, outputs=scores, inputs=inputs(facts, guessed))
    kind, suggestion, sentence = next(answer for rule in _RULES for answer in rule(seen))
    measured = _measured(seen)
    shift = replace(measured, kind=kind, suggestion=suggestion, sentence=sentence)
    return replace(shift, retrain_from=measured.since if suggestion == "retrain" else None)


Answer = tuple[ShiftKind, str, str]


def _incident(seen: Seen) -> Iterator[Answer]:
    if seen.broken:
        yield ShiftKind.DATA_INCIDENT, "fix_feed", words.incident(seen)


def _off_support(seen: Seen) -> Iterator[Answer]:
    if seen.off_support:
        few = seen.meaning is None or seen.meaning.now.positives < FEWEST
        yield ShiftKind.OFF_SUPPORT, "get_labels" if few else "retrain", words.off_support(seen)


def _concept(seen: Seen) -> Iterator[Answer]:
    if seen.flatter or seen.taught or (seen.moved_beyond_odds and seen.level_far):
        yield ShiftKind.CONCEPT, "retrain", words.concept(seen)


def _covariate(seen: Seen) -> Iterator[Answer]:
    if seen.moved_beyond_odds:
        yield ShiftKind.COVARIATE, "rethreshold", words.covariate(seen)


def _label(seen: Seen) -> Iterator[Answer]:
    if seen.level or seen.moved:
        yield ShiftKind.LABEL, "rethreshold", words.label(seen)


def _unclear(seen: Seen) -> Iterator[Answer]:
    if seen.steeper or seen.drifted:
        yield ShiftKind.UNCLEAR, "retrain" if seen.meaning else "get_labels", words.unclear(seen)
    elif seen.meaning is None and not seen.knows_inputs:
        yield ShiftKind.UNCLEAR, "get_labels", words.unclear(seen)


def _none(seen: Seen) -> Iterator[Answer]:
    yield ShiftKind.NONE, "nothing", words.none(seen)


_RULES: tuple[Callable[[Seen], Iterator[Answer]], ...] = (
    _incident,
    _off_support,
    _concept,
    _covariate,
    _label,
    _unclear,
    _none,
)


def _measured(seen: Seen) -> Shift:
    facts, found, moved, scores = seen.facts, seen.meaning, seen.inputs, seen.outputs
    now = found.now if found else None
    return Shift(
        kind=ShiftKind.UNCLEAR,
        sentence="",
        suggestion="nothing",
        domain_auc=moved.domain if moved else None,
        weighed_auc=moved.weighed if moved else None,
        score_ks=scores.score_ks if scores else None,
        reweighted_ks=scores.reweighted_ks if scores else None,
        slope=_estimate(now, now.slope, now.slope_error) if now else None,
        intercept=_estimate(now, now.intercept, now.intercept_error) if now else None,
        off_support=moved.off_support if moved else None,
        since=seen.since,
        n_labelled=now.n if now else 0,
        slope_then=found.then.slope if found else None,
        intercept_then=found.then.intercept if found else None,
        taught=found.lesson.gain if found and found.lesson else None,
        taught_before=found.lesson.before if found and found.lesson else None,
        unknown=facts.unknown,
    )


def _estimate(line: Line, value: float, error: float) -> Estimate:
    reach = Z * error
    return Estimate(value=value, low=value - reach, high=value + reach, n=line.n, positives=line.positives)
