"""Measure the model service against what others use: the same model, the same rows, one machine, one run.

    .venv/bin/python bench/serve/run.py             all services, about 20 minutes, installs included
    .venv/bin/python bench/serve/run.py --quick     Rehone, the tutorial way and a bare service, under two minutes

The services take turns within each round and the median of the rounds is shown; ratios are of one round.
CPU is that of the whole process tree, by the kernel. Compare ratios, never the seconds of different machines.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import joblib
import model
import numpy as np
import polars as pl
from load import Load
from services import QUICK, SERVICES, NotInstalled, NotStarted, Running, Service, Where, install, running

from rehone.predictions import Log

OURS = "rehone"
TOLERANCE = 1e-6
ASKED_FIRST = 1 + 10 + 100
"""Rows that every service answers before it is measured: when it starts, and to show that all answer the same."""
DISTINCT = 64
"""Requests with different rows that are sent in turn."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One square of the grid."""

    connections: int
    rows: int


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured."""

    cells: tuple[Cell, ...]
    rounds: int
    warm_seconds: float
    seconds: float


FULL = Plan(tuple(Cell(c, r) for r in (1, 100) for c in (1, 8, 32)), rounds=5, warm_seconds=0.5, seconds=3)
SHORT = Plan((Cell(1, 1), Cell(32, 1), Cell(32, 100)), rounds=2, warm_seconds=0.3, seconds=1)


@dataclass(frozen=True, slots=True)
class Seen:
    """One service in one cell of one round; CPU and time are of good answers, `warmed` counts those before."""

    service: str
    connections: int
    rows: int
    round: int
    answers: int
    warmed: int
    failed: dict[str, int]
    cpu_us: float
    rate: float
    p50_ms: float
    p99_ms: float
    generator_busy: float


def same_answers(found: Sequence[Running], rows: Sequence[dict[str, float]], where: Where) -> dict[str, float]:
    """Return how far each service is from the model itself on these rows, one by one and all at once.

    Raises:
        SystemExit: one answers something else; there is nothing to compare then.
    """
    matrix = np.array([list(row.values()) for row in rows])
    expected = joblib.load(where.model / "matrix.joblib").predict_proba(matrix)[:, 1]
    far = {}
    for each in found:
        alone = np.concatenate([each.ask([row]) for row in rows[:10]])
        whole = each.ask(rows)
        far[each.service.name] = float(max(np.abs(whole - expected).max(), np.abs(alone - expected[:10]).max()))
    wrong = {name: value for name, value in far.items() if not value <= TOLERANCE}
    if wrong:
        raise SystemExit(f"these services do not answer what the model says, limit {TOLERANCE:g}: {wrong}")
    return far


def measure(found: Running, cell: Cell, plan: Plan, number: int) -> Seen:
    """Warm one service up and load it once."""
    requests = _requests(found.service, cell.rows)
    with Load(found.port, requests, connections=cell.connections) as load:
        warmed = load.run(seconds=plan.warm_seconds).answers
        before = found.cpu_seconds()
        measured = load.run(seconds=plan.seconds)
        used = found.cpu_seconds() - before
    return Seen(
        service=found.service.name,
        **asdict(cell),
        round=number,
        answers=measured.answers,
        warmed=warmed,
        failed=dict(measured.failed),
        cpu_us=1e6 * used / max(measured.answers, 1),
        rate=measured.rate,
        p50_ms=measured.latency_ms(50),
        p99_ms=measured.latency_ms(99),
        generator_busy=measured.own_cpu / measured.seconds,
    )


def _requests(service: Service, rows: int) -> list[bytes]:
    X, _ = model.draw(DISTINCT * rows, seed=5)
    return [service.request(model.rows_of(X[i : i + rows])) for i in range(0, len(X), rows)]


def grid(found: Sequence[Running], plan: Plan) -> list[Seen]:
    """Measure every cell in every round; the services take turns, another one first each round."""
    seen = []
    for number in range(plan.rounds):
        turn = number % len(found)
        for cell in plan.cells:
            seen += [measure(each, cell, plan, number) for each in (*found[turn:], *found[:turn])]
        print(f"round {number + 1} of {plan.rounds} done", file=sys.stderr, flush=True)
    return seen


def table(seen: Sequence[Seen], services: Sequence[Service], cell: Cell) -> Iterator[str]:
    """Say one cell: medians of the rounds, and medians of the ratios to ours within a round."""
    here = [s for s in seen if (s.connections, s.rows) == (cell.connections, cell.rows)]
    yield f"\n{cell.connections} connection{'s' * (cell.connections > 1)}, {cell.rows} row{'s' * (cell.rows > 1)} a request"
    yield f"  {'':<28}{'CPU µs':>9}{'x ours':>8}{'req/s':>9}{'ours x':>8}{'p50 ms':>9}{'p99 ms':>9}{'failed':>8}"
    for service in services:
        said = summary(here, service.name)
        note = "  (the generator is the limit)" if said["generator_busy"] > 0.9 else ""
        yield (
            f"  {service.title:<28}{said['cpu_us']:>9.0f}{said['cpu_ratio']:>8.2f}{said['rate']:>9.0f}"
            f"{said['rate_ratio']:>8.2f}{said['p50_ms']:>9.2f}{said['p99_ms']:>9.2f}{said['failed']:>8}{note}"
        )


def summary(here: Sequence[Seen], name: str) -> dict[str, Any]:
    """Return medians for one service in one cell; `cpu_ratio` is theirs to ours, `rate_ratio` ours to theirs."""
    mine = [s for s in here if s.service == name]
    ours = {s.round: s for s in here if s.service == OURS}
    median = {
        f: statistics.median(getattr(s, f) for s in mine)
        for f in ("cpu_us", "rate", "p50_ms", "p99_ms", "generator_busy")
    }
    return {
        **median,
        "cpu_ratio": statistics.median(s.cpu_us / ours[s.round].cpu_us for s in mine),
        "rate_ratio": statistics.median(ours[s.round].rate / max(s.rate, 1e-9) for s in mine),
        "failed": sum(sum(s.failed.values()) for s in mine),
    }


def logged_rows(project: Path) -> int:
    """Count the rows that the prediction log holds; files that a merged one replaced are left out."""
    return sum(pl.scan_parquet(f).select(pl.len()).collect().item() for f in Log(project / "predictions").files())


def machine() -> dict[str, Any]:
    """Say what the figures were measured on, and how busy it was."""
    return {
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "system": platform.platform(),
        "load_average_1m": os.getloadavg()[0],
    }


def start(stack: contextlib.ExitStack, asked: Sequence[Service], where: Where) -> tuple[list[Running], dict[str, str]]:
    """Install and start the services; say why each of those left out is."""
    first = model.rows_of(model.draw(1, seed=9)[0])
    found, left_out = [], {}
    for service in asked:
        try:
            if service.venv:
                install(service.venv, where)
            found.append(stack.enter_context(running(service, where, first)))
        except (NotInstalled, NotStarted, OSError, subprocess.CalledProcessError) as error:
            if service.name == OURS:
                raise
            left_out[service.name] = str(error)
            print(f"{service.title} is left out: {error}", flush=True)
    return found, left_out


def whole(plan: Plan, asked: Sequence[Service], folder: Path, *, plain: bool = False) -> dict[str, Any]:
    """Run the bench in its folder, print the tables and return all that was seen."""
    where = Where(folder / "model", folder / "venvs", folder / "logs")
    _empty(where.model)
    for path in (where.venvs, where.logs):
        path.mkdir(parents=True, exist_ok=True)
    model.write(where.model, plain=plain)
    before = machine()
    with contextlib.ExitStack() as stack:
        found, left_out = start(stack, asked, where)
        far = same_answers(found, model.rows_of(model.draw(100, seed=8)[0]), where)
        print(f"all answer the same 100 rows, differences of at most {max(far.values()):.1g}", flush=True)
        seen = grid(found, plan)
        memory = {each.service.name: each.memory_mb() for each in found}
    services = [each.service for each in found]
    for cell in plan.cells:
        print("\n".join(table(seen, services, cell)), flush=True)
    print(f"\nmemory MB after the load: {', '.join(f'{n} {mb:.0f}' for n, mb in memory.items())}")
    logged = _log_said(seen, where)
    cells = [
        {
            **asdict(c),
            "services": {
                s.name: summary([x for x in seen if (x.connections, x.rows) == (c.connections, c.rows)], s.name)
                for s in services
            },
        }
        for c in plan.cells
    ]
    return {
        "machine": before, "plain": plain, "left_out": left_out, "largest_difference": far, "memory_mb": memory,
        "prediction_log": logged, "cells": cells, "rounds": [asdict(s) for s in seen],
    }  # fmt: skip


def _log_said(seen: Sequence[Seen], where: Where) -> dict[str, int]:
    """Compare the rows that the logging service answered with those in its log."""
    loaded = sum((s.answers + s.warmed) * s.rows for s in seen if s.service == "rehone-log")
    answered = loaded + (ASKED_FIRST if loaded else 0)
    written = logged_rows(where.model / "rehone-log")
    print(f"prediction log: {answered:,} rows answered, {written:,} in its files")
    if written != answered:
        print("  the log is not complete, so its figures are not those of a complete log")
    return {"answered": answered, "written": written}


def _empty(folder: Path) -> None:
    if folder.exists():
        subprocess.run(["chmod", "-R", "u+w", str(folder)], check=True)
        shutil.rmtree(folder)


def main() -> None:
    """Read what is asked for, run it, and keep the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [service.name for service in SERVICES]
    parser.add_argument("--quick", action="store_true", help="four services, three cells, two short rounds")
    parser.add_argument("--services", nargs="+", choices=names, help="only these, and Rehone")
    parser.add_argument(
        "--plain", action="store_true", help="imputer and scaler without a ColumnTransformer around them"
    )
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--seconds", type=float, help="of each measurement")
    parser.add_argument("--folder", type=Path, default=Path("bench-run/serve"))
    asked = parser.parse_args()
    plan = SHORT if asked.quick else FULL
    plan = Plan(plan.cells, asked.rounds or plan.rounds, plan.warm_seconds, asked.seconds or plan.seconds)
    wanted = {OURS, *(asked.services or (QUICK if asked.quick else names))}
    folder = asked.folder.resolve()
    result = whole(plan, [s for s in SERVICES if s.name in wanted], folder, plain=asked.plain)
    kept = folder / "results.json"
    kept.write_text(json.dumps(result, indent=1))
    print(f"every figure: {kept}")
    failed = Counter(s["service"] for s in result["rounds"] for _ in range(sum(s["failed"].values())))
    if failed[OURS]:
        raise SystemExit(f"{failed[OURS]} requests to Rehone failed")


if __name__ == "__main__":
    main()
