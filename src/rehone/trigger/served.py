"""Record what is known of served predictions: labels that came, other versions, skew; nothing here is a reason to train."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from rehone.config import Predictions
from rehone.records import Check, CheckStatus, Evidence, ServedVersion, Skew, short_id
from rehone.trigger.words import percent

OK, ACT, UNKNOWN = CheckStatus.OK, CheckStatus.ACT, CheckStatus.UNKNOWN

_LEAST_COMPARED = 30
"""Ids in both tables from which a share of differing ones is judged."""


def served_checks(evidence: Evidence, policy: Predictions) -> Iterator[Check]:
    """Judge what the log holds, how many labels came, what other versions decided, and each skew."""
    if evidence.origin != "served" or evidence.champion is None:
        return
    yield _in_the_log(evidence)
    yield _coverage(evidence, policy)
    yield from (_decided(v) for v in evidence.served if v.version != evidence.champion)
    if policy.max_skew_share is not None:
        limit = policy.max_skew_share
        yield from (_skew(s, limit) for s in sorted(evidence.skew, key=lambda s: (-(s.share or 0), s.feature)))


def _in_the_log(evidence: Evidence) -> Check:
    rows = evidence.rows
    check = Check(name="predictions", status=OK, value=float(rows), n=rows)
    if rows:
        return replace(check, detail=f"{rows:,} predictions in {evidence.window} are compared with the reference")
    why = evidence.drift[0].detail if evidence.drift else "nothing was read of the log"
    return replace(check, status=UNKNOWN, detail=why)


def _coverage(evidence: Evidence, policy: Predictions) -> Check:
    found, limit = evidence.coverage, policy.min_label_coverage
    share = found.share if found is not None else None
    check = Check(name="label_coverage", status=UNKNOWN, value=share, limit=limit, n=found.due if found else None)
    if found is None or share is None:
        return replace(check, detail=f"how many labels have arrived is not known: {evidence.performance_unknown}")
    said = (
        f"{found.labelled:,} of {found.due:,} matured predictions in {found.window} have a label ({percent(share)} %)"
    )
    if policy.unlabelled == "negative":
        return replace(check, status=OK, detail=f"{said}; the others count as negative")
    if found.labelled >= limit * found.due:
        return replace(check, status=OK, detail=said)
    return replace(check, detail=f"{said}, need {percent(limit)} %", remedy="look at why labels do not arrive")


def _decided(version: ServedVersion) -> Check:
    """Record what another version than the champion decided; it is no longer asked, so it never acts."""
    name, recall = short_id(version.version), version.recall
    check = Check(name="served", subject=name, status=UNKNOWN, n=version.labelled, positives=version.positives)
    if recall is None:
        return replace(check, detail=f"the recall of version {name} is not known: {version.unknown}")
    return replace(
        check,
        status=OK,
        value=recall.value,
        interval=(recall.low, recall.high),
        detail=f"version {name} had a recall of {recall.value:.3f} [{recall.low:.3f}, {recall.high:.3f}] on {recall.positives} matured positives",
    )


def _skew(skew: Skew, limit: float) -> Check:
    share, what = skew.share, skew.feature
    check = Check(name="skew", subject=what, status=UNKNOWN, value=share, limit=limit, n=skew.compared)
    if share is None or skew.compared < _LEAST_COMPARED:
        said = f"whether {what} is served as it is stored is not known: {skew.compared} ids are in both, need {_LEAST_COMPARED}"
        return replace(check, detail=said)
    said = (
        f"{what} was served with another value than data.source holds for {percent(share)} % of {skew.compared:,} ids"
    )
    if share <= limit:
        return replace(check, status=OK, detail=f"{said}, at most {percent(limit)} % may")
    return replace(
        check,
        status=ACT,
        detail=f"{said}, at most {percent(limit)} % may ({skew.example})",
        remedy=f"compute {what} in one place for both, or raise predictions.max_skew_share if the table was corrected later",
    )
