"""Hold what a backtest found: how each policy did, and what it suggests."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rehone.backtest.measured import Month
from rehone.backtest.walk import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyResult:
    """How one policy did; counts and measures are means over `phases` starts of a calendar.

    `money` is what its decisions cost, in the unit of the costs of a false positive and a false
    negative; `spent` what its retrains cost; `regret` what both lie above the best sequence of
    models that hindsight could have chosen. `worst_month` is the month of the lowest ROC-AUC.
    `months` are of the first phase but for `roc_auc`, which is the mean over phases. `change`
    are the keys by which it differs from the configuration, `None` where no key can say it.
    """

    name: str
    says: str
    phases: int
    trained: float
    deployed: float
    refused: float
    blocked: float
    rolled_back: float
    roc_auc: float | None
    worst_roc_auc: float | None
    worst_month: str
    recall: float | None
    cost_per_1000: float
    money: float
    spent: float
    regret: float
    months: tuple[Month, ...] = ()
    events: tuple[Event, ...] = ()
    change: dict[str, dict[str, Any]] | None = None

    @property
    def total(self) -> float:
        """What decisions and retrains cost together."""
        return self.money + self.spent


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """The policy that would have cost least, and whether it beats the configuration beyond chance.

    `saved` is what it would have saved per month against the configuration, between `low` and
    `high` by a paired t interval over months; `diff` changes the configuration into it, and is
    empty where it is kept.
    """

    policy: str
    sentence: str
    saved: float | None = None
    low: float | None = None
    high: float | None = None
    diff: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backtest:
    """A history replayed under several policies.

    `first` is the day on which the first version went live, the same for all; `start` and `end`
    are of the rows; `every` are the days between two decisions; `fits` counts the days for which
    models were made. `hindsight` is the least total cost that any sequence of these models had.
    """

    project: str
    start: datetime
    end: datetime
    first: datetime
    rows: int
    live_rows: int
    every: float
    fits: int
    cost_of_retraining: float
    hindsight: float
    policies: tuple[PolicyResult, ...]
    suggestion: Suggestion
    notes: tuple[str, ...] = ()

    def of(self, name: str) -> PolicyResult:
        """Return the result of a policy by its name.

        Raises:
            KeyError: there is no such policy.
        """
        for found in self.policies:
            if found.name == name:
                return found
        raise KeyError(name)
