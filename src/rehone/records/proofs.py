"""Hold what was proved again: that a recorded run decides as it did, and that sabotage is caught."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from rehone.records.evidence import TriggerDecision
from rehone.records.facts import Check
from rehone.records.models import Verdict
from rehone.records.words import CheckStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """A recorded run, decided and judged again from what it recorded.

    `trigger` and `verdict` are what came out now; `None` where the run did not come so far, or what
    it was given is not there. Of `checks`, `act` is a record that was tampered with or an outcome
    that does not come again, `unknown` what could not be looked at.
    """

    run_id: str
    recorded_with: str
    replayed_with: str
    checks: tuple[Check, ...]
    trigger: TriggerDecision | None = None
    verdict: Verdict | None = None

    @property
    def reproduced(self) -> bool:
        """Say whether nothing differs; what could not be looked at does not count as a difference."""
        return all(check.status is not CheckStatus.ACT for check in self.checks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sabotage:
    """One thing done wrong on purpose, and what was said of it.

    `expected` is what ought to happen: "caught", or "passed" for the honest ones. `caught_by` are
    the checks that stopped it, in the order of the gate. `happened` is "caught", "let through" (it
    does harm, and nothing stopped it), "harmless" (it passed, and is no worse), "unclear" (stopped only by
    what holds the honest one too), "passed" or "held" (of the honest one) or "not tried"; `detail` says why.
    """

    name: str
    what: str
    expected: str
    happened: str
    caught_by: tuple[str, ...] = ()
    detail: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """How often the gate passes pairs of models whose difference is known, against what it states itself.

    Of `tries` pairs of equal models `shipped` passed the whole gate, `weak` of them on weak evidence,
    and `called_worse` failed a comparison. `equal_passed` of them passed the comparison of ROC-AUC
    alone, for which the gate states the share `equal_stated`; `worse_passed` and `worse_stated` are
    the same of as many challengers that are truly one margin worse. Intervals are at 95 %.
    """

    tries: int
    shipped: int
    weak: int
    called_worse: int
    shipped_interval: tuple[float, float]
    equal_passed: int
    equal_interval: tuple[float, float]
    worse_passed: int
    worse_interval: tuple[float, float]
    equal_stated: float | None = None
    worse_stated: float | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillReport:
    """What a drill did to the gate and the service of a project, and what they caught."""

    project: str
    as_of: datetime
    rows: int
    positives: int
    sabotages: tuple[Sabotage, ...]
    pairs: Pairs | None = None
    champion: str | None = None
    seconds: float = 0.0

    @property
    def let_through(self) -> tuple[Sabotage, ...]:
        """Return what ought to have been caught and was not."""
        return tuple(one for one in self.sabotages if one.happened == "let through")
