"""Put one process of the service together: who follows, who answers, who writes, who beats."""

from __future__ import annotations

import re
import secrets
import threading
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import datetime

from rehone import signing
from rehone.config import Config
from rehone.objects import disk_for
from rehone.predictions import Writer, shelf_of
from rehone.records import Replica
from rehone.serve import openapi, operator, v2
from rehone.serve.app import App, routes
from rehone.serve.follower import Follower
from rehone.serve.heartbeat import Heart
from rehone.serve.http import Answer, Request, Route
from rehone.serve.meters import CONTENT_TYPE, MeterState
from rehone.serve.predicting import Service
from rehone.serve.shadow import Shadows

Clock = Callable[[], datetime]


@dataclass(frozen=True, kw_only=True)
class Parts:
    """One process of the service: the app that answers, and the threads that run beside it.

    `retire` ends following and beating, when no more requests are taken; `close` writes the
    prediction log out, when the last one is answered.
    """

    app: App
    service: Service
    follower: Follower
    heart: Heart
    threads: tuple[threading.Thread, ...]
    retire: Callable[[], None]
    close: Callable[[], None]


def assemble(config: Config, me: Replica, workers: Executor, clock: Clock) -> Parts:
    """Return the parts of one process; nothing runs yet.

    Raises:
        ConfigError: the operator's token cannot be used.
    """
    ending, closing, changed = threading.Event(), threading.Event(), threading.Event()
    disk = disk_for(config.store_path, config.storage)
    follower = Follower(config.store_path, signing.policy_of(config), changed=changed.set, clock=clock, disk=disk)
    token = operator.read_token(config)
    operators = operator.routes(follower, token) if token else {}
    writer, shadows = _writer(config, me, clock), Shadows()
    service = Service(
        serving=lambda: follower.now,
        policy=config.serve,
        workers=workers,
        clock=clock,
        project=config.project.name,
        id_column=config.data.id_column,
        log=writer,
        shadow=shadows,
    )
    heart = Heart(
        me,
        config.store_path,
        lambda: follower.now,
        wake=changed,
        clock=clock,
        seconds=config.serve.heartbeat_seconds,
        shadow=lambda serving: shadows.report(serving.shadow),
        disk=disk,
    )

    def retire() -> None:
        ending.set()
        changed.set()
        follower.wake()

    threads = [_thread("follower", follower.follow, ending, config.serve.poll_seconds)]
    threads.append(_thread("heartbeat", heart.beat_until, ending))
    if writer is not None:
        threads.append(_thread("prediction log", writer.follow, closing))
    return Parts(
        app=App(_routes(service, me, shadows) | operators, v2.patterns(service), service.meters),
        service=service,
        follower=follower,
        heart=heart,
        threads=tuple(threads),
        retire=retire,
        close=closing.set,
    )


def _writer(config: Config, me: Replica, clock: Clock) -> Writer | None:
    if not config.predictions.log:
        return None
    host = re.sub(r"[^A-Za-z0-9]", "_", me.host)[:60]
    name = f"at_{host}_{me.pid}_{secrets.token_hex(4)}"  # a later process may get the same number
    return Writer(shelf_of(config.predictions_path, config.storage), config.predictions, name=name, clock=clock)


def _thread(name: str, act: Callable[..., None], *given: object) -> threading.Thread:
    return threading.Thread(target=act, args=given, name=name, daemon=True)


def _routes(service: Service, me: Replica, shadows: Shadows) -> dict[str, Route]:
    async def metrics(_request: Request) -> Answer:
        body = service.meters.render(_state(service, me, shadows))
        return Answer(200, body, ((b"content-type", CONTENT_TYPE),))

    return {**routes(service), **v2.routes(service), **openapi.routes(service), "/metrics": {"GET": metrics}}


def _state(service: Service, me: Replica, shadows: Shadows) -> MeterState:
    serving, log = service.serving(), service.log
    return MeterState(
        version=serving.loaded.version if serving.loaded else None,
        generation=serving.generation,
        refused_generation=serving.refused.generation if serving.refused else None,
        followed=serving.trouble is None,
        pinned=serving.pinned is not None,
        waiting_rows=service.batcher.waiting_rows,
        connections=service.connections(),
        log_written=log.written if log else None,
        log_dropped=log.dropped if log else None,
        log_waiting=log.waiting if log else None,
        shadow=shadows.report(serving.shadow),
        replica=me.name,
    )
