"""Sabotage what lies between models and production: what is compared, what is stored, what is served."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from rehone import artifact, codec, deploy
from rehone.config import Deploy
from rehone.deploy import Order, Promotion
from rehone.drill.challengers import Claim, found
from rehone.drill.ground import Ground, taken_for_granted, twisted
from rehone.drill.liar import Story, lying
from rehone.errors import Corrupt, RehoneError
from rehone.pipeline.evidence import Champion
from rehone.records import Check, CheckStatus, Replica, Sabotage

OFF = 0.01
"""What golden probabilities are shifted by."""
TRIAL_SECONDS = 2.0
"""How long a false service is given to show that it serves; it never will."""

Way = Callable[[Ground], Sabotage]


def wirings(ground: Ground) -> Iterator[Sabotage]:
    """Break each wire in turn, with the challenger as it ought to be."""
    ways: tuple[tuple[str, Way], ...] = (
        ("compared with itself", _itself),
        ("stale metric", _stale_metric),
        ("champion saw the rows", _champion_saw),
        ("golden rows mismatch", _golden),
        ("foreign preprocessor", _preprocessor),
        ("bytes changed in the store", _bytes_changed),
        ("service keeps the old version", lambda g: _service(g, claims=False)),
        ("service lies about its version", lambda g: _service(g, claims=True)),
    )
    for name, way in ways:
        try:
            yield way(ground)
        except (RehoneError, ValueError) as error:
            yield Sabotage(name=name, what="", expected="caught", happened="not tried", detail=str(error))


# --- what is compared -----------------------------------------------------------------------------


def _itself(ground: Ground) -> Sabotage:
    """Hand the gate a worse challenger as both sides: every difference is zero."""
    poor, threshold = _worse(ground), ground.honest.predictor.threshold
    champion = _mock(ground, scores=poor, threshold=threshold)
    claim = Claim(
        "compared with itself",
        "a challenger that is clearly worse is both sides of the comparison",
        ground.harm(poor, threshold),
        "raise gate.min_roc_auc and gate.min_recall towards what the champion reaches: only they can tell",
    )
    return found(claim, ground.bring(twisted(ground.honest, poor), champion=champion))


def _stale_metric(ground: Ground) -> Sabotage:
    """Judge the champion by what it once said of other rows: those just before the holdout."""
    held, learned = ground.scene.held, ground.scene.learned
    earlier = learned.sort("__time__").tail(max(held.height // 2, 1))
    scores = ground.champion.predict_proba(earlier)
    champion = _mock(ground, scores=scores, threshold=ground.champion.threshold)
    claim = Claim(
        "stale metric",
        f"the champion is judged by its scores of {earlier.height:,} other rows",
        "what it once reached says nothing of the rows that the challenger is judged on",
        "",
    )
    return found(claim, ground.bring(champion=champion))


def _champion_saw(ground: Ground) -> Sabotage:
    """Judge on rows that the champion has learned from: it looks better there than it is."""
    search = ground.fit(ground.scene.rows, seed=6)
    scores = search.predictor.predict_proba(ground.scene.held)
    champion = _mock(ground, scores=scores, threshold=search.predictor.threshold, train_end=search.train_end)
    claim = Claim(
        "champion saw the rows",
        "the champion learned from the very rows that both are judged on",
        "an equal challenger looks worse there",
        "set data.id_column, so that a row is recognised whatever its date",
    )
    return found(claim, ground.bring(champion=champion))


def _worse(ground: Ground) -> NDArray[np.float64]:
    """Blur the honest scores until their ROC-AUC is three margins below the champion's."""
    held, own = ground.scene.held, ground.champion
    aim = (
        ground.measure(own.predict_proba(held), own.threshold).roc_auc or 0.0
    ) - 3 * ground.config.gate.margin_roc_auc
    clear = logit(np.clip(ground.honest.predictor.predict_proba(held), 1e-9, 1 - 1e-9))
    noise = np.random.default_rng(ground.config.project.seed).normal(size=clear.size)
    low, high = 0.0, 10.0
    for _ in range(20):
        middle = (low + high) / 2
        reached = ground.measure(expit(clear + middle * noise), 0.5).roc_auc or 0.0
        low, high = (middle, high) if reached > aim else (low, middle)
    return np.asarray(expit(clear + high * noise))


def _mock(ground: Ground, *, scores: Any, threshold: float, **manifest: Any) -> Champion:
    """Return a champion that the log names, whose model says something else than it should."""
    own = ground.scene.champion
    if own is None or own.version is None:
        raise ValueError("the drill has no champion")
    facts = replace(own.version.manifest, threshold=threshold, **manifest)
    made = Champion(own.deployment, own.id, own.policy, version=replace(own.version, manifest=facts), files=own.files)
    answers = twisted(ground.honest, scores).predictor
    made.__dict__["predictor"] = _Answers(answers, threshold)  # where a cached property keeps what it found
    return made


class _Answers:
    """What stands where a champion's model should be."""

    def __init__(self, like: Any, threshold: float) -> None:
        self._like = like
        self.threshold = threshold
        self.contract = like.contract

    def predict_proba(self, rows: Any) -> Any:
        return self._like.predict_proba(rows)


# --- what is stored -------------------------------------------------------------------------------


def _golden(ground: Ground) -> Sabotage:
    files = _files(ground)
    golden = artifact.read_golden(files)
    shifted = replace(golden, probabilities=tuple(min(p + OFF, 1.0) for p in golden.probabilities))
    version = _published(ground, {**files, artifact.GOLDEN_FILE: codec.encode(shifted)})
    what = f"the golden probabilities of the version are {OFF:g} from what its model says"
    return _rehearsed(ground, "golden rows mismatch", what, version)


def _preprocessor(ground: Ground) -> Sabotage:
    files = _files(ground)
    name = next(name for name in files if name.startswith("preprocessor"))
    learned = ground.scene.learned
    numbers = [f.name for f in ground.honest.predictor.contract.features if f.kind.value == "numeric"]
    other = ground.fit(learned.with_columns([-3 * learned[column].cast(float) for column in numbers]), seed=9)
    strange = artifact.pack_model(
        other.predictor,
        allow_joblib=ground.config.deploy.allow_joblib,
        trusted=ground.config.deploy.trusted_types,
    )
    if name not in strange or not _matters(ground, {**files, name: strange[name]}):
        raise ValueError("the preprocessor of this recipe learns nothing from its rows, so that any run's does as well")
    version = _published(ground, {**files, name: strange[name]})
    return _rehearsed(ground, "foreign preprocessor", "the preprocessor is that of another training run", version)


def _matters(ground: Ground, files: Mapping[str, bytes]) -> bool:
    """Say whether a model with these parts says something else of any row."""
    policy, own = ground.config.deploy, ground.honest.predictor
    mixed = artifact.unpack_model(files, allow_joblib=policy.allow_joblib, trusted=policy.trusted_types)
    held = ground.scene.held
    said = replace(own, pipeline=mixed).predict_proba(held)
    return bool(abs(said - own.predict_proba(held)).max() > ground.config.deploy.golden_tolerance)


def _bytes_changed(ground: Ground) -> Sabotage:
    store, told = (
        ground.scene.store,
        Sabotage(
            name="bytes changed in the store",
            what="one byte of a published version was changed",
            expected="caught",
            happened="caught",
            caught_by=("digest",),
        ),
    )
    version = _published(ground, _files(ground))
    folder = Path(str(store.root)) / "versions" / version
    path = next(path for path in sorted(folder.iterdir()) if path.name.startswith("model"))
    store.disk.unprotect(path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    try:
        store.read(version)
    except Corrupt as error:
        return replace(told, detail=str(error))
    return replace(told, happened="let through", caught_by=(), detail="it was read as if nothing had happened")


def _files(ground: Ground) -> dict[str, bytes]:
    """Return the files of the honest challenger, as a run would publish them."""
    champion, policy = ground.scene.champion, ground.config.deploy
    predictor = ground.honest.predictor
    model = artifact.pack_model(predictor, allow_joblib=policy.allow_joblib, trusted=policy.trusted_types)
    golden = artifact.make_golden(predictor, ground.scene.held, seed=ground.config.project.seed)
    kept = dict(champion.files) if champion else {}
    return {artifact.PROFILE_FILE: kept[artifact.PROFILE_FILE], **model, artifact.GOLDEN_FILE: codec.encode(golden)}


def _published(ground: Ground, files: Mapping[str, bytes]) -> str:
    own = ground.scene.champion
    if own is None or own.version is None:
        raise ValueError("the drill has no champion")
    predictor = ground.honest.predictor
    facts = replace(own.version.manifest, contract=predictor.contract, threshold=predictor.threshold, files={})
    return ground.scene.store.publish(facts, dict(files)).id


def _rehearsed(ground: Ground, name: str, what: str, version: str) -> Sabotage:
    checks = deploy.preflight(ground.scene.store, version, ground.config.deploy)
    return _said(name, what, checks, "the preflight took it for whole")


# --- what is served -------------------------------------------------------------------------------


def _service(ground: Ground, *, claims: bool) -> Sabotage:
    """Promote the honest challenger before a service that never leaves the champion."""
    name = "service lies about its version" if claims else "service keeps the old version"
    what = (
        "the service says OK and names the new version, and answers with the old model"
        if claims
        else "the service says OK and keeps serving the old version"
    )
    scene, policy = ground.scene, ground.config.deploy
    head = scene.store.head()
    if head is None:
        raise ValueError("the drill has deployed nothing")
    story = Story(scene.store, head.generation, ground.champion, claims, policy.health_version_key)
    version = _published(ground, _files(ground))
    with lying(story) as url:
        promotion = _promoted(ground, version, _quick(policy, url), url)
    if promotion.confirmed:
        return Sabotage(
            name=name,
            what=what,
            expected="caught",
            happened="let through",
            detail=promotion.sentence,
            remedy='set deploy.service = "required", and serve with `rehone serve`, which is asked for the golden rows'
            if policy.service == "none" or policy.health_url
            else "",
        )
    return _said(name, what, promotion.checks, promotion.sentence)


def _quick(policy: Deploy, url: str) -> Deploy:
    """Return the policy with short times; a foreign service that it names is the false one."""
    update: dict[str, Any] = {"trial_seconds": TRIAL_SECONDS, "replica_timeout_seconds": 600.0}
    if policy.health_url:
        update["health_url"] = f"{url}/health"
    return policy.model_copy(update=update)


def _promoted(ground: Ground, version: str, policy: Deploy, url: str) -> Promotion:
    scene, clock = ground.scene, ground.scene.door.clock
    head = scene.store.head()
    name = "false-service"
    if not policy.health_url:
        generation, live = (head.generation, head.version) if head else (None, None)
        scene.store.beat(
            Replica(
                name=name,
                host=socket.gethostname(),
                pid=scene.door.pid,
                url=url,
                at=clock() + timedelta(seconds=1),
                generation=generation,
                version=live,
            )
        )
    order = Order(expect_generation=head.generation if head else 0, actor=scene.door.actor, reason="drill")
    try:
        return deploy.promote(scene.store, version, order, policy, clock=clock, preflight=taken_for_granted)
    finally:
        scene.store.retire(name)


def _said(name: str, what: str, checks: tuple[Check, ...], otherwise: str) -> Sabotage:
    wrong = [check for check in checks if check.status is CheckStatus.ACT]
    return Sabotage(
        name=name,
        what=what,
        expected="caught",
        happened="caught" if wrong else "let through",
        caught_by=tuple(dict.fromkeys(check.name for check in wrong)),
        detail="; ".join(check.detail for check in wrong) or otherwise,
    )
