"""Say what a run would decide on a day, and change nothing."""

from __future__ import annotations

from datetime import datetime

from rehone import data, trigger
from rehone.config import Config
from rehone.pipeline.asking import held_back, waiting
from rehone.pipeline.evidence import Champion, Look, attempts, findings, look, read_champion
from rehone.pipeline.feeds import Feeds
from rehone.pipeline.holding import held
from rehone.pipeline.maturing import open_matured
from rehone.pipeline.taking import trailing_window
from rehone.pipeline.words import acting, all_of, unreadable
from rehone.records import Check, Deployment, DeploymentState, Preview, Profile, Window
from rehone.runlog import RunLog, refuse_lost_store
from rehone.runlog.resets import last_reset
from rehone.store import Store, has_store


def preview(config: Config, *, as_of: datetime, now: datetime, frame: object | None = None) -> Preview:
    """Say what a run would decide on that day, and change nothing.

    The champion is the version that was live on that day by the deployment log. Where a run would
    train, its window is judged as the run would, in streamed aggregates: no row is kept. `now` is
    the time on the clock: what is dated later than that is in the future on any day. A lazy `frame`
    stands for data.source.

    Raises:
        DataError: the data cannot be read.
    """
    champion: Champion | None = None
    lines = RunLog.of(config).lines()
    refuse_lost_store(config, lines)
    if has_store(config):
        store = Store.of(config)
        champion = read_champion(store, _live_on(store, as_of), config)
    if champion and champion.why_not:
        return _no_preview(config, as_of, champion)
    config, feeds, maturity = open_matured(config, as_of, champion=champion is not None, frame=frame)
    view = Look(
        config=config,
        feeds=feeds,
        champion=champion,
        as_of=as_of,
        attempts=attempts(lines, as_of, last_reset(config)),
        maturity=maturity,
    )
    evidence = held(view, look(view), RunLog.of(config))
    decision = trigger.decide(evidence, config.trigger, config.predictions)
    found = findings(feeds, config, as_of, champion)
    broken = (*acting(found), *decision.incidents)
    said = all_of("data incident", broken) if broken else decision.reason
    wanted = decision.kind is not None and not broken
    for other in waiting(RunLog.of(config)) if wanted else ():
        wanted, said = False, held_back(decision.reason, other)
    if wanted:
        window = trailing_window(config, as_of)
        found = _judged(feeds, config, window, now=now, reference=champion.profile if champion else None, known=found)
        if broken := acting(found):
            wanted, said = False, all_of(f"the data in {window} cannot be learned from", broken)
    return Preview(
        project=config.project.name,
        as_of=as_of,
        champion=champion.id if champion else None,
        would_train=wanted,
        sentence=said,
        evidence=evidence,
        trigger=decision,
        data_checks=found,
    )


def _judged(
    feeds: Feeds, config: Config, window: Window, *, now: datetime, reference: Profile | None, known: tuple[Check, ...]
) -> tuple[Check, ...]:
    """Judge the rows that a challenger would learn from, after what is known already."""
    facts = feeds.learn.facts(window, feeds.learn.features(), now=now, profile=reference)
    checks = (*feeds.warnings, *data.validate(facts, config.data, reference))
    again = {(check.name, check.subject) for check in checks}
    return (*(check for check in known if (check.name, check.subject) not in again), *checks)


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
