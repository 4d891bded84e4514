"""Judge a challenger by what servers saw of it beside the champion, on what was really asked.

No label is known yet, so this says nothing of quality: it says whether the challenger answers,
in time, decides like a model of its kind, and scores as it did out of sample. Pure, like the gate.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime

from scipy.special import ndtri

from rehone import compare, drift
from rehone.config import Shadow
from rehone.gate.words import against, count, number, percent
from rehone.records import (
    Check,
    CheckStatus,
    Counts,
    Outcome,
    Profile,
    ScoreProfile,
    ShadowReport,
    Verdict,
    Window,
    short_id,
)

FEWEST_TIMED = 100
"""Rows from which a challenger is found too slow; a handful may have met a busy moment."""
NOTICED_SECONDS = 1e-4
"""Time more for a row from which a ratio matters: three times as long as ten microseconds is not slow."""
MOST_ROWS_SAID = 1_000_000_000
_ANY = datetime(2000, 1, 1, tzinfo=UTC)


def judge_shadow(report: ShadowReport, expected: ScoreProfile | None, policy: Shadow) -> Verdict:
    """Say whether a challenger may go on to be promoted; every check is in the verdict.

    In each check, `act` is a fail, `unknown` inconclusive, `warn` a pass on weak evidence: within
    its limit, though the rows are too few to show that it stays there. `interval` holds the two
    one-sided bounds at `policy.level`.

    Args:
        report: what all servers saw, added up.
        expected: the challenger's own out-of-sample scores, in the bins of `report.score_counts`.
        policy: the `[shadow]` section.
    """
    checks = tuple(_checks(report, expected, policy))
    failed = [check for check in checks if check.status is CheckStatus.ACT]
    unsettled = [check for check in checks if check.status is CheckStatus.UNKNOWN]
    if failed:
        outcome, reason = Outcome.FAIL, _all_said(failed)
    elif unsettled:
        outcome, reason = Outcome.INCONCLUSIVE, _all_said(unsettled)
    else:
        outcome, reason = Outcome.PASS, "; ".join(check.detail for check in checks)
    weak = any(check.status is CheckStatus.WARN for check in checks)
    return Verdict(
        outcome=outcome,
        reason=f"beside the champion on what was asked: {reason}",
        checks=checks,
        weak_evidence=outcome is Outcome.PASS and weak,
        lacks_rows=outcome is Outcome.INCONCLUSIVE and report.rows < policy.min_rows,
    )


def _checks(report: ShadowReport, expected: ScoreProfile | None, policy: Shadow) -> Iterator[Check]:
    if report.because:
        yield _unable(report)
    if report.vanished:
        yield _vanished(report)
    yield _rows(report, policy)
    yield _errors(report, policy)
    if report.rows:
        yield _latency(report, policy)
        if policy.max_changed_share is not None:
            yield _changed(report, policy, policy.max_changed_share)
        if policy.max_score_ks is not None:
            yield _scores(report, expected, policy, policy.max_score_ks)
        yield _difference(report, policy)


def _unable(report: ShadowReport) -> Check:
    return Check(
        name="shadow_servers",
        status=CheckStatus.ACT,
        detail=f"version {short_id(report.version)} could not be scored by every server ({report.because})",
        remedy="look at the log of that server and at the libraries it runs with",
    )


def _vanished(report: ShadowReport) -> Check:
    """Doubt a challenger whose server went away: it may be why, and beside rows it failed on it is too likely."""
    return Check(
        name="shadow_servers",
        status=CheckStatus.ACT if report.failed_rows else CheckStatus.UNKNOWN,
        detail=f"{', '.join(report.vanished)} vanished while version {short_id(report.version)} was scored there, "
        "which may be why",
        remedy="look at why that server ended; if somebody ended it, run again",
    )


def _rows(report: ShadowReport, policy: Shadow) -> Check:
    enough = report.rows >= policy.min_rows
    skipped = f"; {count(report.skipped_rows, 'row')} skipped by busy servers" if report.skipped_rows else ""
    return Check(
        name="shadow_rows",
        status=CheckStatus.OK if enough else CheckStatus.UNKNOWN,
        value=report.rows,
        limit=policy.min_rows,
        n=report.rows,
        detail=f"{count(report.rows, 'row')} scored by both, need at least {policy.min_rows:,}{skipped}",
        remedy="" if enough else _more_rows(report, policy),
    )


def _more_rows(report: ShadowReport, policy: Shadow) -> str:
    if report.skipped_rows > report.rows:
        return "the servers had no time for it: start more of them, or lower shadow.share"
    if policy.seconds is None or not report.rows:
        return "raise shadow.seconds, or lower shadow.min_rows"
    seconds = math.ceil(policy.seconds * policy.min_rows / report.rows)
    return f"raise shadow.seconds to about {seconds:,} at this traffic, or lower shadow.min_rows"


def _errors(report: ShadowReport, policy: Shadow) -> Check:
    if not report.rows + report.failed_rows:
        said = "nothing was scored, so that nothing is known of its failures"
        return Check(name="shadow_errors", status=CheckStatus.UNKNOWN, limit=policy.max_error_share, n=0, detail=said)
    found = _Share("shadow_errors", report.failed_rows, report.rows + report.failed_rows, policy.max_error_share)
    said = f"the challenger failed on {report.failed_rows:,} of {count(found.n, 'row')} that the champion answered"
    return found.check(said, policy.level, "its servers' logs say why: mend that and train again")


def _changed(report: ShadowReport, policy: Shadow, limit: float) -> Check:
    found = _Share("shadow_changed", report.changed_decisions, report.rows, limit)
    said = f"{report.changed_decisions:,} of {count(report.rows, 'decision')} differ from the champion's"
    return found.check(said, policy.level, "look at why it decides otherwise, or raise shadow.max_changed_share")


class _Share:
    """One count of n rows, at least one, against the largest share that is allowed.

    Beyond the limit for sure (its lower bound is above) is a fail; beyond it by the count alone
    is inconclusive; within it is a pass, on weak evidence until the upper bound is within too.
    """

    def __init__(self, name: str, hits: int, n: int, limit: float) -> None:
        self.name, self.hits, self.n, self.limit = name, hits, n, limit

    def check(self, said: str, level: float, remedy: str) -> Check:
        low, high = compare.clopper_pearson(self.hits, self.n, 2 * level - 1)
        status = self._status(low, high)
        value = self.hits / self.n
        shown, most = against(100 * value, 100 * self.limit, digits=2)
        return Check(
            name=self.name,
            status=status,
            value=value,
            limit=self.limit,
            interval=(low, high),
            n=self.n,
            detail=f"{said} ({shown} %), must be at most {most} %{self._bound(status, low, high, level)}",
            remedy=self._remedy(status, level, remedy),
        )

    def _status(self, low: float, high: float) -> CheckStatus:
        if low > self.limit:
            return CheckStatus.ACT
        if self.hits > self.limit * self.n:
            return CheckStatus.UNKNOWN
        return CheckStatus.OK if high <= self.limit or self.limit == 0 else CheckStatus.WARN

    def _bound(self, status: CheckStatus, low: float, high: float, level: float) -> str:
        sure = f"with {percent(level)} confidence"
        if status is CheckStatus.ACT:
            return f"; at least {number(100 * low, 2)} % {sure}"
        weak = "; weak evidence" if status is CheckStatus.WARN else ""
        return f"; at most {number(100 * high, 2)} % {sure}{weak}"

    def _remedy(self, status: CheckStatus, level: float, remedy: str) -> str:
        if status is CheckStatus.ACT:
            return remedy
        if status is CheckStatus.OK:
            return ""
        needed = rows_needed(self.hits, self.limit, level)
        if needed is None:
            return "raise shadow.seconds for more rows"
        return f"{needed:,} rows in all without another one would settle it: raise shadow.seconds"


def rows_needed(hits: int, limit: float, level: float) -> int | None:
    """Return how many rows show, with so many hits and no more, that the share is within the limit.

    For no hit at all it is about 3 / limit at a level of .95; `None` when no number of rows is enough.
    """
    low, high = hits, MOST_ROWS_SAID
    if compare.clopper_pearson(hits, high, 2 * level - 1)[1] > limit:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        if compare.clopper_pearson(hits, middle, 2 * level - 1)[1] <= limit:
            high = middle
        else:
            low = middle
    return high


def _latency(report: ShadowReport, policy: Shadow) -> Check:
    if report.champion_seconds <= 0:
        return Check(
            name="shadow_latency",
            status=CheckStatus.UNKNOWN,
            limit=policy.max_latency_ratio,
            n=report.rows,
            detail="no batch was answered whole by the challenger, so its time could not be compared",
            remedy="see why it fails",
        )
    ratio = report.challenger_seconds / report.champion_seconds
    slow = ratio > policy.max_latency_ratio
    longer = (report.challenger_seconds - report.champion_seconds) / report.rows
    shown, most = against(ratio, policy.max_latency_ratio, digits=2)
    return Check(
        name="shadow_latency",
        status=_slowness(report, policy, longer) if slow else CheckStatus.OK,
        value=ratio,
        limit=policy.max_latency_ratio,
        n=report.rows,
        detail=f"the challenger takes {shown} times as long as the champion for the same rows, must be at most {most}"
        f"; {number(1000 * longer, 3, sign=True)} ms a row",
        remedy="choose faster candidates, or raise shadow.max_latency_ratio" if slow else "",
    )


def _slowness(report: ShadowReport, policy: Shadow, longer: float) -> CheckStatus:
    """Say what a ratio beyond the limit means: nothing that anybody notices, too few rows to tell, or a fail."""
    if longer <= NOTICED_SECONDS:
        return CheckStatus.WARN
    return CheckStatus.ACT if report.rows >= min(policy.min_rows, FEWEST_TIMED) else CheckStatus.UNKNOWN


def _scores(report: ShadowReport, expected: ScoreProfile | None, policy: Shadow, limit: float) -> Check:
    if expected is None or len(report.score_counts) != len(expected.counts) or not expected.n:
        return Check(
            name="shadow_scores",
            status=CheckStatus.UNKNOWN,
            limit=limit,
            n=report.rows,
            detail="the challenger kept no out-of-sample scores to compare with",
            remedy='train it again, or set shadow.max_score_ks = "off"',
        )
    found = drift.score_drift(_reference(expected), _current(report, expected))
    ks, p_value = found.ks or 0.0, found.p_value if found.p_value is not None else 1.0
    far = ks > limit
    shown, most = against(ks, limit)
    return Check(
        name="shadow_scores",
        status=(CheckStatus.ACT if p_value < 1 - policy.level else CheckStatus.UNKNOWN) if far else CheckStatus.OK,
        value=ks,
        limit=limit,
        p_value=p_value,
        n=report.rows,
        detail=f"its scores are {shown} (KS) from those it had out of sample, must be at most {most}; {found.detail}",
        remedy="what is asked is not what it was trained on: look at `rehone check` for drift" if far else "",
    )


def _reference(expected: ScoreProfile) -> Profile:
    return Profile(window=Window(_ANY, _ANY), rows=expected.n, positives=0, features=(), scores=expected)


def _current(report: ShadowReport, expected: ScoreProfile) -> Counts:
    scores = ScoreProfile(edges=expected.edges, counts=report.score_counts)
    return Counts(rows=scores.n, features=(), scores=scores)


def _difference(report: ShadowReport, policy: Shadow) -> Check:
    """Record the mean paired difference of the scores; it is information and is never judged."""
    n = report.rows
    mean = report.sum_difference / n
    variance = max(0.0, report.sum_squared_difference - n * mean**2) / (n - 1) if n > 1 else None
    reach = float(ndtri(policy.level)) * math.sqrt(variance / n) if variance is not None else None
    return Check(
        name="shadow_difference",
        status=CheckStatus.OK,
        value=mean,
        interval=None if reach is None else (mean - reach, mean + reach),
        n=n,
        detail=f"its scores are {number(mean, sign=True)} from the champion's on average, "
        f"{number(report.largest_difference)} at most, reported and not judged",
    )


def _all_said(checks: list[Check]) -> str:
    return " | ".join(check.sentence for check in checks)
