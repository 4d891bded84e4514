"""Compare two models on the same rows: differences with their uncertainty, and nothing else."""

from __future__ import annotations

from rehone.compare.differences import (
    Paired,
    block_difference,
    delong,
    delong_blocks,
    positives_needed,
    roc_auc_interval,
)
from rehone.compare.multiplicity import benjamini_hochberg, holm
from rehone.compare.proportions import clopper_pearson, mcnemar_exact, tango, tango_z, wilson

__all__ = [
    "Paired",
    "benjamini_hochberg",
    "block_difference",
    "clopper_pearson",
    "delong",
    "delong_blocks",
    "holm",
    "mcnemar_exact",
    "positives_needed",
    "roc_auc_interval",
    "tango",
    "tango_z",
    "wilson",
]
