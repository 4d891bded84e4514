"""Name the keys of what lies outside: object stores, and trackers that are told of runs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import Field, field_validator

from rehone.config.base import Positive, Section


class Storage(Section):
    """How object stores are reached, where data, store, runs or predictions are named by an address such as s3://."""

    endpoint: str | None = Field(None, description="address of an S3-compatible service that is not Amazon's")
    region: str | None = Field(None, description="region of the buckets; left out: AWS_REGION of the environment")
    allow_http: bool = Field(False, description="talk to the endpoint without TLS; only for a service on this machine")
    lease_seconds: float = Field(
        300,
        gt=1,
        description="time after which the run lock of a process that died is taken over; renewed while it lives",
    )

    @field_validator("endpoint")
    @classmethod
    def _has_a_scheme(cls, endpoint: str | None) -> str | None:
        if endpoint is not None and not re.match(r"https?://[^/]", endpoint):
            raise ValueError(f"endpoint {endpoint!r} is no address: begin it with https://, as in https://{endpoint}")
        return endpoint


class Trackers(Section):
    """Who is told of every run, beside the records kept here; a tracker never changes how a run ends."""

    use: tuple[Literal["mlflow", "wandb"], ...] = Field((), description="trackers that are told of every run")
    timeout_seconds: Positive = Field(
        60, description="longest that telling one tracker may take; what was not told is kept and told later"
    )
    mlflow_uri: str | None = Field(
        None,
        description="tracking address, such as http://127.0.0.1:5000 or sqlite:///mlflow.db; left out: MLflow's own",
    )
    mlflow_experiment: str | None = Field(None, description="experiment of the runs; left out: project.name")
    mlflow_model: str | None = Field(None, description="name of the registered model; left out: project.name")
    wandb_project: str | None = Field(None, description="project of the runs; left out: project.name")
    wandb_entity: str | None = Field(None, description="team or user that owns it; left out: the account's own")
    wandb_mode: Literal["online", "offline"] = Field(
        "online", description='"offline" writes files that `wandb sync` sends later; needs no account'
    )
    wandb_folder: str = Field("wandb", description="folder of its files")


_PASSWORD = re.compile(r"://[^/?#\s]*:[^/?#\s]*@")


def passwords(value: Any, key: str = "") -> Iterator[str]:
    """Name the keys whose address holds a password, which every run record and tracker would repeat."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from passwords(inner, f"{key}.{name}" if key else str(name))
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from passwords(inner, key)
    elif isinstance(value, str) and _PASSWORD.search(value):
        yield key
