"""Say whether a moment lies in the quiet hours, and when these end."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo


def quiet_until(now: datetime, hours: str | None, timezone: str) -> datetime | None:
    """Return when the quiet hours that `now` lies in are over, in UTC; `None` outside of them.

    `hours` are two times of the wall clock in `timezone`, such as "22:00-07:00", which is over midnight. They run from
    the first time to the second one, also in the night in which clocks change: then they are an hour shorter or
    longer. A time that this night does not have is the moment at which it would have been; of one that it has twice,
    the first counts.
    """
    if hours is None:
        return None
    begin, end = (time.fromisoformat(text) for text in hours.split("-"))
    zone = ZoneInfo(timezone)
    today = now.astimezone(zone).date()
    for day in (today - timedelta(days=1), today):
        last = day if begin < end else day + timedelta(days=1)
        until = _moment(last, end, zone)
        if _moment(day, begin, zone) <= now < until:
            return until
    return None


def _moment(day: date, at: time, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, at, zone).astimezone(UTC)
