"""Replay a project's own history under several policies, and say what each would have brought.

The rows, the windows, the split, the search, the evidence, the decision, the checks on the data
and the gate are those of the pipeline, called with the rows as they were on each day.
"""

from rehone.backtest.results import Backtest, PolicyResult, Suggestion
from rehone.backtest.run import Order, backtest

__all__ = ["Backtest", "Order", "PolicyResult", "Suggestion", "backtest"]
