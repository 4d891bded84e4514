"""Send what waits: not twice within a time, not at night unless it is urgent, and again what was not taken."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from rehone import alert
from rehone.config import Config
from rehone.integrations.alerts.address import Address, Letter, seconds_of, send_all
from rehone.integrations.alerts.chats import chats
from rehone.integrations.alerts.heartbeat import NAME, heartbeats_of
from rehone.integrations.alerts.journal import Journal, Notice, Sent, State, left_out
from rehone.integrations.alerts.webhook import Webhook
from rehone.records import Alert

Clock = Callable[[], datetime]


def addresses_of(config: Config, clock: Clock) -> tuple[Address, ...]:
    """Return everybody that `[alerts]` names; one that cannot be used is there too, and says why when it is sent to."""
    own, found = config.alerts, list[Address]()
    if own.apprise is not None:
        found += chats(config.root / own.apprise)
    if own.webhook is not None:
        secret = config.root / own.webhook_secret_file if own.webhook_secret_file else None
        found.append(Webhook(own.webhook, secret, seconds_of(config), clock))
    return tuple(found)


def letter_of(notice: Notice, config: Config) -> Letter:
    """Return what is sent of an alert."""
    base, run = config.alerts.dashboard_url, notice.alert.run_id
    path = f"/run/{run}" if run else "/"
    return Letter(id=notice.id, alert=notice.alert, link=base.rstrip("/") + path if base else None)


class Post:
    """What sends the alerts of one project, once; an address that failed is not tried again by the same post."""

    def __init__(self, config: Config, clock: Clock) -> None:
        self.journal = Journal(config)
        self._config = config
        self._clock = clock
        self._down: dict[str, str] = {}
        self._addresses: tuple[Address, ...] | None = None

    def keep(self, alerts: Sequence[Alert], subject: str) -> None:
        """Write down what a subject gives to tell, unless it was before; an older alert of the same trouble goes."""
        for one in alerts:
            if self.journal.find(subject, one.key) is not None:
                continue
            for older in self.journal.waiting():
                if older.alert.key == one.key:
                    self.journal.note(left_out(older, f"told anew by the alert of {_short(self._clock())} UTC"))
            self.journal.keep(one, subject, self._clock())

    def drop(self, subject: str, why: str) -> None:
        """Leave out what waits of a subject."""
        for notice in self.journal.waiting():
            if notice.subject == subject:
                self.journal.note(left_out(notice, why))

    def send(self) -> None:
        """Try everything that waits, oldest first."""
        for notice in self.journal.waiting():
            self._try(notice)
        self.journal.prune()

    def _try(self, notice: Notice) -> Notice:
        now, repeat = self._clock(), timedelta(hours=self._config.alerts.repeat_hours)
        before = self.journal.of_key(notice.alert.key, now - repeat)
        told = {sent.address for other in before for sent in other.sent if sent.at > now - repeat}
        left = [one for one in self._open() if one.name not in told | {sent.address for sent in notice.sent}]
        if not left:
            return self.journal.note(_settled(notice, before))
        if (until := self._quiet(notice, now)) is not None:
            return self.journal.note(replace(notice, held=until, error=""))
        return self._send(notice, left)

    def _open(self) -> tuple[Address, ...]:
        if self._addresses is None:
            self._addresses = addresses_of(self._config, self._clock)
        return self._addresses

    def _quiet(self, notice: Notice, now: datetime) -> str | None:
        own = self._config.alerts
        until = alert.quiet_until(now, own.quiet_hours, own.timezone)
        if until is None or notice.alert.kind in own.urgent:
            return None
        return f"quiet hours until {until.astimezone(ZoneInfo(own.timezone)):%Y-%m-%d %H:%M} {own.timezone}"

    def _send(self, notice: Notice, left: Sequence[Address]) -> Notice:
        """Send to those that are left; what was noted first is sent again after a crash, under the same id."""
        trying = self.journal.note(replace(notice, attempts=notice.attempts + 1, held="", error="being sent"))
        ready = [one for one in left if one.name not in self._down]
        found = send_all(ready, letter_of(notice, self._config), seconds_of(self._config))
        self._down |= {name: why for name, why in found.items() if why}
        missing = {one.name: self._down[one.name] for one in left if one.name in self._down}
        at = self._clock()
        sent = (*notice.sent, *(Sent(address=name, at=at) for name, why in found.items() if not why))
        error = "; ".join(f"{name}: {why}" for name, why in missing.items())
        state, when = (State.WAITING, None) if missing else (State.SENT, at)
        return self.journal.note(replace(trying, state=state, sent=sent, sent_at=when, error=error))


def trial(config: Config, clock: Clock) -> tuple[Notice, ...]:
    """Send a test alert to every address, whatever the hour, and return for each whether it took it; nothing is kept.

    The address of the heartbeat is asked for as after a run.
    """
    now = clock()
    one = alert.trial(config.project.name, now)
    notice = Notice(id=f"msg_{now:%Y%m%dT%H%M%S%fZ}-test", alert=one, subject="test", kept_at=now, attempts=1)
    addresses = (*addresses_of(config, clock), *heartbeats_of(config))
    found = send_all(addresses, letter_of(notice, config), seconds_of(config))
    alive = replace(notice, alert=alert.sign_of_life(config.project.name, now))
    return tuple(_tried(alive if name == NAME else notice, name, why, clock()) for name, why in found.items())


def _tried(notice: Notice, name: str, why: str, at: datetime) -> Notice:
    notice = replace(notice, id=f"{notice.id}-{name}")
    if why:
        return replace(notice, error=f"{name}: {why}")
    return replace(notice, state=State.SENT, sent=(Sent(address=name, at=at),), sent_at=at)


def _settled(notice: Notice, before: Sequence[Notice]) -> Notice:
    """Return an alert that every address has, of itself or of another one of the same trouble."""
    others = [sent.at for other in before for sent in other.sent if other.id != notice.id]
    if not others:
        return replace(notice, state=State.SENT, sent_at=max(s.at for s in notice.sent), held="", error="")
    return left_out(notice, f"told before, {_short(max(others))} UTC")


def _short(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M}"
