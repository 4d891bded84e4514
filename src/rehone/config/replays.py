"""Name the keys of what replays a history: what a retrain costs there."""

from __future__ import annotations

from pydantic import Field

from rehone.config.base import Section


class Backtest(Section):
    """How policies are compared on the project's own history."""

    cost_of_retraining: float = Field(
        0, ge=0, description="what one retrain costs, in the unit of cost_false_positive and cost_false_negative"
    )
