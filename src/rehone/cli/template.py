"""Write a `rehone.toml` in which every key stands with its description, defaults commented out."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic.fields import FieldInfo

from rehone.cli.text import clean
from rehone.config import Candidate, Config, section_model

EXAMPLES: Mapping[str, Any] = {
    "data.query": "SELECT * FROM sales",
    "data.max_negatives": 1_000_000,
    "data.time_column": "event_time",
    "data.label_due_column": "label_due",
    "data.features": ["amount", "country"],
    "data.id_column": "transaction_id",
    "data.entity_column": "customer_id",
    "data.score_column": "score",
    "data.history_days": 730,
    "data.max_label_rate_ratio": 2.0,
    "data.max_missing_days": 7,
    "data.label_time_column": "label_known_at",
    "data.label_completeness": 0.95,
    "trigger.max_cost_per_1000": 500.0,
    "trigger.min_estimated_recall": 0.6,
    "trigger.max_estimated_cost_per_1000": 500.0,
    "train.max_train_rows": 1_000_000,
    "train.parallel": 2,
    "gate.max_relative_loss": 0.05,
    "deploy.health_url": "http://127.0.0.1:8080/health",
    "deploy.signing_key": "signing.key",
    "serve.token_file": "operator.token",
    "predictions.columns": ["amount", "country"],
    "predictions.labels": "labels/*.parquet",
    "predictions.labels_query": "SELECT id, is_fraud, reported_at AS event_time FROM reports",
    "shadow.seconds": 600.0,
    "train.backend_address": "tcp://127.0.0.1:8786",
    "storage.endpoint": "http://127.0.0.1:9000",
    "storage.region": "eu-west-1",
    "trackers.mlflow_uri": "http://127.0.0.1:5000",
    "trackers.mlflow_experiment": "cancellations",
    "trackers.mlflow_model": "cancellations",
    "trackers.wandb_project": "cancellations",
    "trackers.wandb_entity": "risk-team",
    "alerts.apprise": "apprise.yml",
    "alerts.webhook": "https://hooks.example.org/rehone",
    "alerts.webhook_secret_file": "webhook.secret",
    "alerts.heartbeat": "https://hc-ping.com/your-uuid",
    "alerts.quiet_hours": "22:00-07:00",
    "alerts.dashboard_url": "http://127.0.0.1:8010",
    "metrics.textfile": "/var/lib/node_exporter/cancellations.prom",
    "metrics.pushgateway": "http://127.0.0.1:9091",
    "metrics.pushgateway_user": "rehone",
    "metrics.pushgateway_password_file": "pushgateway.password",
    "dashboard.token_file": "operator.token",
}
"""What keys without a default might look like; commented out in the file."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A key that differs from its default, and why; `each` explains the items of a list."""

    key: str
    value: Any
    why: str
    each: Mapping[str, str] = field(default_factory=dict)


def sections() -> list[str]:
    """Name the sections of a configuration in their order."""
    return [name for name in Config.model_fields if name != "root"]


def write(settings: Mapping[str, Setting]) -> str:
    """Return the text of a configuration with these settings."""
    return "\n".join(_lines(settings))


def _lines(settings: Mapping[str, Setting]) -> Iterator[str]:
    yield "# What each key means stands above it. A key that is commented out has the value shown,"
    yield "# which is its default; `# key = ...  # not set` is an example of a key without a default."
    for section in sections():
        model = section_model(section)
        yield ""
        yield ""
        yield f"# {model.__doc__}"
        yield f"[{section}]"
        for name, info in model.model_fields.items():
            yield ""
            yield from _comment(info.description or "")
            yield from _entry(f"{section}.{name}", info, settings.get(f"{section}.{name}"))
    yield ""


def _entry(key: str, info: FieldInfo, setting: Setting | None) -> Iterator[str]:
    name = key.partition(".")[2]
    if setting is not None:
        yield from _comment(f"-> {setting.why}")
        yield from _value(name, setting)
    elif info.get_default(call_default_factory=True) is None:
        yield f"# {name} = {toml(EXAMPLES[key])}  # not set"
    else:
        yield f"# {name} = {toml(info.get_default(call_default_factory=True))}"


def _value(name: str, setting: Setting) -> Iterator[str]:
    if not setting.each:
        yield f"{name} = {toml(setting.value)}"
        return
    yield f"{name} = ["
    for item in setting.value:
        yield f"    {toml(item)},  # {' '.join(clean(setting.each[item]).split())}"
    yield "]"


def _comment(text: str) -> Iterator[str]:
    yield from textwrap.wrap(
        clean(text), 96, initial_indent="# ", subsequent_indent="# ", break_long_words=False, break_on_hyphens=False
    )


def toml(value: Any) -> str:
    """Write a value as TOML does."""
    if isinstance(value, Candidate):
        return _candidate(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(toml(item) for item in value)}]"
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{toml(name)} = {toml(item)}" for name, item in value.items()) + " }"
    return repr(value)


def _candidate(value: Candidate) -> str:
    if not value.name and not value.params:
        return toml(value.estimator)
    named = {"name": value.name} if value.name else {}
    return toml({**named, "class": value.estimator, "params": value.params})
