"""Play the world around a service: rows that arrive as requests, labels that arrive later.

    python traffic.py prepare FOLDER            rides that end yesterday, and a rehone.toml
    python traffic.py send URL --days 30        ask for the hours of the last 30 days, one request each
    python traffic.py label                     write the labels of what was asked

The rows are the real ones of `bike_high_demand`; only their dates are moved, so that the last day is yesterday.
`send` and `label` work in the present folder.
"""

from __future__ import annotations

import argparse
import http.client
import json
import shutil
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import polars as pl

HERE = Path(__file__).parent
RIDES = HERE.parent / "bike_high_demand" / "bike_high_demand.parquet"


def prepare(folder: Path) -> str:
    """Write the rides with dates that end yesterday, and an id for each hour."""
    rides = pl.read_parquet(RIDES)
    last = rides["event_date"].dt.date().max()
    moved = datetime.now(UTC).date() - timedelta(days=1) - last  # type: ignore[operator]
    folder.mkdir(parents=True, exist_ok=True)
    rides = rides.with_columns(event_date=pl.col("event_date") + moved)
    rides = rides.with_columns(hour_id=pl.col("event_date").dt.strftime("%Y%m%dT%H"))
    rides.write_parquet(folder / "rides.parquet")
    shutil.copy(HERE / "rehone.toml", folder)
    return f"{rides.height:,} hours, the last one at {rides['event_date'].max()}, are in {folder}"


def send(url: str, days: int) -> str:
    """Ask the service for each hour of the last days, as its clients would."""
    rides = pl.read_parquet("rides.parquet")
    since = rides["event_date"].max() - timedelta(days=days)  # type: ignore[operator]
    asked = rides.filter(pl.col("event_date") > since).drop("event_date", "label")
    busy, versions = 0, set()
    with closing(http.client.HTTPConnection(urlsplit(url).netloc, timeout=20)) as connection:
        for row in asked.iter_rows(named=True):
            connection.request("POST", "/predict", json.dumps(row))
            reply = connection.getresponse()
            answer = json.loads(reply.read())
            if reply.status != 200:
                sys.exit(f"HTTP {reply.status}: {answer['error']}")
            busy += answer["predictions"][0]["decision"]
            versions.add(f"{answer['version'][:12]} (generation {answer['generation']})")
    return f"{asked.height:,} hours asked, {busy:,} said to be busy, by {', '.join(sorted(versions))}"


def label() -> str:
    """Write the labels of every hour that is known, as the feed of labels would."""
    Path("labels").mkdir(exist_ok=True)
    now = datetime.now(UTC)
    known = pl.read_parquet("rides.parquet").select("hour_id", "label", event_date=pl.lit(now.replace(tzinfo=None)))
    path = Path("labels") / f"{now:%Y-%m-%dT%H%M%S}.parquet"
    known.write_parquet(path)
    return f"{known.height:,} labels are in {path}"


def main() -> None:
    """Do one thing and say what was done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("prepare").add_argument("folder", type=Path)
    sending = commands.add_parser("send")
    sending.add_argument("url")
    sending.add_argument("--days", type=int, default=30)
    commands.add_parser("label")
    asked = parser.parse_args()
    if asked.command == "prepare":
        said = prepare(asked.folder)
    elif asked.command == "send":
        said = send(asked.url, asked.days)
    else:
        said = label()
    sys.stdout.write(f"{said}\n")


if __name__ == "__main__":
    main()
