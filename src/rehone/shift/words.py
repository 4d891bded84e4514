"""Say what kind of shift it is, by which figures, and what to do, in one sentence each."""

from __future__ import annotations

import math

from rehone.shift.seen import Seen


def incident(seen: Seen) -> str:
    """Name the features whose feed broke."""
    named = ", ".join(f"{d.feature} ({d.incident}, PSI {d.psi:.2g})" for d in seen.broken)
    return f"the feed broke, not the world: {named}; repair it before anything is learned from these rows"


def off_support(seen: Seen) -> str:
    """Say how many rows lie where none did."""
    found, share = seen.inputs, seen.inputs.off_support if seen.inputs else 0.0
    named = f", beyond all earlier values of {', '.join(found.outside[:3])}" if found and found.outside else ""
    rest = (
        "labels of such rows are there to learn from"
        if seen.meaning
        else "the model can only guess there: get labels of such rows before it is trusted or retrained"
    )
    return f"{share:.0%} of current rows lie where the champion has seen none{named}; {rest}"


def concept(seen: Seen) -> str:
    """Say how labels follow scores now and then."""
    since = f" since about {seen.since:%Y-%m-%d}" if seen.since else ""
    taught = f"{_taught(seen)}; " if seen.taught else ""
    return f"the same inputs mean something else{since}: {taught}{_line(seen)}; {_inputs(seen)}; retrain{_from(seen)}"


def covariate(seen: Seen) -> str:
    """Say that inputs moved and meaning did not, as far as it is known."""
    meant = f"and still mean what they did ({_line(seen)})" if seen.meaning else f"and {_unlabelled()}"
    if seen.level:
        meant = f"and scores mean other odds there ({_line(seen)})"
    return f"inputs have moved: {_inputs(seen)}, {meant}; a new threshold is cheaper than a new model"


def label(seen: Seen) -> str:
    """Say that the odds changed, and nothing else."""
    found = seen.meaning
    if found is None:
        prior = seen.outputs.prior if seen.outputs else None
        guess = f"a share of positives of {prior:.1%} explains it" if prior is not None else "another share explains it"
        return f"inputs have moved as another share of positives moves them: {guess}; {_unlabelled()}; set the threshold anew"
    return (
        f"the odds changed, not what they depend on: at the same score a positive is {_times(found.level)} as likely "
        f"({found.prior:.1%} positive, on {found.now.n:,} matured rows); {_inputs(seen)}; set the threshold anew"
    )


def unclear(seen: Seen) -> str:
    """Say what was seen and what was not."""
    parts = []
    if seen.drifted:
        worst = max(seen.drifted, key=lambda d: d.psi or 0.0)
        parts.append(f"{worst.feature} has moved (PSI {worst.psi:.2g})")
    if seen.meaning:
        parts.append(_line(seen))
    else:
        parts.append(_unlabelled())
    return "; ".join([*parts, *seen.facts.unknown, "what kind of shift it is cannot be told"])


def none(seen: Seen) -> str:
    """Say that nothing has changed, as far as it is known."""
    if seen.meaning is None:
        return f"inputs are the reference's; {_unlabelled()}"
    return f"nothing stands out from chance: {_line(seen)}; {_inputs(seen)}"


def _unlabelled() -> str:
    return "whether they mean the same is not known before more labels mature"


def _line(seen: Seen) -> str:
    found = seen.meaning
    if found is None:
        return _unlabelled()
    return (
        f"on {found.now.n:,} matured rows labels follow scores with slope {found.now.slope:.2f} (it was {found.then.slope:.2f}) "
        f"and {_times(found.level)} the odds"
    )


def _taught(seen: Seen) -> str:
    found = seen.meaning.lesson if seen.meaning else None
    if found is None:
        return ""
    against = "" if found.before is None else f" and {found.before:.1%} of that of older ones"
    return f"features beside the score save {found.gain:.1%} of the log loss of new rows{against}"


def _inputs(seen: Seen) -> str:
    if seen.inputs is None:
        return "the inputs are the reference's" if seen.knows_inputs and not seen.drifted else "inputs are not known"
    found = seen.inputs.domain
    said = (
        "reference and current rows are told apart with ROC-AUC"
        if seen.moved
        else "inputs are told apart with a mere ROC-AUC of"
    )
    return f"{said} {found.value:.2f} ({found.low:.2f} to {found.high:.2f})"


def _times(level: float) -> str:
    return f"{math.exp(level):.2g} times"


def _from(seen: Seen) -> str:
    return f" on rows since {seen.since:%Y-%m-%d}" if seen.since else ""
