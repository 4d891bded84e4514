"""Name every key with its type, default and meaning; one class for each section of `rehone.toml`."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, field_validator, model_validator

from rehone.config.base import Positive, Section, Share, Zone
from rehone.config.databases import wrong_with
from rehone.config.outside import Storage, Trackers, passwords
from rehone.config.people import Alerts, Dashboard, Health, Metrics, host_alone
from rehone.config.promotion import Deploy, Gate
from rehone.config.replays import Backtest
from rehone.config.service import Predictions, Serve, Shadow
from rehone.config.training import Train
from rehone.places import Place, place_of, wrong_with_place

CONFIG_NAME = "rehone.toml"
ACCEPT_SELECTION = "label is not null, and I accept that this selects on the outcome"


class Project(Section):
    """Who this model is, and where what Rehone writes is kept."""

    name: str = Field(
        "model", min_length=1, description="the model's name, as people will read it in records and alerts"
    )
    seed: int = Field(7, description="seed of every random choice; the same data, config and seed give the same model")
    store: str = Field(
        "store", description="folder, or address such as s3://bucket/store, of model versions and of the deployment log"
    )
    runs: str = Field("runs", description="folder, or address such as s3://bucket/runs, of run records")
    cache: str = Field(".rehone-cache", description="folder of per-file counts; may be deleted at any time")
    resume_hours: Positive = Field(
        24,
        description="how long a run that is made stage by stage may rest between two stages; then the next run closes it",
    )


class Data(Section):
    """Where rows come from, what they mean and what makes a window fit to learn from."""

    source: str = Field(
        "data/*.parquet",
        min_length=1,
        description="folder or glob of Parquet or CSV files, relative to this file or an address such as s3://bucket/data/*.parquet, or a database (postgresql://user@host/name, duckdb:///file.duckdb) with a query, or python:package.module:function that returns a lazy frame (PySpark, DuckDB, Dask, SQLFrame, Polars); dates in names (2026-08-31.parquet, day=2026-08-31/) are used",
    )
    query: str | None = Field(
        None,
        min_length=1,
        description="SQL that gives the rows, where source is a database; the window and the columns are asked of it",
    )
    max_negatives: int | None = Field(
        None,
        ge=1000,
        description="most negatives that an engine (Spark, Dask, DuckDB) hands over for training; each then weighs for those left out",
    )
    time_column: str | None = Field(None, description="event time of a row; left out: the date in the file's name")
    timezone: Zone = Field("UTC", description="zone of event times that carry none")
    label: str = Field("label", min_length=1, description="column to predict: 0 or 1, false or true")
    label_delay_days: float = Field(
        0,
        ge=0,
        description="days after the event until its label is final; younger rows are never learned from or judged on",
    )
    label_due_column: str | None = Field(
        None, description="column that says when each row's label is due, instead of label_delay_days"
    )
    label_time_column: str | None = Field(
        None,
        description="column that says when each row's label became known; a label is never seen before, on any day that is replayed",
    )
    label_completeness: Share | None = Field(
        None,
        description="share of labels that a row's age must have brought before it is learned from or judged on: the delay is then learned from label_time_column, and label_delay_days holds only until enough is known",
    )
    label_selection: str = Field(
        "mature",
        description=f'"mature": rows whose label is due; the words "{ACCEPT_SELECTION}" take whatever label has arrived',
    )
    features: tuple[str, ...] | None = Field(
        None,
        min_length=1,
        description="columns to learn from; left out: all but the label, time and id columns and those excluded",
    )
    exclude: tuple[str, ...] = Field(
        (), description="columns never to learn from: ids, clocks, anything known only after the event"
    )
    categorical: tuple[str, ...] = Field((), description="numeric columns to read as categories (codes)")
    id_column: str | None = Field(
        None, description="unique id of a row; used to find the same row on both sides of a split"
    )
    entity_column: str | None = Field(
        None, description="customer, card, machine: rows of one entity are not independent, the gate compares by it"
    )
    score_column: str | None = Field(
        None,
        description="score that the live champion gave each row, if it is logged beside the features; left out: a sample is scored again",
    )
    lookback_days: int = Field(90, ge=1, description="length of the trailing training window, its holdout included")
    history_days: int | None = Field(
        None, ge=1, description="oldest rows that an all-history window may use; left out: no limit"
    )
    min_rows: int = Field(500, ge=1, description="fewest matured rows in the trailing window")
    min_label_rate: Share = Field(0.02, description="smallest share of positives in the trailing window")
    max_label_rate: Share = Field(0.40, description="largest share of positives in the trailing window")
    max_label_rate_ratio: float | None = Field(
        None,
        gt=1,
        description="replaces both bounds once there is a champion: the rate may change by this factor against the champion's own",
    )
    warn_null_rate: Share = Field(
        0.10, description="share of nulls in a feature above which a warning is given; nulls are imputed"
    )
    max_null_jump: Share = Field(
        0.30, description="rise of a feature's share of nulls over the champion's that is a data incident"
    )
    stale_after_days: float | None = Field(
        3, gt=0, description='age of the newest row at which the feed is stale; "off" for never'
    )
    max_missing_days: int | None = Field(
        None,
        ge=0,
        description="days without any row in the trailing window above which it is refused; left out: a warning from the first",
    )

    @field_validator("label_selection")
    @classmethod
    def _in_words(cls, value: str) -> str:
        if value not in ("mature", ACCEPT_SELECTION):
            raise ValueError(
                f'choosing rows by whether a label has arrived selects on the outcome: use "mature" with label_delay_days or label_due_column, or write the words "{ACCEPT_SELECTION}"'
            )
        return value

    @model_validator(mode="after")
    def _askable(self) -> Data:
        if wrong := wrong_with("data.source", self.source, "data.query", self.query, self.time_column):
            raise ValueError("; and ".join(wrong))
        return self

    @model_validator(mode="after")
    def _consistent(self) -> Data:
        if self.min_label_rate >= self.max_label_rate:
            raise ValueError(
                f"min_label_rate {self.min_label_rate:g} must be below max_label_rate {self.max_label_rate:g}"
            )
        if self.label_due_column and self.label_delay_days:
            raise ValueError("give label_delay_days or label_due_column, not both")
        if self.label_completeness is not None and self.label_time_column is None:
            raise ValueError("label_completeness learns the delay of labels from label_time_column: name that column")
        if self.label_completeness is not None and self.label_due_column is not None:
            raise ValueError("give label_completeness or label_due_column, not both")
        if self.features and self.label in self.features:
            raise ValueError(f"the label {self.label!r} is listed among the features: remove it there")
        if self.history_days is not None and self.history_days < self.lookback_days:
            raise ValueError(f"history_days {self.history_days} must be at least lookback_days {self.lookback_days}")
        return self


class Trigger(Section):
    """When to train a challenger: drift first, performance second, age last."""

    window_days: float = Field(
        30, gt=0, description="length of the newest window that is compared with the champion's reference"
    )
    psi_warn: Positive = Field(0.10, description="PSI of a feature from which a warning is given")
    psi_action: Positive | None = Field(
        0.25,
        description='PSI of a feature from which drift acts, if it is also beyond what false_alarms_per_year allows; "off": that alone decides',
    )
    ks_action: Positive = Field(
        0.20, description="Kolmogorov-Smirnov distance of scores from which drift acts, if it is also significant"
    )
    min_recall: Share | None = Field(
        0.60, description='recall at the champion\'s threshold below which performance acts; "off" for never'
    )
    max_cost_per_1000: float | None = Field(
        None, ge=0, description="cost of decisions per 1,000 matured rows above which performance acts"
    )
    min_estimated_recall: Share | None = Field(
        None, description="recall, estimated before labels are due, below which performance acts early"
    )
    max_estimated_cost_per_1000: float | None = Field(
        None,
        ge=0,
        description="cost per 1,000 rows, estimated before labels are due, above which performance acts early",
    )
    shift_rows: int = Field(
        5_000,
        ge=0,
        description="most rows of the reference and of the current window that are compared to say what kind of shift it is; 0: not asked",
    )
    action: Literal["retrain", "recalibrate", "suggested"] = Field(
        "retrain",
        description='what a trigger leads to: "retrain"; "recalibrate" (a new threshold or calibration over the same model); "suggested" by the kind of shift',
    )
    max_age_days: float | None = Field(
        30, gt=0, description='age of the champion above which age acts; "off" for never'
    )
    false_alarms_per_year: Positive = Field(
        1, description="drift alarms a year that you accept when nothing has drifted"
    )
    checks_per_year: Positive = Field(
        365, description="how often the pipeline runs; with false_alarms_per_year it sets the significance level"
    )
    ignore: tuple[str, ...] = Field(
        (), description="features whose drift is recorded but never acts: clocks, counters, ids"
    )
    score_sample_rows: int = Field(
        20_000, ge=100, description="most rows of the current window that are scored again for the score distribution"
    )
    performance_days: float = Field(
        30, gt=0, description="length of the newest window of matured labels that recall, cost and ROC-AUC are of"
    )
    min_positives: int = Field(
        20,
        ge=1,
        description="fewest matured positives for recall and cost to be known, and fewest of each class for ROC-AUC",
    )
    interval_level: float = Field(
        0.95,
        gt=0.5,
        lt=1,
        description="level of the intervals of recall, cost and ROC-AUC; recall and cost act when the whole interval is beyond their limit",
    )
    cooldown_days: float = Field(
        1, ge=0, description="days after a training during which drift, performance and age do not act"
    )
    backoff_factor: float = Field(
        2, ge=1, description="each challenger rejected in a row multiplies the cooldown by this, up to max_age_days"
    )
    max_trainings_per_30_days: int | None = Field(
        10, ge=1, description='trainings in 30 days above which only force acts; "off" for never'
    )
    max_lost_in_a_row: int | None = Field(
        3,
        ge=1,
        description='challengers lost in a row (rejected, inconclusive, rolled back) at which retraining stops until `rehone breaker --reset`; "off" for never',
    )

    @model_validator(mode="after")
    def _ordered(self) -> Trigger:
        if self.psi_action is not None and self.psi_warn > self.psi_action:
            raise ValueError(f"psi_warn {self.psi_warn:g} must not be above psi_action {self.psi_action:g}")
        return self


class Config(Section):
    """A whole project. `root` is the folder that relative paths are counted from."""

    project: Project = Field(default_factory=Project)
    data: Data = Field(default_factory=Data)
    trigger: Trigger = Field(default_factory=Trigger)
    train: Train = Field(default_factory=Train)
    gate: Gate = Field(default_factory=Gate)
    deploy: Deploy = Field(default_factory=Deploy)
    serve: Serve = Field(default_factory=Serve)
    predictions: Predictions = Field(default_factory=Predictions)
    shadow: Shadow = Field(default_factory=Shadow)
    storage: Storage = Field(default_factory=Storage)
    trackers: Trackers = Field(default_factory=Trackers)
    health: Health = Field(default_factory=Health)
    alerts: Alerts = Field(default_factory=Alerts)
    metrics: Metrics = Field(default_factory=Metrics)
    dashboard: Dashboard = Field(default_factory=Dashboard)
    backtest: Backtest = Field(default_factory=Backtest)
    root: Path = Field(Path(), exclude=True, repr=False)

    @model_validator(mode="after")
    def _loop_is_closed(self) -> Config:
        """Refuse what cannot become evidence: predictions that nothing ties to their labels."""
        used = [key for key in ("evidence", "train_on") if getattr(self.predictions, key) == "served"]
        wrong = []
        if used and self.data.id_column is None:
            wrong.append("data.id_column: labels join predictions by it; name the column that both have")
        if used and self.data.label_due_column is not None:
            wrong.append("data.label_delay_days instead of data.label_due_column, which no prediction has")
        if "train_on" in used and self.data.entity_column is not None:
            wrong.append("no data.entity_column, which the log does not have: leave it out, or train on the data")
        if wrong:
            raise ValueError(f'predictions.{used[-1]} = "served" needs {"; and ".join(wrong)}')
        return self

    @model_validator(mode="after")
    def _labels_are_askable(self) -> Config:
        own, time = self.predictions, self.data.time_column
        if wrong := wrong_with("predictions.labels", own.labels, "predictions.labels_query", own.labels_query, time):
            raise ValueError("; and ".join(wrong))
        return self

    @model_validator(mode="after")
    def _places_can_be(self) -> Config:
        places = {
            "project.store": self.project.store,
            "project.runs": self.project.runs,
            "predictions.folder": self.predictions.folder,
        }
        if wrong := [f"{key} {said}" for key, text in places.items() if (said := wrong_with_place(text))]:
            raise ValueError("; and ".join(wrong))
        return self

    @model_validator(mode="after")
    def _keeps_no_password(self) -> Config:
        if found := list(passwords(self.as_json())):
            raise ValueError(
                f"{', '.join(found)}: the address holds a password, which every run record would repeat: take it out, and "
                "give it in the environment (as MLFLOW_TRACKING_PASSWORD, PGPASSWORD, AWS_SECRET_ACCESS_KEY)"
            )
        return self

    @property
    def store_path(self) -> Place:
        return place_of(self.root, self.project.store)

    @property
    def runs_path(self) -> Place:
        return place_of(self.root, self.project.runs)

    @property
    def cache_path(self) -> Path:
        return self.root / self.project.cache

    @property
    def predictions_path(self) -> Place:
        return place_of(self.root, self.predictions.folder)

    @property
    def listeners(self) -> tuple[str, ...]:
        """Return who is told of every run that has ended: trackers, alerts, metrics, whoever hears the heartbeat."""
        alive = self.alerts.heartbeat is not None
        own = (("alerts", self.alerts.there), ("metrics", self.metrics.there), ("heartbeat", alive))
        return (*self.trackers.use, *(name for name, there in own if there))

    def as_json(self) -> dict[str, Any]:
        """Return every key with its value, defaults too, as plain JSON."""
        plain: dict[str, Any] = self.model_dump(mode="json", by_alias=True)
        return plain

    def as_recorded(self) -> dict[str, Any]:
        """Return every key with its value as records keep it: of an address whose path may be a secret, the host alone."""
        plain = self.as_json()
        for key in ("webhook", "heartbeat"):
            plain["alerts"][key] = host_alone(getattr(self.alerts, key))
        return plain

    @property
    def sha256(self) -> str:
        """Return the digest of every key and value that records keep, wherever the project lies."""
        return hashlib.sha256(json.dumps(self.as_recorded(), sort_keys=True).encode()).hexdigest()


def section_model(name: str) -> type[BaseModel]:
    """Return the model of one section, for whoever documents or writes its keys."""
    model = Config.model_fields[name].annotation
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        raise TypeError(f"{name} is not a section")
    return model
