"""Hold one comparison with its limit, one stretch of time, and the columns that a model reads."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

from rehone.records.words import CheckStatus, FeatureKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One comparison of a value with its limit; the same shape for triggers, data, gate, smoke.

    `detail` says in one sentence what was found, with the value and the limit;
    `remedy` says what a person can do about it. `subject` is the feature, file,
    candidate or replica that the check is about. `interval` is in the unit of `value`.

    Raises:
        ValueError: a number is NaN or infinite. What was not measured is `None`.
    """

    name: str
    status: CheckStatus
    subject: str | None = None
    value: float | None = None
    limit: float | None = None
    baseline: float | None = None
    interval: tuple[float, float] | None = None
    p_value: float | None = None
    n: int | None = None
    positives: int | None = None
    positives_needed: int | None = None
    detail: str = ""
    remedy: str = ""

    def __post_init__(self) -> None:
        numbers = (self.value, self.limit, self.baseline, self.p_value, *(self.interval or ()))
        if any(x is not None and not math.isfinite(x) for x in numbers):
            raise ValueError(
                f"check {self.name!r} ({self.subject}) was given {numbers}: numbers must be finite, use None for what was not measured"
            )

    @property
    def label(self) -> str:
        """Name the check with its subject: `psi(amount)`."""
        return f"{self.name}({self.subject})" if self.subject else self.name

    @property
    def sentence(self) -> str:
        """Say what was found and what to do about it."""
        said = self.detail or self.label
        return f"{said}: {self.remedy}" if self.remedy else said


def worst(checks: tuple[Check, ...]) -> CheckStatus:
    """Return the most serious status: act, then unknown, then warn, then ok."""
    for status in (CheckStatus.ACT, CheckStatus.UNKNOWN, CheckStatus.WARN):
        if any(check.status is status for check in checks):
            return status
    return CheckStatus.OK


@dataclass(frozen=True, slots=True)
class Window:
    """A half-open stretch of event time, `start <= t < end`."""

    start: datetime
    end: datetime

    def __post_init__(self) -> None:
        if self.start.tzinfo is None or self.end.tzinfo is None:
            raise ValueError(f"window {self.start}..{self.end} has no time zone")
        if self.end < self.start:
            raise ValueError(f"window ends ({self.end}) before it starts ({self.start})")

    @property
    def days(self) -> float:
        return (self.end - self.start) / timedelta(days=1)

    def __contains__(self, moment: datetime) -> bool:
        return self.start <= moment < self.end

    def __str__(self) -> str:
        return f"{_short(self.start)}..{_short(self.end)}"


def _short(moment: datetime) -> str:
    midnight = (moment.hour, moment.minute, moment.second, moment.microsecond) == (0, 0, 0, 0)
    return f"{moment:%Y-%m-%d}" if midnight else f"{moment:%Y-%m-%dT%H:%M:%S}"


@dataclass(frozen=True, slots=True)
class Feature:
    """One input column: its name, kind and, for a categorical, the values it knows."""

    name: str
    kind: FeatureKind
    categories: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """The columns that a model was trained on, in the order of its matrix."""

    features: tuple[Feature, ...]
    label: str

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(feature.name for feature in self.features)
