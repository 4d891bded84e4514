"""Name the keys of what people see: the pipeline's health, alerts, metrics and the dashboard."""

from __future__ import annotations

import re
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from rehone.config.base import Positive, Section, Share, Zone

AlertName = Literal[
    "failed",
    "rolled_back",
    "rejected",
    "inconclusive",
    "deployed",
    "approval",
    "breaker",
    "gate_failures",
    "declines",
    "false_alarms",
    "stale",
    "regret",
]
_BLANK = re.compile(r"[\s\x00-\x1f\x7f]")
_USER = re.compile(r"([^/]*//)?[^/?#]*@")
_QUIET = re.compile(r"([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d")


def host_alone(address: str | None) -> str | None:
    """Return an address with all that follows its host left out; done twice, it is the same."""
    if address is None:
        return None
    split = urlsplit(address)
    rest = split.path.strip("/") or split.query or split.fragment
    return f"{split.scheme}://{split.netloc}/..." if rest else address


def _is_http(address: str) -> bool:
    try:
        split = urlsplit(address)
        return (
            split.scheme in ("http", "https")
            and bool(split.hostname)
            and split.port != 0
            and not _BLANK.search(address)
        )
    except ValueError:  # brackets that do not close, or a port that is none
        return False


class Health(Section):
    """When the pipeline's own figures are bad enough to say so."""

    last_runs: int = Field(20, ge=1, description="newest judged runs that the gate failure share is counted over")
    max_gate_failure_share: Share | None = Field(
        0.2, description='share of judged challengers that the gate may refuse before it is said; "off" for never'
    )
    declines: int | None = Field(
        3,
        ge=2,
        description='retrains in a row that each went live with a smaller ROC-AUC before it is said; "off" for never',
    )


class Alerts(Section):
    """Who is told when something happened; an alert that cannot be sent never changes the run, and is kept for later."""

    apprise: str | None = Field(
        None,
        description="Apprise configuration file (text or YAML) with the addresses to write to: mail, Slack, Teams, PagerDuty and a hundred more",
    )
    webhook: str | None = Field(None, description="address that each alert is posted to as JSON")
    webhook_secret_file: str | None = Field(
        None, description="file of the secret that signs each post to alerts.webhook, as Standard Webhooks lays down"
    )
    heartbeat: str | None = Field(
        None,
        description="address that is asked for (GET) after each run that did not fail, so that a service such as Healthchecks tells you when none comes",
    )
    on: tuple[AlertName, ...] = Field(
        (
            "failed",
            "rolled_back",
            "rejected",
            "inconclusive",
            "approval",
            "breaker",
            "gate_failures",
            "declines",
            "false_alarms",
            "stale",
            "regret",
        ),
        description="what is told of",
    )
    urgent: tuple[AlertName, ...] = Field(
        ("failed", "rolled_back", "breaker"), description="what is told of in quiet hours too"
    )
    quiet_hours: str | None = Field(None, description='hours in which only what is urgent is sent, as "22:00-07:00"')
    timezone: Zone = Field("UTC", description="zone of quiet_hours")
    repeat_hours: Positive = Field(24, description="time in which the same trouble is told of only once")
    dashboard_url: str | None = Field(None, description="address of the dashboard, which alerts then link to")

    @field_validator("quiet_hours")
    @classmethod
    def _two_times(cls, value: str | None) -> str | None:
        if value is not None and not _QUIET.fullmatch(value):
            raise ValueError(f'quiet_hours {value!r} are no two times: write them as "22:00-07:00"')
        if value is not None and len(set(value.split("-"))) == 1:
            raise ValueError(f"quiet_hours {value!r} end when they begin, so nothing would be quiet: name two times")
        return value

    @model_validator(mode="after")
    def _asked_over_http(self) -> Alerts:
        """Refuse what is no address, as a whole section: a value that is wrong would be repeated, and is a secret."""
        for key in ("webhook", "heartbeat"):
            value = getattr(self, key)
            if value is not None and not _is_http(value):
                raise ValueError(f"{key} is no address of HTTP: write one that begins with https:// or http://")
            if value is not None and "@" in urlsplit(value).netloc:
                raise ValueError(f"{key} holds a user, who is not sent: write the address without what stands before @")
        return self

    @model_validator(mode="after")
    def _signs_something(self) -> Alerts:
        if self.webhook_secret_file and not self.webhook:
            raise ValueError("webhook_secret_file signs posts to webhook: name that address")
        return self

    @property
    def there(self) -> bool:
        """Whether anybody is told in words; a heartbeat has none."""
        return self.apprise is not None or self.webhook is not None


class Metrics(Section):
    """Where figures of runs go, in Prometheus' format."""

    textfile: str | None = Field(
        None,
        description="file for the textfile collector of node_exporter, such as /var/lib/node_exporter/my-model.prom",
    )
    pushgateway: str | None = Field(None, description="address of a Pushgateway, such as http://127.0.0.1:9091")
    pushgateway_user: str | None = Field(None, description="user of a Pushgateway that asks for a password")
    pushgateway_password_file: str | None = Field(None, description="file of that password, and of nothing else")

    @model_validator(mode="after")
    def _who_pushes(self) -> Metrics:
        user, file = self.pushgateway_user, self.pushgateway_password_file
        if self.pushgateway is not None and _USER.match(self.pushgateway):
            raise ValueError("pushgateway holds a user: set pushgateway_user and pushgateway_password_file instead")
        if (user is None) is not (file is None):
            raise ValueError("pushgateway_user and pushgateway_password_file belong together: set both, or none")
        if user is not None and self.pushgateway is None:
            raise ValueError("pushgateway_user pushes to pushgateway: name that address")
        if user is not None and (not user or ":" in user or not user.isprintable()):
            raise ValueError("pushgateway_user is empty or holds a colon or a line break, which no user of HTTP has")
        return self

    @property
    def there(self) -> bool:
        """Whether figures go anywhere."""
        return self.textfile is not None or self.pushgateway is not None


class Dashboard(Section):
    """The pages of `rehone dashboard`."""

    host: str = Field("127.0.0.1", description="address to listen on; any but this machine's own needs token_file")
    port: int = Field(8010, ge=0, le=65535, description="port to listen on; 0 takes a free one")
    token_file: str | None = Field(
        None, description="file of the token that opens the pages elsewhere, and that approves a challenger on them"
    )
    refresh_seconds: Positive = Field(3, description="how often an open page looks for new runs")
