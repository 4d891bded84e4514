"""Make challengers and choose the best of them: candidates are estimators times training windows.

`split` holds the newest rows out; `search` cross-validates every candidate on the same rows,
fits the winner and chooses its threshold on out-of-fold scores. `recalibrate` chooses instead
what is laid over a model that there is already.
"""

from rehone.train.cores import cpu_limit
from rehone.train.estimators import estimator_class, pipeline_of
from rehone.train.holdout import Tally, by_days, split, split_tally
from rehone.train.probe import Known, Past, probe
from rehone.train.recalibrate import Layered, Newer, Tried, recalibrate, too_few
from rehone.train.search import Progress, Search, TrainingRows, search
from rehone.train.threshold import choose_threshold

__all__ = [
    "Known",
    "Layered",
    "Newer",
    "Past",
    "Progress",
    "Search",
    "Tally",
    "TrainingRows",
    "Tried",
    "by_days",
    "choose_threshold",
    "cpu_limit",
    "estimator_class",
    "pipeline_of",
    "probe",
    "recalibrate",
    "search",
    "split",
    "split_tally",
    "too_few",
]
