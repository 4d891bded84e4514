"""Hold what a project's history says of its drift limits: from which drift on the model had lost recall."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from rehone.records.facts import Window
from rehone.records.foresight import Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationWindow:
    """One window of history: how far it had drifted from its champion, and how that champion did on it.

    `psi` is the largest of the features that may act, which is `feature`; `psi_of` has all of
    them. `baseline` is the recall that the champion had when it was judged; `fallen` says that
    `recall` was at or below the part of it that may be lost. What was not measured is `None`.
    """

    window: Window
    version: str
    rows: int
    psi: float | None
    feature: str = ""
    score_ks: float | None = None
    recall: Estimate | None = None
    baseline: float | None = None
    fallen: bool | None = None
    psi_of: dict[str, float] = field(default_factory=dict)
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationSignal:
    """Whether one measure of drift told the windows in which recall had fallen, and from which value on.

    `auc` is the probability that it was higher in a fallen window than in another. `at` is the
    value from which on recall had fallen, by a falling fit of recall over the measure; `at_low`
    and `at_high` bound it (`None`: no bound), `threshold` lies just below. `fires` windows
    would have passed the threshold, `hits` of them fallen; `fires_now` and `hits_now` count the
    same at today's `limit`. `predicts` is `None` when history is too short to say; `subject`
    is the feature, when it is of one feature alone.
    """

    name: str
    subject: str | None = None
    windows: int
    fallen: int
    limit: float | None
    predicts: bool | None
    detail: str
    auc: float | None = None
    auc_interval: tuple[float, float] | None = None
    at: float | None = None
    at_low: float | None = None
    at_high: float | None = None
    threshold: float | None = None
    fires: int | None = None
    hits: int | None = None
    fires_now: int | None = None
    hits_now: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What `rehone calibrate` found.

    `origin` is "records" (evidence of earlier runs) or "data" (measured again). `chance` is the
    probability that as many windows fall although recall never left the baseline, from the number
    of positives alone; `None` without windows. `changes` are keys with the value that they
    should have, and `diff` shows them in the project's own file.
    """

    project: str
    as_of: datetime
    origin: str
    window_days: float
    drop: float
    windows: tuple[CalibrationWindow, ...]
    signals: tuple[CalibrationSignal, ...]
    features: tuple[CalibrationSignal, ...]
    sentence: str
    chance: float | None = None
    changes: dict[str, float] = field(default_factory=dict)
    diff: str = ""
    notes: tuple[str, ...] = ()
