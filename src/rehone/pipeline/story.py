"""Know the order of the stages: the one place that does.

Each stage returns `None` to go on, or the ending of the run and the sentence that says why.
Facts are noted in the draft before the next stage can explode.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np
import polars as pl

import rehone
from rehone import artifact, codec, data, deploy, gate, profile, train, trigger
from rehone.config import Config
from rehone.data import Source
from rehone.errors import Conflict, Locked, RehoneError, StoreError
from rehone.pipeline.draft import Draft, Listen
from rehone.pipeline.evidence import Champion, Look, attempts, days_of, look, read_champion
from rehone.records import (
    Check,
    CheckStatus,
    Contract,
    Deployment,
    DeploymentState,
    Manifest,
    Outcome,
    Preview,
    Profile,
    RunRecord,
    RunStatus,
    Split,
    TriggerDecision,
    Verdict,
    Window,
    short_id,
)
from rehone.runlog import Line, RunLog
from rehone.store import Store

log = logging.getLogger(__name__)

Ending = tuple[RunStatus, str]
JUDGED_AGAIN = 3
COARSE = 0.05


@dataclass(frozen=True, kw_only=True)
class Door:
    """What only the outside knows: the clock, who asks, where, and who listens."""

    as_of: datetime
    clock: Callable[[], datetime]
    run_id: str
    actor: str
    host: str
    pid: int
    git_commit: str | None = None
    force: bool = False
    listen: Listen = field(default=lambda _: None)


@dataclass
class Scene:
    """What the stages hand on to each other."""

    config: Config
    door: Door
    store: Store
    runlog: RunLog
    draft: Draft
    source: Source = field(init=False)
    head: Deployment | None = None
    champion: Champion | None = None
    decision: TriggerDecision = field(init=False)
    rows: pl.DataFrame = field(init=False)
    split: Split = field(init=False)
    search: train.Search = field(init=False)
    verdict: Verdict = field(init=False)
    version: str = ""


def run(config: Config, door: Door) -> RunRecord:
    """Run the whole story once and return its record, which is on disk by then.

    Raises:
        StoreError: the record itself cannot be written.
        KeyboardInterrupt, SystemExit: after they were recorded.
    """
    runlog = RunLog(config.runs_path)
    draft = Draft(_opening(config, door), runlog, clock=door.clock, listen=door.listen)
    try:
        store = Store.create(config.store_path)
        with store.lock(door.run_id):
            runlog.close_orphans(now=door.clock())
            draft.begin()
            return _story(Scene(config, door, store, runlog, draft))
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


def _story(scene: Scene) -> RunRecord:
    stages: tuple[tuple[str, Callable[[Scene], Ending | None]], ...] = (
        ("look", _look),
        ("decide", _decide),
        ("validate", _validate),
        ("train", _train),
        ("judge", _judge),
        ("publish", _publish),
        ("deploy", _deploy),
    )
    for name, stage in stages:
        with scene.draft.stage(name):
            ending = stage(scene)
            if ending:
                scene.draft.say(f"ends the run: {ending[0].value}")
        if ending:
            break
    return scene.draft.end(*(ending or (RunStatus.FAILED, "the last stage gave no ending")))


def _look(scene: Scene) -> Ending | None:
    config, draft = scene.config, scene.draft
    healed = deploy.heal(scene.store, policy=config.deploy, clock=scene.door.clock)
    draft.note(deployment_checks=healed)
    scene.head = scene.store.head()
    scene.champion = read_champion(scene.store, scene.head, config)
    draft.note(champion=scene.champion.id if scene.champion else None)
    if scene.champion and scene.champion.why_not:
        return RunStatus.FAILED, _unreadable(scene.champion)
    if scene.champion and scene.champion.version and scene.champion.version.manifest.as_of > scene.door.as_of:
        return RunStatus.FAILED, _set_back(scene.champion.version.manifest.as_of, scene.door.as_of)
    scene.source = data.open_source(config.data, config.root, cache=config.cache_path, as_of=scene.door.as_of)
    findings = _findings(scene.source, config, scene.door.as_of, scene.champion)
    draft.note(data_checks=findings)
    if broken := _acting(findings):
        return RunStatus.FAILED, _all_of("data incident", broken)
    evidence = look(_view(config, scene, forced=scene.door.force))
    draft.note(evidence=evidence)
    live = f"champion {short_id(scene.champion.id)}" if scene.champion else "no champion yet"
    draft.say(f"{live}; {len(scene.source.files):,} files, {evidence.rows:,} rows in the current window")
    return None


def _findings(source: Source, config: Config, as_of: datetime, champion: Champion | None) -> tuple[Check, ...]:
    """Return what is known of the feed before any row is read: broken files, lost columns, how old it is."""
    span = source.span()
    fresh = data.freshness(span.end if span else None, as_of, config.data)
    lost = data.missing_features(source.features(), champion.profile if champion else None, source.columns)
    return (*source.findings, *lost, *((fresh,) if fresh else ()))


def _view(config: Config, scene: Scene, *, forced: bool) -> Look:
    return Look(
        config=config,
        source=scene.source,
        champion=scene.champion,
        as_of=scene.door.as_of,
        attempts=attempts(scene.runlog.lines(), scene.door.as_of),
        forced=forced,
    )


def _decide(scene: Scene) -> Ending | None:
    evidence = scene.draft.record.evidence
    if evidence is None:
        raise StoreError("the evidence was not recorded")
    scene.decision = trigger.decide(evidence, scene.config.trigger)
    scene.draft.note(trigger=scene.decision)
    if scene.decision.blocked:
        return RunStatus.FAILED, _all_of("data incident", scene.decision.incidents)
    if scene.decision.kind is None:
        return RunStatus.SKIPPED, scene.decision.reason
    scene.draft.say(f"{scene.decision.kind.value}: {scene.decision.reason}")
    return None


def _validate(scene: Scene) -> Ending | None:
    config, draft = scene.config, scene.draft
    window = trailing_window(config, scene.door.as_of)
    reference = scene.champion.profile if scene.champion else None
    facts = scene.source.facts(window, scene.source.features(), now=scene.door.clock(), profile=reference)
    checks = data.validate(facts, config.data, reference)
    draft.note(data_checks=checks)
    if broken := _acting(checks):
        return RunStatus.FAILED, _all_of(f"the data in {window} cannot be learned from", broken)
    read = _history(config, scene.source, window)
    draft.note(data=scene.source.describe(read))
    rows = scene.source.mature(scene.source.read(read, _columns(config, scene.source.features())))
    scene.rows = rows.drop_nulls(config.data.label)
    trailing = scene.rows.filter(pl.col("__time__") >= window.start)
    scene.split = train.split(
        trailing["__time__"].dt.replace_time_zone(None).to_numpy(),
        trailing[config.data.label].to_numpy(),
        window=window,
        holdout=config.train.holdout,
    )
    draft.note(split=scene.split)
    warned = sum(check.status is CheckStatus.WARN for check in checks)
    draft.say(
        f"{scene.split.train_rows:,} rows to learn from, {scene.split.holdout_rows:,} held out "
        f"({scene.split.holdout_positives:,} positives) from {_day(scene.split.holdout.start)} on"
        + (f"; {warned} warning{'s' if warned > 1 else ''}" if warned else "")
    )
    return None


def trailing_window(config: Config, as_of: datetime) -> Window:
    """Return the window whose matured rows span `lookback_days`."""
    return Window(as_of - timedelta(days=config.data.lookback_days + config.data.label_delay_days), as_of)


def _history(config: Config, source: Source, window: Window) -> Window:
    if set(config.train.windows) == {"trailing"}:
        return window
    span = source.span()
    start = min(window.start, span.start) if span else window.start
    if config.data.history_days is not None:
        start = max(start, window.end - timedelta(days=config.data.history_days))
    return Window(min(start, window.start), window.end)


def _columns(config: Config, features: tuple[str, ...]) -> tuple[str, ...]:
    named = (config.data.label, config.data.id_column, config.data.entity_column, config.data.label_due_column)
    return tuple(dict.fromkeys((*features, *(name for name in named if name))))


def _train(scene: Scene) -> Ending | None:
    config, draft = scene.config, scene.draft
    learn = scene.rows.filter(pl.col("__time__") < scene.split.holdout.start)
    contract = artifact.learn_contract(
        learn, scene.source.features(), label=config.data.label, categorical=config.data.categorical
    )
    rows = train.TrainingRows(
        frame=learn, trailing_start=trailing_window(config, scene.door.as_of).start, contract=contract
    )
    scene.search = train.search(
        rows,
        config.train,
        seed=config.project.seed,
        progress=lambda p: draft.progress("train", p.done, p.total, p.what),
    )
    draft.note(candidates=scene.search.candidates, winner=scene.search.winner)
    winner = scene.search.winner
    draft.say(
        f"{winner.name} on {winner.window} rows leads {len(scene.search.candidates)} candidates: "
        f"cross-validated ROC-AUC {winner.cv_roc_auc_mean:.4f} ± {winner.cv_roc_auc_std:.4f}"
        + "".join(f"; {note}" for note in scene.search.notes)
    )
    return None


def _judge(scene: Scene) -> Ending | None:
    config = scene.config
    held = scene.rows.filter(pl.col("__time__") >= scene.split.holdout.start)
    challenger = gate.Scored(
        version=None,
        scores=scene.search.predictor.predict_proba(held),
        threshold=scene.search.predictor.threshold,
        train_end=_naive(scene.search.train_end),
    )
    scene.verdict = gate.judge(
        _holdout(scene, held),
        challenger,
        _scored_champion(scene.champion, held),
        config.gate,
        costs=(config.train.cost_false_positive, config.train.cost_false_negative),
    )
    scene.draft.note(verdict=scene.verdict)
    scene.draft.say(scene.verdict.reason)
    return _ending_of(scene.verdict)


def _ending_of(verdict: Verdict) -> Ending | None:
    if verdict.outcome is Outcome.PASS:
        return None
    if verdict.outcome is Outcome.FAIL:
        return RunStatus.REJECTED, verdict.reason
    if verdict.outcome is Outcome.INCONCLUSIVE or verdict.lacks_rows:
        return RunStatus.INCONCLUSIVE, verdict.reason
    return RunStatus.FAILED, verdict.reason


def _holdout(scene: Scene, held: pl.DataFrame) -> gate.Holdout:
    config = scene.config
    learn = scene.rows.filter(pl.col("__time__") < scene.split.holdout.start)
    contract = scene.search.predictor.contract
    blocks, kind = _blocks(config, held)
    return gate.Holdout(
        labels=held[config.data.label].cast(pl.Int8).to_numpy(),
        times=held["__time__"].dt.replace_time_zone(None).to_numpy(),
        mature=np.ones(held.height, dtype=bool),
        blocks=blocks,
        block_kind=kind,
        in_challenger_training=_seen(_marks(scene, held, contract), _marks(scene, learn, contract)),
        in_champion_training=_seen_by_champion(scene, held),
        prior_uses=_prior_uses(scene),
    )


def _blocks(config: Config, held: pl.DataFrame) -> tuple[np.ndarray | None, str]:
    """Number the entity or the day of each row; the gate refuses "entity" where there is none."""
    entity = config.data.entity_column
    if entity is not None and config.gate.blocks in ("auto", "entity"):
        return held[entity].rank("dense").fill_null(0).to_numpy(), "entity"
    return days_of(held), "day"


def _marks(scene: Scene, rows: pl.DataFrame, contract: Contract) -> np.ndarray:
    return artifact.fingerprints(rows, contract, label=scene.config.data.label, id_column=scene.config.data.id_column)


def _seen(marks: np.ndarray, trained_on: np.ndarray | None) -> np.ndarray | None:
    """Say which rows are in a training set; `None` when rows are too coarse to be told apart."""
    if trained_on is None or not trained_on.size:
        return None
    known = np.unique(trained_on)
    coarse = 1 - np.unique(marks).size / marks.size if marks.size else 0.0
    if coarse > COARSE:
        return None
    return np.isin(marks, known)


def _seen_by_champion(scene: Scene, held: pl.DataFrame) -> np.ndarray | None:
    champion = scene.champion
    if champion is None or champion.version is None or champion.fingerprints is None:
        return None
    contract = champion.version.manifest.contract
    if any(name not in held.columns for name in contract.names):
        return None
    return _seen(_marks(scene, held, contract), champion.fingerprints)


def _prior_uses(scene: Scene) -> int:
    held = scene.split.holdout
    return sum(
        line.holdout is not None and line.holdout.start < held.end and held.start < line.holdout.end
        for line in scene.runlog.lines()
    )


def _scored_champion(champion: Champion | None, held: pl.DataFrame) -> gate.Scored | gate.Unreadable | None:
    if champion is None:
        return None
    if champion.version is None:
        return gate.Unreadable(champion.id, champion.why_not)
    try:
        scores = champion.predictor.predict_proba(held)
    except RehoneError as error:
        return gate.Unreadable(champion.id, str(error))
    return gate.Scored(
        version=champion.id,
        scores=scores,
        threshold=champion.predictor.threshold,
        train_end=_naive(champion.version.manifest.train_end),
    )


def _publish(scene: Scene) -> Ending | None:
    predictor = scene.search.predictor
    held = scene.rows.filter(pl.col("__time__") >= scene.split.holdout.start)
    learn = scene.rows.filter(pl.col("__time__") < scene.split.holdout.start)
    files = artifact.pack(
        predictor,
        _profile(scene, held),
        artifact.make_golden(predictor, held, seed=scene.config.project.seed),
        fingerprints=np.unique(_marks(scene, learn, predictor.contract)),
        allow_joblib=scene.config.deploy.allow_joblib,
        trusted=scene.config.deploy.trusted_types,
    )
    files = {**files, "run.json": codec.encode(scene.draft.record)}
    version = scene.store.publish(_manifest(scene), files)
    scene.version = version.id
    scene.draft.note(version=version.id)
    size = sum(len(content) for content in files.values())
    scene.draft.say(f"version {version.short}: {len(files)} files, {size:,} bytes")
    return None


def _profile(scene: Scene, held: pl.DataFrame) -> Profile:
    predictor = scene.search.predictor
    window = Window(scene.split.train.start, scene.split.holdout.end)
    trailing = scene.rows.filter(pl.col("__time__") >= window.start)
    scores = np.full(scene.rows.height, np.nan)
    scores[scene.search.oof_index] = scene.search.oof_scores
    scores[scene.rows.height - held.height :] = predictor.predict_proba(held)
    return profile.build(
        trailing,
        predictor.contract,
        window=window,
        label=scene.config.data.label,
        scores=scores[scene.rows.height - trailing.height :],
        threshold=predictor.threshold,
    )


def _manifest(scene: Scene) -> Manifest:
    search, described = scene.search, scene.draft.record.data
    return Manifest(
        project=scene.config.project.name,
        run_id=scene.door.run_id,
        created_at=scene.door.clock(),
        as_of=scene.door.as_of,
        estimator=search.winner.estimator,
        params=search.winner.params,
        window_policy=search.winner.window,
        contract=search.predictor.contract,
        threshold=search.predictor.threshold,
        train_window=search.train_window,
        train_end=search.train_end,
        train_rows=search.train_rows,
        train_positives=search.train_positives,
        data_sha256=described.sha256 if described else "",
        requires=artifact.requirements(),
        files={},
    )


def _deploy(scene: Scene) -> Ending | None:
    for _ in range(JUDGED_AGAIN):
        try:
            return _promote(scene)
        except Conflict:
            # somebody deployed since we looked: what was judged against is no longer live
            scene.head = scene.store.head()
            scene.champion = read_champion(scene.store, scene.head, scene.config)
            scene.draft.note(champion=scene.champion.id if scene.champion else None)
            if ending := _judge(scene):
                return ending
    return (
        RunStatus.FAILED,
        f"the live version changed {JUDGED_AGAIN} times while this run judged: run again when it is quiet",
    )


def _promote(scene: Scene) -> Ending:
    config = scene.config
    promotion = deploy.promote(
        scene.store,
        scene.version,
        deploy.Order(
            expect_generation=scene.head.generation if scene.head else 0,
            actor=scene.door.actor,
            run_id=scene.door.run_id,
            as_of=scene.door.as_of,
            reason=scene.decision.reason,
            gate_sha256=hashlib.sha256(codec.encode(scene.verdict)).hexdigest(),
        ),
        config.deploy,
        clock=scene.door.clock,
    )
    healed = scene.draft.record.deployment_checks
    scene.draft.note(deployment=promotion.deployment, deployment_checks=(*healed, *promotion.checks))
    if not promotion.confirmed:
        return (RunStatus.ROLLED_BACK if promotion.trial else RunStatus.FAILED), promotion.sentence
    _clean_up(scene)
    return RunStatus.DEPLOYED, promotion.sentence


def _clean_up(scene: Scene) -> None:
    try:
        scene.store.collect(scene.config.deploy.keep_versions)
    except (StoreError, OSError):  # old versions that stay behind do no harm
        log.warning("clean-up failed", exc_info=True, extra={"run_id": scene.door.run_id})


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
        config=config.as_json(),
    )


def preview(config: Config, *, as_of: datetime) -> Preview:
    """Say what a run would decide on that day, and change nothing.

    The champion is the version that was live on that day by the deployment log.
    """
    champion: Champion | None = None
    lines: tuple[Line, ...] = ()
    if config.store_path.exists():
        store = Store(config.store_path)
        champion = read_champion(store, _live_on(store, as_of), config)
        lines = RunLog(config.runs_path).lines()
    if champion and champion.why_not:
        return _no_preview(config, as_of, champion)
    source = data.open_source(config.data, config.root, cache=config.cache_path, as_of=as_of)
    evidence = look(Look(config=config, source=source, champion=champion, as_of=as_of, attempts=attempts(lines, as_of)))
    decision = trigger.decide(evidence, config.trigger)
    findings = _findings(source, config, as_of, champion)
    broken = (*_acting(findings), *decision.incidents)
    said = _all_of("data incident", broken) if broken else decision.reason
    return Preview(
        project=config.project.name,
        as_of=as_of,
        champion=champion.id if champion else None,
        would_train=decision.kind is not None and not broken,
        sentence=said,
        evidence=evidence,
        trigger=decision,
        data_checks=findings,
    )


def _no_preview(config: Config, as_of: datetime, champion: Champion) -> Preview:
    return Preview(
        project=config.project.name,
        as_of=as_of,
        champion=champion.id,
        would_train=False,
        sentence=_unreadable(champion),
        evidence=None,
        trigger=None,
    )


def _live_on(store: Store, as_of: datetime) -> Deployment | None:
    then = [d for d in store.log() if (d.as_of or d.at) <= as_of and d.state is DeploymentState.CONFIRMED]
    return then[-1] if then else None


def _acting(checks: tuple[Check, ...]) -> tuple[Check, ...]:
    return tuple(check for check in checks if check.status is CheckStatus.ACT)


def _all_of(what: str, checks: tuple[Check, ...]) -> str:
    return f"{what}: " + "; ".join(check.sentence for check in checks)


def _unreadable(champion: Champion) -> str:
    return (
        f"the champion {short_id(champion.id)} is named by the deployment log (generation {champion.deployment.generation}) "
        f"but cannot be read: {champion.why_not}. Nothing is deployed over a champion that cannot be compared: "
        "restore it from a backup, or `rehone rollback` to a version that can be read"
    )


def _set_back(deployed: datetime, as_of: datetime) -> str:
    return (
        f"as_of {as_of:%Y-%m-%d %H:%M} is before {deployed:%Y-%m-%d %H:%M}, when the champion was made: the clock was "
        "set back, or an earlier day is replayed: mend the clock, or replay into a store of its own (project.store)"
    )


def _naive(moment: datetime) -> datetime:
    return moment.replace(tzinfo=None)


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d}"
