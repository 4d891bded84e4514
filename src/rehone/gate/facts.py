"""Name what the gate is given: the held-out rows, and what each model said of them; and what it finds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rehone.config import Gate
from rehone.records import Check, Metrics


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Holdout:
    """The rows that both models are judged on; all arrays are (n,).

    `times` are event times in UTC. `mature` says whose label is due. `blocks` are codes of
    days or entities, as `block_kind` says; left out, the gate takes the days of `times`.
    The two `in_..._training` mark rows whose fingerprint is in a training set, the two
    `near_..._training` those that look like a row of one but for small digits; `None` is
    "not measured". `prior_uses` counts earlier challengers judged on these rows, and
    `effective_uses` weighs each by the share of these rows that it was judged on;
    `anchor_tries` counts those held against past champions in the past year. `slices`
    holds, for each column that is to be sliced by and is there, the value of each row as text.
    `as_of` is the day of the verdict and `label_delay_days` the time after which a label is due.
    """

    labels: NDArray[Any]
    times: NDArray[np.datetime64]
    mature: NDArray[np.bool_]
    blocks: NDArray[Any] | None = None
    block_kind: str = "day"
    in_challenger_training: NDArray[np.bool_] | None = None
    in_champion_training: NDArray[np.bool_] | None = None
    prior_uses: int = 0
    effective_uses: float | None = None
    anchor_tries: int = 0
    near_challenger_training: NDArray[np.bool_] | None = None
    near_champion_training: NDArray[np.bool_] | None = None
    slices: Mapping[str, NDArray[np.str_]] = field(default_factory=dict)
    as_of: datetime | None = None
    label_delay_days: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scored:
    """One model on the held-out rows: its scores (n,), its own frozen threshold, its last training row.

    `version` is `None` for a challenger that is not published yet. `train_end` is the event
    time of the newest row that the model was fitted, tuned or calibrated on; without a time
    zone it is UTC. `seen` marks rows of an anchor's training set, `None` is "not measured"; for
    champion and challenger the held-out rows say it.
    """

    version: str | None
    scores: NDArray[np.float64]
    threshold: float
    train_end: datetime
    seen: NDArray[np.bool_] | None = None

    @property
    def newest_seen(self) -> np.datetime64:
        """Return `train_end` in UTC, to be compared with event times."""
        end = self.train_end if self.train_end.tzinfo is None else self.train_end.astimezone(UTC).replace(tzinfo=None)
        return np.datetime64(end, "us")


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A champion that the deployment log names and that cannot be asked: the gate fails closed.

    A past champion that cannot be asked is said, and nothing is held against it.
    """

    version: str | None
    why: str


@dataclass(frozen=True, slots=True)
class Ruling:
    """One check of the gate; `weak` marks a pass that the default policy gave without evidence enough.

    `flip` completes "would have passed had ..." for a check that blocks, and "would not have
    passed had ..." for one that does not; `slack` is how far that is, in margins.
    """

    check: Check
    weak: bool = False
    flip: str = ""
    slack: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Side:
    """One model on the legal rows."""

    scores: NDArray[np.float64]
    acted: NDArray[np.bool_]
    metrics: Metrics


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Case:
    """All that the rules look at: legal rows only. `blocks` is `None` when rows are independent.

    `rows` marks the legal rows among all that were held out, `times` are theirs.
    """

    labels: NDArray[np.bool_]
    times: NDArray[np.datetime64]
    challenger: Side
    champion: Side | None
    blocks: NDArray[Any] | None
    block_kind: str
    policy: Gate
    costs: tuple[float, float]
    rows: NDArray[np.bool_]
    holdout: Holdout

    @property
    def positives(self) -> int:
        return self.challenger.metrics.positives

    @property
    def days(self) -> float:
        return float((self.times.max() - self.times.min()) / np.timedelta64(1, "D"))
