"""A bucket with data in it, behind a door: what tests of data and of the prediction log share."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import obstore
import polars as pl
import pytest
from obstore.store import S3Store
from s3_kit import CREDENTIALS, Door, service

from conftest import START, world
from rehone.config import Storage


class Bucket(Door):
    """One bucket of a service that speaks S3; what a test puts does not pass the door."""

    def __init__(self, port: int, name: str) -> None:
        super().__init__(port, name)
        options = {"endpoint": f"http://127.0.0.1:{port}", "client_options": {"allow_http": True}}
        self._store = S3Store(name, region="us-east-1", **options)

    @property
    def keys(self) -> dict[str, Any]:
        """What rehone.toml says of it."""
        return {"endpoint": self.url, "region": "us-east-1", "allow_http": True}

    @property
    def storage(self) -> Storage:
        return Storage(**self.keys)

    def put(self, key: str, data: bytes) -> None:
        obstore.put(self._store, key, data)

    def get(self, key: str) -> bytes:
        return bytes(obstore.get(self._store, key).bytes())

    def names(self, prefix: str) -> list[str]:
        """List all keys below a prefix, sorted."""
        return sorted(meta["path"] for batch in obstore.list(self._store, prefix) for meta in batch)

    def feed(self, first: int, last: int, **dials: Any) -> None:
        """Write the objects of days `first <= n < last`, the same bytes as `Project.feed` writes as files."""
        for n in range(first, last):
            day = START + timedelta(days=n)
            self.put(f"data/{day}.parquet", parquet(world(day, **dials)))

    def answer_objects(self, statuses: Callable[[], int | None]) -> None:
        """Answer whoever reads a Parquet object with a status, or let him through; listings pass."""
        self.before = lambda knock: statuses() if knock.path.endswith(".parquet") and not knock.writes else None


def parquet(frame: pl.DataFrame) -> bytes:
    data = io.BytesIO()
    frame.write_parquet(data)
    return data.getvalue()


@pytest.fixture(name="port", scope="module")
def a_port() -> Iterator[int]:
    with service() as found:
        yield found


@pytest.fixture(name="bucket")
def a_bucket(port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    for key, value in CREDENTIALS.items():
        monkeypatch.setenv(key, value)
    made = Bucket(port, f"bucket-{abs(hash(tmp_path)) % 10**12}")
    yield made
    made.end()
