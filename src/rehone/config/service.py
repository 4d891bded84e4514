"""Name the keys of the model service: how it answers, what it logs, and what it scores in the shadow."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rehone.config.base import Positive, Section, Share


class Serve(Section):
    """The model service."""

    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8000, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    workers: int = Field(1, ge=1, le=256, description="processes that share the port; each is a replica of its own")
    poll_seconds: float = Field(0.25, gt=0, description="how often the deployment log is looked at")
    heartbeat_seconds: float = Field(1, gt=0, description="how often a replica reports what it serves")
    max_rows: int = Field(10_000, ge=1, description="most rows of one request")
    max_body_bytes: int = Field(10_000_000, ge=1000, description="largest request body")
    max_waiting_rows: int = Field(
        100_000, ge=1, description="rows that may wait for one version; above it requests are answered with 503"
    )
    max_connections: int = Field(
        1000, ge=1, description="connections at a time; above it requests are answered with 503"
    )
    extra_columns: Literal["ignore", "refuse"] = Field(
        "ignore", description="what is done with columns that the model does not read"
    )
    header_seconds: float = Field(10, gt=0, description="time in which the headers of a request must have arrived")
    body_seconds: float = Field(30, gt=0, description="time in which the body of a request must have arrived")
    idle_seconds: int = Field(75, ge=1, description="time after which a connection without a request is closed")
    drain_seconds: int = Field(
        10, ge=0, description="longest that a service that was asked to end answers what is under way"
    )
    token_file: str | None = Field(
        None,
        description="file of the token that operators send to reload or pin a version; left out: there are no such endpoints",
    )


class Predictions(Section):
    """The log of what was served, and how it becomes evidence."""

    log: bool = Field(False, description="write every prediction, with its features, to the folder")
    folder: str = Field(
        "predictions",
        description="folder of the prediction log, or an address such as s3://bucket/log, with a subfolder for each day and version",
    )
    columns: tuple[str, ...] | None = Field(
        None, description="features that may be written; left out: all that the model reads"
    )
    share: float = Field(
        1,
        gt=0,
        le=1,
        description="share of predictions that is written, drawn by id, so that every replica draws the same",
    )
    keep_days: int | None = Field(90, ge=1, description='days after which predictions are deleted; "off" for never')
    flush_seconds: float = Field(
        5, gt=0, description="how often predictions are written; a killed service loses at most these"
    )
    max_waiting_rows: int = Field(
        100_000, ge=1, description="predictions that wait to be written; above it they are dropped and counted"
    )
    evidence: Literal["data", "served"] = Field(
        "data",
        description='where drift, scores, recall and cost come from: "data" scores data.source again, "served" reads this log',
    )
    train_on: Literal["data", "served"] = Field(
        "data",
        description='where training rows come from: "data" is data.source, "served" joins this log with the labels',
    )
    labels: str | None = Field(
        None,
        description="folder or glob of files, or address of a database, with data.id_column and data.label, that join the log by id; left out: data.source",
    )
    labels_query: str | None = Field(
        None,
        min_length=1,
        description="SQL that gives id, label and the moment it arrived (as data.time_column), where labels is a database",
    )
    unlabelled: Literal["unknown", "negative"] = Field(
        "unknown",
        description='what a prediction without a label is once its label is due: "negative" where only positives are ever reported',
    )
    min_label_coverage: Share = Field(
        0.9,
        description="share of predictions with a label, among those whose label is due, below which recall is not known",
    )
    max_skew_share: Share | None = Field(
        0.01,
        description='share of ids whose logged feature differs from data.source above which it is a data incident; "off" for never',
    )


class Shadow(Section):
    """A staged challenger is scored beside the champion, on what is really asked, before it is promoted."""

    seconds: float | None = Field(
        None, gt=0, description="how long a challenger is scored beside the champion; left out: it is not"
    )
    share: float = Field(1, gt=0, le=1, description="share of requests that the challenger scores too")
    min_rows: int = Field(1000, ge=1, description="fewest rows scored by both for a judgement; fewer are inconclusive")
    max_error_share: Share = Field(0.001, description="share of rows that the challenger may fail on")
    max_latency_ratio: Positive = Field(
        2,
        description="time of the challenger for a row, as a multiple of the champion's; below 0.1 ms more it only warns",
    )
    max_changed_share: Share | None = Field(
        0.2, description='share of decisions that may differ from the champion\'s; "off" for any'
    )
    max_score_ks: Share | None = Field(
        0.2,
        description='Kolmogorov-Smirnov distance of the challenger\'s scores from those it had in training; "off" for any',
    )
    level: float = Field(0.95, gt=0.5, lt=1, description="one-sided level of each comparison")
