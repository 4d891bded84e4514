"""Data in an object store, over HTTP, is the same as in a folder; a store that is away is no damaged file."""

from __future__ import annotations

import gzip
import io
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import obstore
import polars as pl
import pytest
from moto.server import ThreadedMotoServer
from obstore.store import S3Store

from conftest import START, Project, world
from rehone.codec import encode
from rehone.config import Data, Storage
from rehone.data import Source, open_source
from rehone.errors import DataError, SourceAway
from rehone.records import RunRecord, RunStatus, Window
from rehone.store import Store

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "AKIDNOTREAL",
    "AWS_SECRET_ACCESS_KEY": "never-written-anywhere",
    "AWS_REGION": "us-east-1",
}
AS_OF = datetime(2026, 3, 1, tzinfo=UTC)
EVER = Window(datetime(2025, 1, 1, tzinfo=UTC), AS_OF)


class Door(BaseHTTPRequestHandler):
    """Stands before the object store: notes what is asked, and answers itself where a test wants that."""

    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        cloud: Cloud = self.server.cloud  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if cloud.closed:
            self.close_connection = True
            return
        cloud.asked.append((self.command, self.path))
        own = cloud.instead(self.command, self.path)
        if own is None:
            status, headers, data = cloud.forward(self.command, self.path, body, dict(self.headers))
        else:
            status, headers, data = own, {}, b"<Error><Code>Fault</Code></Error>"
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", headers.get("Content-Length") or str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = answer  # noqa: N815 - named by http.server

    def log_message(self, *_: Any) -> None:
        pass


class Cloud:
    """One bucket of a service that speaks S3, behind a door that a test can close."""

    def __init__(self, address: tuple[str, int], name: str) -> None:
        self.name, self._address, self.closed = name, address, False
        self.asked: list[tuple[str, str]] = []
        self.instead: Callable[[str, str], int | None] = lambda _method, _path: None
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
        self._server.cloud = self  # type: ignore[attr-defined]
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.forward("PUT", f"/{name}", b"", {})
        options = {"client_options": {"allow_http": True}}
        self.bucket = S3Store(name, endpoint="http://{}:{}".format(*address), region="us-east-1", **options)

    def forward(
        self, method: str, path: str, body: bytes, headers: dict[str, str]
    ) -> tuple[int, dict[str, str], bytes]:
        connection = HTTPConnection(*self._address, timeout=30)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            data = answer.read()
        finally:
            connection.close()
        passed = ("Content-Range", "Content-Type", "ETag", "Last-Modified", "x-amz-meta-rehone-writer")
        kept = {name: value for name, value in answer.getheaders() if name.lower() in map(str.lower, passed)}
        if method == "HEAD":
            kept["Content-Length"] = answer.getheader("Content-Length") or "0"
        return answer.status, kept, data

    def close(self) -> None:
        """Go away: who is connected is cut off, and nobody else gets in."""
        self.closed = True
        self._server.shutdown()
        self._server.server_close()

    @property
    def keys(self) -> dict[str, Any]:
        """What rehone.toml says of it."""
        return {"endpoint": self.url, "region": "us-east-1", "allow_http": True}

    @property
    def storage(self) -> Storage:
        return Storage(**self.keys)

    def put(self, key: str, data: bytes) -> None:
        obstore.put(self.bucket, key, data)

    def get(self, key: str) -> bytes:
        return bytes(obstore.get(self.bucket, key).bytes())

    def names(self, prefix: str) -> list[str]:
        return sorted(meta["path"] for batch in obstore.list(self.bucket, prefix) for meta in batch)

    def feed(self, first: int, last: int, prefix: str = "data", **dials: Any) -> None:
        """Write the objects of days `first <= n < last`, the same bytes as `Project.feed` writes as files."""
        for n in range(first, last):
            day = START + timedelta(days=n)
            self.put(f"{prefix}/{day}.parquet", parquet(world(day, **dials)))


@pytest.fixture(scope="session")
def service() -> Iterator[tuple[str, int]]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield server.get_host_and_port()
    server.stop()


@pytest.fixture
def cloud(service: tuple[str, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    for key, value in CREDENTIALS.items():
        monkeypatch.setenv(key, value)
    made = Cloud(service, f"bucket-{abs(hash(tmp_path)) % 10**12}")
    yield made
    made.close()


def parquet(frame: pl.DataFrame) -> bytes:
    data = io.BytesIO()
    frame.write_parquet(data)
    return data.getvalue()


def far(root: Path, cloud: Cloud, **sections: dict[str, Any]) -> Project:
    """Return a project whose data lies in the bucket."""
    root.mkdir(exist_ok=True)
    made = Project(root)
    sections["data"] = {"source": f"s3://{cloud.name}/data/*.parquet"} | sections.get("data", {})
    made.configure(storage=cloud.keys, **sections)
    return made


MOMENTARY = {
    "config", "config_sha256", "deployment", "deployment_checks", "finished_at", "fit_seconds", "run_id", "seconds",
    "started_at", "version",
}  # fmt: skip


def told(record: RunRecord, cloud: Cloud) -> Any:
    """Return all that a record says, without what belongs to its own moment, place and version."""
    versions = {v for v in (record.version, record.champion) if v}
    text = encode(record).decode().replace(f"s3://{cloud.name}/", "")
    text = re.sub(r"6 files, [0-9,]+ bytes", "6 files", text)  # one of them is the record
    for version in versions:
        text = text.replace(version, "V").replace(version[:12], "V")
    return _lasting(json.loads(text))


def _lasting(told: Any) -> Any:
    if isinstance(told, list):
        return [_lasting(item) for item in told]
    if not isinstance(told, dict):
        return told
    digest_of_paths = {"sha256"} if "files" in told else set()
    return {key: _lasting(value) for key, value in told.items() if key not in MOMENTARY | digest_of_paths}


def test_a_whole_project_on_objects_ends_as_one_on_files_does(tmp_path: Path, cloud: Cloud) -> None:
    """First deployment, a quiet day, and drift: the same decisions, numbers and models; the record names addresses."""
    (tmp_path / "here").mkdir()
    here, there = Project(tmp_path / "here"), far(tmp_path / "far", cloud)
    here.configure()
    for first, last, dials, status in (
        (0, 70, {}, RunStatus.DEPLOYED),
        (70, 71, {}, RunStatus.SKIPPED),
        (71, 85, {"shift": 1.5, "turn": 1.0}, None),
    ):
        here.feed(first, last, **dials)
        cloud.feed(first, last, **dials)
        one, other = here.run(last), there.run(last)
        assert told(other, cloud) == told(one, cloud)
        assert status in (one.status, None)
        if one.data is not None and other.data is not None:
            where = f"s3://{cloud.name}/"
            assert [f.path for f in other.data.files] == [where + f.path for f in one.data.files]
            assert other.data.source == f"{where}data/*.parquet"
    champions = [Store(p.root / "store").versions() for p in (here, there)]
    assert len(champions[0]) == len(champions[1])
    for mine, theirs in zip(*champions, strict=True):
        for name in ("profile.json", "golden.json", "fingerprints.npy"):
            assert theirs.manifest.files[name] == mine.manifest.files[name], name
        assert theirs.manifest.threshold == mine.manifest.threshold
    texts = [path.read_bytes() for path in there.root.rglob("*") if path.is_file()]
    assert any(cloud.url.encode() in text for text in texts)
    assert not [text for text in texts if CREDENTIALS["AWS_SECRET_ACCESS_KEY"].encode() in text]


def test_a_daily_check_reads_the_new_object_and_of_the_others_no_more_than_footers(
    tmp_path: Path, cloud: Cloud
) -> None:
    cloud.feed(0, 70, rows=400)
    project = far(tmp_path, cloud)
    assert project.run(70).status is RunStatus.DEPLOYED
    cloud.feed(70, 71, rows=400)
    cloud.asked.clear()
    assert project.run(71).status is RunStatus.SKIPPED
    lists = [path for _, path in cloud.asked if "list-type=2" in path]
    assert len(lists) == 1
    assert not [path for method, path in cloud.asked if method == "HEAD"]
    asked: dict[str, int] = {}
    for _, path in cloud.asked:
        asked[path] = asked.get(path, 0) + 1
    old = [n for path, n in asked.items() if "2026-01-" in path and path.endswith(".parquet")]
    assert old == [1] * 31  # a footer each
    assert asked[f"/{cloud.name}/data/2026-03-12.parquet"] > 2


LAYOUTS: dict[str, tuple[str, list[str]]] = {
    "data": (".parquet", ["data/2026-01-01.parquet", "data/a/2026-01-02.parquet", "data/_x/2026-01-03.parquet"]),
    "data/*.parquet": (
        ".parquet",
        ["data/2026-01-01.parquet", "data/.2026-01-02.parquet", "data/a/2026-01-03.parquet"],
    ),
    "data/**/*.parquet": (
        ".parquet",
        ["data/2026-01-01.parquet", "data/a/b/2026-01-02.parquet", "data/.h/2026-01-03.parquet"],
    ),
    "data/2026-01-0[12].parquet": (".parquet", [f"data/2026-01-0{n}.parquet" for n in (1, 2, 3)]),
    "data/2026-01-0[!1].parquet": (".parquet", [f"data/2026-01-0{n}.parquet" for n in (1, 2, 3)]),
    "data/2026-01-0?.parquet": (
        ".parquet",
        ["data/2026-01-01.parquet", "data/2026-01-011.parquet", "data/2026-01-10.parquet"],
    ),
    "data/*/part.parquet": (".parquet", ["data/day=2026-01-01/part.parquet", "data/day=2026-01-02/part.parquet"]),
    "data/2026-01-01.parquet": (".parquet", ["data/2026-01-01.parquet", "data/2026-01-01.parquet.pq"]),
    "data/*.csv": (".csv", ["data/2026-01-01.csv", "data/2026-01-02.csv"]),
    "data/*.tsv.gz": (".tsv.gz", ["data/2026-01-01.tsv.gz", "data/2026-01-02.tsv.gz"]),
    "da ta/[a-c]*+ü(1).csv": (".csv", ["da ta/a 2026-01-01+ü(1).csv", "da ta/b%20+ü(1).csv"]),
}


@pytest.mark.parametrize("pattern", LAYOUTS)
def test_a_source_means_the_same_objects_as_files(tmp_path: Path, cloud: Cloud, pattern: str) -> None:
    """Folders, globs, hive partitions and formats: the same files, rows, types, digests and findings."""
    ending, names = LAYOUTS[pattern]
    for n, name in enumerate(names):
        data = written(world(date(2026, 1, 1) + timedelta(days=n), rows=20), ending)
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
        cloud.put(name, data)
    here = opened(tmp_path, pattern)
    there = opened(tmp_path, f"s3://{cloud.name}/{pattern}", cloud.storage)
    where = f"s3://{cloud.name}/"
    assert [f.path for f in there.files] == [where + f.path for f in here.files]
    assert [(f.day, f.partitions, f.rows, f.span, f.schema) for f in there.files] == [
        (f.day, f.partitions, f.rows, f.span, f.schema) for f in here.files
    ]
    assert there.read(EVER).equals(here.read(EVER))
    assert [f.sha256 for f in there.describe(EVER).files] == [f.sha256 for f in here.describe(EVER).files]
    assert [c.name for c in there.findings] == [c.name for c in here.findings]


def written(frame: pl.DataFrame, ending: str) -> bytes:
    if ending == ".parquet":
        return parquet(frame)
    text = frame.write_csv(separator="\t" if "tsv" in ending else ",").encode()
    return gzip.compress(text) if ending.endswith(".gz") else text


def opened(root: Path, source: str, storage: Storage | None = None) -> Source:
    policy = Data(source=source, time_column="at", label="label")
    return open_source(policy, root, cache=root / "cache", as_of=AS_OF, storage=storage)


def test_what_is_not_there_is_said_with_what_is(tmp_path: Path, cloud: Cloud) -> None:
    cloud.put("data/readme.txt", b"")
    with pytest.raises(DataError) as caught:
        opened(tmp_path, f"s3://{cloud.name}/data/*.parquet", cloud.storage)
    assert str(caught.value) == (
        f"no Parquet or CSV file matches 's3://{cloud.name}/data/*.parquet' (1 objects lie below "
        f"s3://{cloud.name}/data, need at least 1 that matches): put files there, or correct data.source"
    )


@pytest.mark.parametrize(
    "harm", [lambda data: data[:-40], lambda data: data[: len(data) // 2] + data[-200:], lambda _: b""]
)
def test_a_damaged_object_is_a_finding_that_names_it(
    tmp_path: Path, cloud: Cloud, harm: Callable[[bytes], bytes]
) -> None:
    cloud.feed(0, 5)
    cloud.put("data/2026-01-03.parquet", harm(cloud.get("data/2026-01-03.parquet")))
    source = opened(tmp_path, f"s3://{cloud.name}/data", cloud.storage)
    if not source.findings:  # its footer is whole
        with pytest.raises(DataError, match=f"s3://{cloud.name}/data/2026-01-03.parquet cannot be read as parquet"):
            source.read(EVER)
    (found,) = source.findings
    assert (found.name, found.subject) == ("file_readable", f"s3://{cloud.name}/data/2026-01-03.parquet")
    assert source.read(EVER).height == 4 * 60


def test_schemas_that_differ_and_a_wrong_day_are_found_as_on_disk(tmp_path: Path, cloud: Cloud) -> None:
    project = far(tmp_path / "far", cloud)
    here = Project(tmp_path / "here")
    here.root.mkdir()
    here.configure()
    here.feed(0, 70)
    (here.root / "data" / "2026-03-01.parquet").write_bytes(parquet(world(date(2026, 2, 20))))
    odd = world(date(2026, 3, 2)).with_columns(pl.col("amount").cast(pl.String))
    (here.root / "data" / "2026-03-02.parquet").write_bytes(parquet(odd))
    for path in (here.root / "data").iterdir():
        cloud.put(f"data/{path.name}", path.read_bytes())
    one, other = here.run(70), project.run(70)
    assert [(c.name, c.status) for c in other.data_checks] == [(c.name, c.status) for c in one.data_checks]
    assert (one.status, one.problem) == (other.status, other.problem)
    assert other.sentence.replace(f"s3://{cloud.name}/", "") == one.sentence


def test_an_object_that_changes_between_listing_and_digest_is_not_described(tmp_path: Path, cloud: Cloud) -> None:
    cloud.feed(0, 3)
    source = opened(tmp_path, f"s3://{cloud.name}/data", cloud.storage)
    cloud.put("data/2026-01-02.parquet", parquet(world(date(2026, 1, 2), seed=9)))
    with pytest.raises(DataError, match="changed while the window was read: run again when the feed has finished"):
        source.describe(EVER)


def test_an_endpoint_that_is_down_fails_the_run_that_may_be_tried_again(tmp_path: Path, cloud: Cloud) -> None:
    cloud.feed(0, 70)
    project = far(tmp_path, cloud)
    assert project.run(70).status is RunStatus.DEPLOYED
    cloud.close()
    began = time.monotonic()
    record = project.run(71)
    assert time.monotonic() - began < 60
    assert (record.status, record.retry) == (RunStatus.FAILED, True)
    assert record.problem is not None
    assert record.problem.type == "SourceAway"
    assert f"listing s3://{cloud.name}/data failed" in record.sentence
    assert "look whether the service answers" in record.sentence


@pytest.mark.parametrize(
    ("status", "said"),
    [(500, "failed"), (503, "failed"), (403, "is not allowed"), (401, "is not allowed")],
)
def test_a_store_that_stops_answering_after_the_listing_is_not_taken_for_damaged_files(
    tmp_path: Path, cloud: Cloud, status: int, said: str
) -> None:
    cloud.feed(0, 5)
    cloud.instead = lambda _, path: status if path.endswith(".parquet") else None
    with pytest.raises(SourceAway, match=said):
        opened(tmp_path, f"s3://{cloud.name}/data", cloud.storage)


@pytest.mark.parametrize("ask", [lambda s: s.read(EVER), lambda s: s.describe(EVER)])
def test_a_store_that_goes_away_while_rows_are_read_is_said_to_be_away(
    tmp_path: Path, cloud: Cloud, ask: Callable[[Source], object]
) -> None:
    cloud.feed(0, 5)
    source = opened(tmp_path, f"s3://{cloud.name}/data", cloud.storage)
    cloud.instead = lambda _, path: 500 if path.endswith(".parquet") else None
    with pytest.raises(SourceAway, match=f"{cloud.name}/data/2026-01-0"):
        ask(source)
    assert source.findings == ()
    cloud.instead = lambda *_: None
    ask(source)


def test_a_hiccup_is_tried_again_and_not_seen(tmp_path: Path, cloud: Cloud) -> None:
    cloud.feed(0, 5)
    left = iter([503, 500, 503])
    cloud.instead = lambda _, path: next(left, None) if path.endswith(".parquet") else None
    source = opened(tmp_path, f"s3://{cloud.name}/data", cloud.storage)
    assert source.read(EVER).height == 5 * 60
    assert next(left, None) is None


def test_a_bucket_that_is_not_there_is_named(tmp_path: Path, cloud: Cloud) -> None:
    with pytest.raises(SourceAway, match="there is no bucket s3://none-such: make it, or correct the address"):
        opened(tmp_path, "s3://none-such/data", cloud.storage)
