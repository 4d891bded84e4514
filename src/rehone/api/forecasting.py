"""Hold what the gate promised of each promotion against what came true."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from rehone.api.door import When, Where, config_of, moment
from rehone.config import Config
from rehone.errors import RehoneError
from rehone.records import Check, CheckStatus, Deployment, Realised, TrackRecord, short_id
from rehone.runlog import RunLog
from rehone.runlog.told import parts_of
from rehone.store import Store


def forecasts(project: Where = ".", *, as_of: When = None) -> TrackRecord:
    """Return what the gate promised of each promotion and what came true, and how well its promises held.

    What runs have recorded is taken as it is; open ones are measured on the data there are now, and
    nothing is written.
    """
    from rehone import pipeline

    config = config_of(project)
    return pipeline.outlook(config, as_of=moment(as_of, config))


def regrets(config: Config, store: Store, live: Deployment | None) -> tuple[Check, ...]:
    """Say that the version which is live turned out worse than the one it replaced, with the way back."""
    if live is None or live.version is None:
        return ()
    since = _went_live(store, live.version)
    lines = [line for line in RunLog.of(config).lines() if line.started_at >= since]
    records = parts_of(config, lines, _Told)
    found = {one.run_id: one for record in records for one in record.realised}
    return tuple(_regret(one, store) for one in found.values() if one.regret and one.version == live.version)


@dataclass(frozen=True, slots=True)
class _Told:
    """The part of a record that says what came of promotions."""

    realised: tuple[Realised, ...] = ()


def _went_live(store: Store, version: str) -> datetime:
    """Return when the live version was last put there: nobody can have regretted it before."""
    records = store.log()
    at = records[-1].at
    for record in reversed(records):
        if record.version != version:
            break
        at = record.at
    return at


def _regret(one: Realised, store: Store) -> Check:
    return Check(
        name="regret",
        subject=one.run_id,
        status=CheckStatus.WARN,
        value=one.realised,
        limit=0.0,
        baseline=one.predicted,
        interval=one.interval,
        n=one.n,
        positives=one.positives,
        detail=one.detail,
        remedy=_way_back(one, store),
    )


def _way_back(one: Realised, store: Store) -> str:
    try:
        store.version(one.replaced)
    except RehoneError:
        return f"version {short_id(one.replaced)} is not in the store any more: `rehone run --force` trains another"
    return f"`rehone rollback --to {short_id(one.replaced)}` puts it back"
