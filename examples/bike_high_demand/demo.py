"""Live through two years of real data, month by month, with a service that answers all the while.

Run it with `make demo`. It writes only into `demo-run/` and leaves everything there to look at.
"""

from __future__ import annotations

import argparse
import http.server
import json
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from sklearn.metrics import roc_auc_score

from rehone import api, load, run_pipeline
from rehone.artifact import Predictor
from rehone.config import parse_config
from rehone.records import Event, EventKind, RunRecord, RunStatus

HERE = Path(__file__).parent
LABEL = "label"
MONTHS = [date(year, month, 1) for year in (2011, 2012) for month in range(1, 13)][4:]
SABOTAGED, REFUSED = date(2012, 3, 1), date(2012, 8, 1)
STAGED = {
    SABOTAGED: "a broken join has shuffled the labels of all but the newest 27 days",
    REFUSED: "a second service joins that says model_loaded: true for ever, of the OLD version",
}

console = Console(highlight=False)


@dataclass
class Row:
    """What the final table says of one month."""

    month: date
    record: RunRecord
    live_auc: float
    static_auc: float
    requests: int
    lost: int


@dataclass
class Feed:
    """The folder of daily files, written day by day as time passes."""

    rows: pl.DataFrame
    folder: Path
    written: date = date(2011, 1, 1)

    def until(self, day: date) -> None:
        """Write one file for each day before `day` that has none yet."""
        for n in range((day - self.written).days):
            self._write(self.written + timedelta(days=n), self.folder)
        self.written = max(self.written, day)

    def _write(self, day: date, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.between(day, day + timedelta(days=1)).write_parquet(folder / f"{day}.parquet")

    def between(self, start: date, end: date) -> pl.DataFrame:
        """Return the rows of `start <= day < end`."""
        day = pl.col("event_date").dt.date()
        return self.rows.filter((day >= start) & (day < end))

    def with_shuffled_labels(self, folder: Path, until: date, clean_days: int) -> None:
        """Copy the folder as a broken join would write it: labels of all but the newest days shuffled."""
        start = until - timedelta(days=clean_days)
        broken = self.between(date(2011, 1, 1), start).with_columns(pl.col(LABEL).shuffle(seed=1))
        folder.mkdir(parents=True)
        for (day,), rows in broken.group_by(pl.col("event_date").dt.date(), maintain_order=True):
            rows.write_parquet(folder / f"{day}.parquet")
        for n in range(clean_days):
            self._write(start + timedelta(days=n), folder)


@dataclass
class Traffic:
    """A client that never stops asking, and counts what it gets."""

    url: str
    rows: list[dict[str, Any]]
    answered: int = 0
    lost: int = 0
    _told: tuple[int, int] = (0, 0)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to ask, once."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._ask)
            self._thread.start()

    def _ask(self) -> None:
        n = 0
        while not self._stop.is_set():
            body = json.dumps(self.rows[n % len(self.rows)]).encode()
            request = urllib.request.Request(
                f"{self.url}/predict", data=body, headers={"content-type": "application/json"}
            )
            try:
                with urllib.request.urlopen(request, timeout=10) as answer:
                    self.answered += bool(json.load(answer)["version"])
            except (urllib.error.URLError, OSError):
                self.lost += 1
            n += 1
            time.sleep(0.01)

    def since_last(self) -> tuple[int, int]:
        """Return the requests answered and lost since this was last asked."""
        now = (self.answered, self.lost)
        before, self._told = self._told, now
        return now[0] - before[0], now[1] - before[1]

    def __enter__(self) -> Traffic:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()


@contextmanager
def service(project: Path) -> Iterator[str]:
    """Start `rehone serve` as its own process and give its address."""
    log = (project / "serve.log").open("w")
    process = subprocess.Popen(
        [Path(sys.executable).with_name("rehone"), "serve", "--project", project, "--port", "0"],
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    try:
        yield _address(project, process)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)
        log.close()


def _address(project: Path, process: subprocess.Popen[bytes]) -> str:
    log = project / "serve.log"
    for _ in range(600):
        for line in log.read_text().splitlines():
            if line.startswith("serving at "):
                return line.removeprefix("serving at ")
        if process.poll() is not None:
            break
        time.sleep(0.1)
    raise SystemExit(f"the service did not start: see {log}")


@contextmanager
def stubborn_service(version: str) -> Iterator[str]:
    """Start a service that says `model_loaded: true` for ever, of the OLD version."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"status": "ok", "model_loaded": True, "version": version}).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/health"
    finally:
        server.shutdown()
        server.server_close()


def project_text(source: str = "data/*.parquet", extra: str = "") -> str:
    """Return the example's rehone.toml, reading daily files instead of the one file."""
    text = (HERE / "rehone.toml").read_text()
    return text.replace('source = "bike_high_demand.parquet"', f'source = "{source}"') + extra


def tell(event: Event) -> None:
    """Print the sentence of each stage."""
    if event.kind is EventKind.FINISHED and event.sentence:
        told = Table.grid(padding=(0, 1))
        told.add_column(width=11)
        told.add_column()
        told.add_row(f"   {event.stage}", event.sentence)
        console.print(told, style="dim")


def run_month(folder: Path, feed: Feed, month: date) -> RunRecord:
    """Run the pipeline as of a month, in the way that the story wants it that month."""
    if month == SABOTAGED:
        feed.with_shuffled_labels(folder / "data-broken", month, clean_days=27)
        config = parse_config(project_text("data-broken/*.parquet"), root=folder)
        return run_pipeline(config, as_of=month, force=True, listen=tell)
    if month == REFUSED:
        with stubborn_service(load(folder).version or "") as url:
            extra = f'\n[deploy]\nhealth_url = "{url}"\ntrial_seconds = 4\n'
            config = parse_config(project_text(extra=extra), root=folder)
            return run_pipeline(config, as_of=month, force=True, listen=tell)
    return run_pipeline(folder, as_of=month, listen=tell)


def look_at_breaker(folder: Path) -> None:
    """Be the person who looks why retraining has stopped, and lets it go on."""
    if not (found := api.breaker(folder)).stopped:
        return
    because = "quiet winter months: too few busy hours to tell two good models apart"
    console.print(Padding(f"[yellow]a person looks[/yellow] at {found.lost} challengers lost in a row:", (0, 0, 0, 2)))
    console.print(Padding(f'rehone breaker --reset --because "{because}"', (0, 0, 0, 2)))
    api.reset_breaker(folder, because=because)


def auc(model: Predictor, rows: pl.DataFrame) -> float:
    """Return the ROC-AUC that a model reaches in the month after it was (not) deployed."""
    return float(roc_auc_score(rows[LABEL].to_numpy(), model.predict_proba(rows)))


def live_through(folder: Path, months: list[date]) -> list[Row]:
    """Run every month with the service answering all the while."""
    feed = Feed(pl.read_parquet(HERE / "bike_high_demand.parquet"), folder / "data")
    feed.until(months[0])
    (folder / "rehone.toml").write_text(project_text())
    table: list[Row] = []
    with service(folder) as url, Traffic(url, feed.rows.drop("event_date", LABEL).head(500).to_dicts()) as traffic:
        static: Predictor | None = None
        for month in months:
            feed.until(month)
            force = " --force" if month in STAGED else ""
            console.print(f"[bold]{month:%B %Y}[/bold]  rehone run --as-of {month}{force}")
            if month in STAGED:
                console.print(Padding(f"[yellow]staged[/yellow] {STAGED[month]}", (0, 0, 0, 2)))
            else:
                look_at_breaker(folder)
            record = run_month(folder, feed, month)
            _say_ending(record)
            live = load(folder)
            static = static or live
            traffic.start()
            ahead = feed.between(month, months_later(month))
            table.append(Row(month, record, auc(live, ahead), auc(static, ahead), *traffic.since_last()))
    return table


def months_later(month: date) -> date:
    """Return the first day of the next month."""
    return (month + timedelta(days=32)).replace(day=1)


def _say_ending(record: RunRecord) -> None:
    colour = {RunStatus.DEPLOYED: "green", RunStatus.SKIPPED: "dim", RunStatus.FAILED: "red"}.get(
        record.status or RunStatus.FAILED, "yellow"
    )
    console.print(Padding(f"[{colour}]{record.status}[/{colour}] {record.sentence}", (0, 0, 1, 2)))


def show(table: list[Row]) -> None:
    """Print the table of all months, and what they add up to."""
    out = Table(
        title="Month by month ('never': ROC-AUC of the first version, never retrained)",
        title_justify="left",
        box=None,
        pad_edge=False,
        padding=(0, 1),
    )
    for name in ("month", "trigger", "ending", "version"):
        out.add_column(name, no_wrap=True)
    for name in ("AUC live", "never", "requests", "lost"):
        out.add_column(name, justify="right", no_wrap=True)
    for row in table:
        kind = row.record.trigger.kind if row.record.trigger else None
        live = row.record.version if row.record.status is RunStatus.DEPLOYED else row.record.champion
        out.add_row(
            f"{row.month:%Y-%m}",
            kind.value if kind else "-",
            str(row.record.status),
            (live or "-")[:7],
            f"{row.live_auc:.3f}",
            f"{row.static_auc:.3f}",
            f"{row.requests:,}",
            str(row.lost),
        )
    console.print(out)
    console.print()
    for row in table:
        if row.month in STAGED:
            console.print(f"{row.month:%Y-%m}  {STAGED[row.month]}: {row.record.status}")
    mean = sum(r.live_auc for r in table) / len(table)
    static = sum(r.static_auc for r in table) / len(table)
    console.print(
        f"\nMean live ROC-AUC [bold]{mean:.3f}[/bold], never retrained {static:.3f}. "
        f"{sum(r.requests for r in table):,} requests answered, {sum(r.lost for r in table)} lost."
    )


def check_story(table: list[Row]) -> None:
    """Stop with an error when the story did not go as the demo says it does."""
    by_month = {row.month: row.record.status for row in table}
    endings = Counter(by_month.values())
    wrong = [
        said
        for said, holds in (
            ("the first month did not deploy", table[0].record.status is RunStatus.DEPLOYED),
            ("no later month deployed", endings[RunStatus.DEPLOYED] > 1),
            ("no month was quiet", endings[RunStatus.SKIPPED] > 0),
            ("the sabotaged challenger was not rejected", by_month.get(SABOTAGED) is RunStatus.REJECTED),
            ("the refused deployment was not rolled back", by_month.get(REFUSED) is RunStatus.ROLLED_BACK),
            ("a request was lost", sum(row.lost for row in table) == 0),
        )
        if not holds
    ]
    if wrong:
        raise SystemExit("the demo went wrong: " + "; ".join(wrong))


def main() -> None:
    """Live through the two years, then say where everything lies."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=Path("demo-run"))
    folder: Path = parser.parse_args().folder.resolve()
    if folder.exists():
        subprocess.run(["chmod", "-R", "u+w", folder], check=True)
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    started = datetime.now(UTC)
    table = live_through(folder, MONTHS)
    show(table)
    api.report(folder, folder / "report.html")
    seconds = (datetime.now(UTC) - started).total_seconds()
    shown = folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder
    console.print(
        f"\n{len(table)} months in {seconds:.0f} s. Everything lies in {shown}: look around with\n"
        f"  .venv/bin/rehone status   -p {shown}\n"
        f"  .venv/bin/rehone history  -p {shown}\n"
        f"  .venv/bin/rehone show     -p {shown} {table[-1].record.run_id}\n"
        f"  .venv/bin/rehone check    -p {shown} --as-of 2012-12-01\n"
        f"  .venv/bin/rehone rollback -p {shown}\n"
        f"  .venv/bin/rehone doctor   -p {shown}\n"
        f"  .venv/bin/rehone dashboard   {shown}\n"
        f"or open {shown / 'report.html'} in a browser."
    )
    check_story(table)


if __name__ == "__main__":
    main()
