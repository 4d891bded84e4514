"""Know the order of the stages: the one place that does.

Each stage returns `None` to go on, or the ending of the run and the sentence that says why.
Facts are noted in the draft before the next stage can explode.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime

import rehone
from rehone import artifact, data, deploy, train, trigger
from rehone.config import Config
from rehone.errors import Locked, RehoneError, StoreError
from rehone.pipeline import clearing, figures, forecasts, maturing, recalibrating
from rehone.pipeline.asking import ask, held_back, settle, waiting
from rehone.pipeline.draft import Draft
from rehone.pipeline.evidence import Look, attempts, findings, look, read_champion
from rehone.pipeline.holding import held
from rehone.pipeline.judging import judge
from rehone.pipeline.probing import probe
from rehone.pipeline.promoting import promote
from rehone.pipeline.publishing import publish
from rehone.pipeline.scene import Door, Ending, Scene
from rehone.pipeline.shadowing import shadow
from rehone.pipeline.taking import columns_of, history_window, take, trailing_window
from rehone.pipeline.words import acting, all_of, resting, set_back, unreadable
from rehone.records import (
    CheckStatus,
    RunRecord,
    RunStatus,
    short_id,
)
from rehone.runlog import RunLog, refuse_lost_store
from rehone.runlog.resets import last_reset
from rehone.store import Store

log = logging.getLogger(__name__)

Step = tuple[str, Callable[[Scene], Ending | None]]


def run(config: Config, door: Door) -> RunRecord:
    """Run the whole story once and return its record, which is on disk by then.

    Raises:
        StoreError: the record itself cannot be written.
        KeyboardInterrupt, SystemExit: after they were recorded.
    """
    return begin(config, door, lambda scene: conclude(scene, go(scene, steps(config))))


def begin(config: Config, door: Door, tell: Callable[[Scene], RunRecord]) -> RunRecord:
    """Begin a run, let `tell` make its stages under the run lock, and record whatever ends it.

    Raises:
        StoreError: the record itself cannot be written.
        KeyboardInterrupt, SystemExit: after they were recorded.
    """
    runlog = RunLog.of(config)
    draft = Draft(_opening(config, door), runlog, clock=door.clock, listen=door.listen)
    try:
        refuse_lost_store(config, runlog.lines())
        store = Store.of(config, make=True)
        with store.lock(door.run_id):
            _stand_alone(config, door, store, draft, runlog)
            draft.begin()
            return tell(Scene(config, door, store, runlog, draft))
    except Locked as error:
        return draft.end(RunStatus.SKIPPED, str(error))
    except RehoneError as error:
        return draft.fail(error)
    except Exception as error:  # a run may not escape unrecorded
        log.exception("run ended unexpectedly", extra={"run_id": door.run_id})
        return draft.fail(error)
    except BaseException as error:
        draft.fail(error)
        raise


def _stand_alone(config: Config, door: Door, store: Store, draft: Draft, runlog: RunLog) -> None:
    """Refuse to begin beside a run that rests, but not to heal: what a killed stage of it put on trial is live."""
    settle(store, runlog, clock=door.clock)
    try:
        refuse_overlap(runlog, now=door.clock())
    except Locked:
        draft.note(deployment_checks=deploy.heal(store, policy=config.deploy, clock=door.clock))
        raise


def refuse_overlap(runlog: RunLog, *, now: datetime, own: str = "") -> None:
    """Close the records of killed runs, and refuse to go on beside a run that rests between two stages.

    One that waits for a person keeps nobody from looking.

    Raises:
        Locked: there is such a run, and it is not `own`.
    """
    runlog.close_orphans(now=now)
    for other in runlog.unfinished():
        if other.run_id != own and other.approval is None:
            raise Locked(resting(other))


def steps(config: Config) -> tuple[Step, ...]:
    """Return the stages of a run in their order."""
    return (
        ("look", _look),
        ("decide", _decide),
        ("validate", _validate),
        *((("probe", probe),) if config.train.probe != "off" else ()),
        ("train", _train),
        ("judge", judge),
        ("publish", publish),
        *((("shadow", shadow),) if config.shadow.seconds else ()),
        ("deploy", promote) if config.deploy.approval == "auto" else ("ask", ask),
    )


_NO_ENDING = (RunStatus.FAILED, "the last stage gave no ending")


def conclude(scene: Scene, ending: Ending | None) -> RunRecord:
    """Close the record with its ending; that of a run that waits for a person stays open."""
    if ending is None and scene.draft.record.waits:
        return scene.draft.record
    clearance = clearing.foreseen(scene)
    record = scene.draft.end(*(ending or _NO_ENDING))
    clearing.carry_out(clearance, record)
    return record


def go(scene: Scene, stages: Iterable[Step], finished: Callable[[str], None] = lambda _: None) -> Ending | None:
    """Make stages one after the other until one ends the run; `finished` is told each that did not."""
    for name, stage in stages:
        with scene.draft.stage(name):
            ending = stage(scene)
            if ending:
                scene.draft.say(f"the run ends here: {ending[0].value.replace('_', ' ')}")
        if ending:
            return ending
        finished(name)  # once its facts are in the record on disk
    return None


def _look(scene: Scene) -> Ending | None:
    config, draft = scene.config, scene.draft
    healed = deploy.heal(scene.store, policy=config.deploy, clock=scene.door.clock)
    draft.note(deployment_checks=healed)
    scene.head = scene.store.head()
    scene.champion = read_champion(scene.store, scene.head, config)
    draft.note(champion=scene.champion.id if scene.champion else None)
    if scene.champion and scene.champion.why_not:
        return RunStatus.FAILED, unreadable(scene.champion)
    if scene.champion and scene.champion.version and scene.champion.version.manifest.as_of > scene.door.as_of:
        return RunStatus.FAILED, set_back(scene.champion.version.manifest.as_of, scene.door.as_of)
    scene.config, scene.feeds, maturity = maturing.open_matured(
        config, scene.door.as_of, champion=scene.champion is not None, frame=scene.door.frame
    )
    config = scene.config
    found = findings(scene.feeds, config, scene.door.as_of, scene.champion)
    draft.note(data_checks=found)
    if broken := acting(found):
        return RunStatus.FAILED, all_of("data incident", broken)
    view = replace(_view(config, scene, forced=scene.door.force), maturity=maturity, show=figures.shown(scene))
    evidence = held(view, look(view), scene.runlog)
    draft.note(realised=forecasts.realised(scene))
    draft.note(evidence=evidence, data_checks=findings(scene.feeds, config, scene.door.as_of, scene.champion))
    if scene.champion is None:
        draft.say(f"no champion yet; {scene.source.extent}{maturing.said(maturity)}")
    else:
        rows = "predictions" if evidence.origin == "served" else "rows"
        draft.say(
            f"champion {short_id(scene.champion.id)}; {scene.source.extent}, {evidence.rows:,} {rows} in the current window"
            + maturing.said(maturity)
            + forecasts.said(draft.record.realised)
        )
    return None


def _view(config: Config, scene: Scene, *, forced: bool) -> Look:
    return Look(
        config=config,
        feeds=scene.feeds,
        champion=scene.champion,
        as_of=scene.door.as_of,
        attempts=attempts(scene.runlog.lines(), scene.door.as_of, last_reset(config)),
        forced=forced,
    )


def _decide(scene: Scene) -> Ending | None:
    evidence = scene.draft.record.evidence
    if evidence is None:
        raise StoreError("the evidence was not recorded")
    scene.decision = trigger.decide(evidence, scene.config.trigger, scene.config.predictions)
    scene.draft.note(trigger=scene.decision)
    if scene.decision.blocked:
        return RunStatus.FAILED, all_of("data incident", scene.decision.incidents)
    if scene.decision.kind is None:
        return RunStatus.SKIPPED, scene.decision.reason
    for other in waiting(scene.runlog):
        return RunStatus.SKIPPED, held_back(scene.decision.reason, other)
    scene.draft.say(f"{scene.decision.kind.value}: {scene.decision.reason}")
    return None


def _validate(scene: Scene) -> Ending | None:
    config, draft = scene.config, scene.draft
    window = trailing_window(config, scene.door.as_of)
    reference = scene.champion.profile if scene.champion else None
    scene.features = scene.source.features()
    facts = scene.source.facts(window, scene.features, now=scene.door.clock(), profile=reference)
    checks = (*scene.feeds.warnings, *data.validate(facts, config.data, reference))
    draft.note(data_checks=checks)
    if broken := acting(checks):
        return RunStatus.FAILED, all_of(f"the data in {window} cannot be learned from", broken)
    read = history_window(config, scene.source, window)
    draft.note(data=scene.source.describe(read))
    slices = tuple(name for name in config.gate.slices if name in scene.source.columns)
    taken = take(config, scene.source, read, window, columns_of(config, (*scene.features, *slices)))
    scene.rows, scene.split, scene.population = taken.rows, taken.split, taken.population
    scene.feeds.release()
    draft.note(split=scene.split)
    warned = sum(check.status is CheckStatus.WARN for check in checks)
    draft.say(
        f"{scene.split.train_rows:,} rows to learn from, {scene.split.holdout_rows:,} held out "
        f"({scene.split.holdout_positives:,} positives) from {_day(scene.split.holdout.start)} on"
        + (f"; brought to learn from: {scene.split.drawn.sentence}" if scene.split.drawn else "")
        + (f"; {warned} warning{'s' if warned > 1 else ''}" if warned else "")
    )
    return None


def _train(scene: Scene) -> Ending | None:
    config, draft = scene.config, scene.draft
    anew = ""
    if recalibrating.wanted(scene):
        anew = recalibrating.recalibrated(scene)
        if not anew:
            return None
    learn = scene.learned
    contract = artifact.learn_contract(
        learn, scene.features, label=config.data.label, categorical=config.data.categorical
    )
    rows = train.TrainingRows(
        frame=learn,
        trailing_start=trailing_window(config, scene.door.as_of).start,
        contract=contract,
        folder=config.cache_path,
    )
    scene.search = train.search(
        rows,
        config.train,
        seed=config.project.seed,
        progress=lambda p: draft.progress("train", p.done, p.total, p.what),
    )
    draft.note(candidates=scene.search.candidates, winner=scene.search.winner)
    winner = scene.search.winner
    newest = winner.newest_roc_auc
    draft.say(
        (f"trained anew, not recalibrated: {anew}; " if anew else "")
        + f"{winner.name} on {winner.window} rows {_lead(len(scene.search.candidates))}: "
        f"cross-validated ROC-AUC {winner.cv_roc_auc_mean:.4f} ± {winner.cv_roc_auc_std:.4f}"
        + ("" if newest is None else f", {newest:.4f} on the newest rows, which decides")
        + "".join(f"; {note}" for note in scene.search.notes)
    )
    return None


def _opening(config: Config, door: Door) -> RunRecord:
    return RunRecord(
        run_id=door.run_id,
        project=config.project.name,
        as_of=door.as_of,
        started_at=door.clock(),
        seed=config.project.seed,
        host=door.host,
        pid=door.pid,
        rehone_version=rehone.__version__,
        git_commit=door.git_commit,
        config_sha256=config.sha256,
        config=config.as_recorded(),
    )


def _lead(candidates: int) -> str:
    return f"leads {candidates} candidates" if candidates > 1 else "is the only candidate"


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d}"
