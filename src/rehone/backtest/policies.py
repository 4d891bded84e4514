"""Name the policies that a replay compares: each is a change of `rehone.toml`, but for those that have no key."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from rehone.config import Config

NEVER_REACHED = 1000.0
"""A PSI or KS distance that nothing reaches: the limit of a check that is never to act."""

QUIET: dict[str, Any] = {
    "psi_action": NEVER_REACHED,
    "ks_action": NEVER_REACHED,
    "min_recall": None,
    "max_cost_per_1000": None,
    "min_estimated_recall": None,
    "max_estimated_cost_per_1000": None,
    "max_age_days": None,
}
"""What switches off every trigger."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """When to train and on which rows; `trigger` are the keys in which it differs from the configuration.

    `phases` replays start the calendar at as many evenly spaced offsets of `period` days, and are
    averaged. `excess` is a cumulative loss that no key of the configuration stands for (yet).
    """

    name: str
    says: str
    trigger: dict[str, Any] = field(default_factory=dict)
    windows: tuple[str, ...] = ()
    period: float | None = None
    excess: bool = False
    simple: bool = True

    @property
    def expressible(self) -> bool:
        """Whether a `rehone.toml` can say it."""
        return not self.excess

    def config(self, base: Config) -> Config:
        """Return the configuration that follows this policy."""
        changed = base.as_json()
        changed["trigger"] |= {"max_lost_in_a_row": None} | self.trigger  # nobody is there to reset the breaker
        if self.windows:
            changed["train"] |= {"windows": self.windows}
        return Config(**changed, root=base.root)


def policies(config: Config, *, every: float) -> tuple[Policy, ...]:
    """Return the policies that are compared, the simplest first; days are rounded to the decision grid."""
    recall = config.trigger.min_recall or 0.6
    both = tuple(config.train.windows)
    found = [Policy(name="never", says="the first version is kept for ever", trigger=QUIET)]
    found += [_calendar(days, ()) for days in dict.fromkeys(on_grid(days, every) for days in (7, 30, 90))]
    others = [window for window in ("trailing", "all") if len(both) > 1 or window not in both]
    found += [_calendar(on_grid(30, every), (window,)) for window in others]
    found += [
        Policy(name="psi", says="PSI of a feature >= 0.25", trigger={**QUIET, "psi_action": 0.25}),
        Policy(name="ks", says="KS distance of scores >= 0.20", trigger={**QUIET, "ks_action": 0.20}),
        Policy(name="performance", says=f"recall < {recall:g}", trigger={**QUIET, "min_recall": recall}),
        Policy(
            name="estimate", says=f"estimated recall < {recall:g}", trigger={**QUIET, "min_estimated_recall": recall}
        ),
        Policy(name="cost-aware", says="excess cost has paid a retrain", trigger=QUIET, excess=True),
        Policy(name="current", says="this rehone.toml", simple=False),
    ]
    return tuple(found)


def on_grid(days: float, every: float) -> float:
    """Return the multiple of the grid that is nearest to a number of days, at least one."""
    return max(1, round(days / every)) * every


def _calendar(days: float, windows: tuple[str, ...]) -> Policy:
    name = f"every {days:g} days" + (f", {windows[0]}" if windows else "")
    rows = f" on {windows[0]} rows" if windows else ""
    return Policy(
        name=name,
        says=f"age > {days:g} days{rows}",
        # age acts when it is above its limit: a run at that very age is to act already
        trigger={**QUIET, "max_age_days": days - 0.5, "max_trainings_per_30_days": None},
        windows=windows,
        period=days,
    )
