"""Name the keys of training: which estimators compete, on which rows, where they are fitted."""

from __future__ import annotations

import difflib
from typing import Any, Literal

from pydantic import ConfigDict, Field, field_validator, model_validator

from rehone.config.base import Positive, Section, Share

BUILT_IN = (
    "hist_gradient_boosting",
    "lightgbm",
    "gradient_boosting",
    "random_forest",
    "logistic_regression",
    "xgboost",
    "xgboost_external",
    "xgboost_dask",
    "xgboost_spark",
)
WindowPolicy = Literal["trailing", "all", "decay"]


class Candidate(Section):
    """One estimator that competes; in the file, its name alone or a table."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    name: str = Field("", description="how records name it; left out: the last part of class")
    estimator: str = Field(
        "hist_gradient_boosting",
        alias="class",
        description="a built-in name or the import path of a scikit-learn-compatible classifier",
    )
    params: dict[str, Any] = Field(default_factory=dict, description="keyword arguments of the class")

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, value: Any) -> Any:
        return {"class": value} if isinstance(value, str) else value

    @field_validator("estimator")
    @classmethod
    def _known(cls, value: str) -> str:
        if "." in value or value in BUILT_IN:
            return value
        near = difflib.get_close_matches(value, BUILT_IN, 1)
        hint = (
            f"did you mean {near[0]!r}?"
            if near
            else f"use one of {', '.join(BUILT_IN)} or an import path such as sklearn.ensemble.ExtraTreesClassifier"
        )
        raise ValueError(f"no estimator {value!r}: {hint}")

    @property
    def title(self) -> str:
        return self.name or self.estimator.rsplit(".", 1)[-1]


class Train(Section):
    """How challengers are made and how the best of them is chosen."""

    candidates: tuple[Candidate, ...] = Field(
        (Candidate(estimator="hist_gradient_boosting"), Candidate(estimator="lightgbm")),
        min_length=1,
        description=f"estimators that compete: {', '.join(BUILT_IN)}, or tables with class, params and name",
    )
    windows: tuple[WindowPolicy, ...] = Field(
        ("trailing", "all"),
        min_length=1,
        description='training windows that compete: "trailing" (lookback_days), "all" history, "decay" (all history, older rows weigh less)',
    )
    half_life_days: Positive = Field(90, description='age at which a row weighs half in a "decay" window')
    holdout: float = Field(
        0.2, gt=0, lt=0.9, description="newest share of the matured trailing rows that is held out for the gate"
    )
    folds: int = Field(
        5,
        ge=2,
        le=20,
        description="folds of the stratified cross-validation, from which the threshold comes; which candidate wins is decided on the newest rows",
    )
    threshold: Literal["cost", "recall"] = Field(
        "cost",
        description='how the decision threshold is chosen on out-of-fold scores: "cost" (least expected cost) or "recall" (highest that keeps recall_floor)',
    )
    recall_floor: Share = Field(0.70, description='recall that threshold = "recall" must keep on out-of-fold scores')
    cost_false_positive: float = Field(1, ge=0, description="cost of acting on a negative")
    cost_false_negative: float = Field(10, ge=0, description="cost of missing a positive")
    probe: Literal["off", "say", "skip"] = Field(
        "off",
        description='one cheap fit before the search that estimates what a retrain would gain: "say" records it, "skip" also ends the run when nothing is to be gained',
    )
    probe_rows: int = Field(20_000, ge=1000, description="most rows that the probe learns from")
    max_train_rows: int | None = Field(
        None, ge=1000, description="largest training set; above it a random sample is drawn and said"
    )
    parallel: int | None = Field(None, ge=1, description="fits at a time; left out: the CPU limit of the process")
    backend: Literal["threads", "dask", "ray"] = Field(
        "threads", description="where candidates are fitted: threads of this process, or a Dask or Ray cluster"
    )
    backend_address: str | None = Field(
        None,
        description="address of the Dask or Ray cluster, or of the one that xgboost_dask or xgboost_spark is fitted on; left out: one of this machine's own",
    )

    @model_validator(mode="after")
    def _address_of_something(self) -> Train:
        spread = any(candidate.estimator in ("xgboost_dask", "xgboost_spark") for candidate in self.candidates)
        if self.backend_address is not None and self.backend == "threads" and not spread:
            raise ValueError(
                f'backend_address {self.backend_address!r} is given, and backend = "threads" fits in this process: set '
                'backend to "dask" or "ray", or remove the address'
            )
        return self

    @field_validator("candidates")
    @classmethod
    def _named_apart(cls, value: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
        titles = [c.title for c in value]
        twice = sorted({t for t in titles if titles.count(t) > 1})
        if twice:
            raise ValueError(f"two candidates are named {', '.join(twice)}: give each a name of its own")
        return value
