"""Say what a run would decide on a day, and change nothing."""

from __future__ import annotations

from datetime import datetime

from rehone import trigger
from rehone.config import Config
from rehone.pipeline.evidence import Champion, Look, attempts, findings, look, read_champion, refuse_lost_store
from rehone.pipeline.feeds import open_feeds
from rehone.pipeline.words import acting, all_of, unreadable
from rehone.records import Deployment, DeploymentState, Preview
from rehone.runlog import RunLog
from rehone.store import Store


def preview(config: Config, *, as_of: datetime) -> Preview:
    """Say what a run would decide on that day, and change nothing.

    The champion is the version that was live on that day by the deployment log.
    """
    champion: Champion | None = None
    lines = RunLog(config.runs_path).lines()
    refuse_lost_store(config.store_path, lines)
    if config.store_path.exists():
        store = Store(config.store_path)
        champion = read_champion(store, _live_on(store, as_of), config)
    if champion and champion.why_not:
        return _no_preview(config, as_of, champion)
    feeds = open_feeds(config, as_of, champion=champion is not None)
    evidence = look(Look(config=config, feeds=feeds, champion=champion, as_of=as_of, attempts=attempts(lines, as_of)))
    decision = trigger.decide(evidence, config.trigger, config.predictions)
    found = findings(feeds, config, as_of, champion)
    broken = (*acting(found), *decision.incidents)
    said = all_of("data incident", broken) if broken else decision.reason
    return Preview(
        project=config.project.name,
        as_of=as_of,
        champion=champion.id if champion else None,
        would_train=decision.kind is not None and not broken,
        sentence=said,
        evidence=evidence,
        trigger=decision,
        data_checks=found,
    )


def _no_preview(config: Config, as_of: datetime, champion: Champion) -> Preview:
    return Preview(
        project=config.project.name,
        as_of=as_of,
        champion=champion.id,
        would_train=False,
        sentence=unreadable(champion),
        evidence=None,
        trigger=None,
    )


def _live_on(store: Store, as_of: datetime) -> Deployment | None:
    then = [d for d in store.log() if (d.as_of or d.at) <= as_of and d.state is DeploymentState.CONFIRMED]
    return then[-1] if then else None
