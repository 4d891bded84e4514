"""Data in an object store, over HTTP, is the same as in a folder; a store that is away is no damaged file."""

from __future__ import annotations

import gzip
import json
import re
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from bucket_kit import Bucket, a_bucket, a_port, parquet  # noqa: F401 - two are fixtures
from s3_kit import CREDENTIALS

from conftest import Project, world
from rehone.codec import encode
from rehone.config import Data, Storage
from rehone.data import Source, open_source
from rehone.data.files import find
from rehone.errors import DataError, SourceAway
from rehone.records import RunRecord, RunStatus, Window
from rehone.store import Store

AS_OF = datetime(2026, 3, 1, tzinfo=UTC)
EVER = Window(datetime(2025, 1, 1, tzinfo=UTC), AS_OF)


def far(root: Path, bucket: Bucket, **sections: dict[str, Any]) -> Project:
    """Return a project whose data lies in the bucket."""
    root.mkdir(exist_ok=True)
    made = Project(root)
    sections["data"] = {"source": f"s3://{bucket.bucket}/data/*.parquet"} | sections.get("data", {})
    made.configure(storage=bucket.keys, **sections)
    return made


MOMENTARY = {
    "config", "config_sha256", "deployment", "deployment_checks", "finished_at", "fit_seconds", "run_id", "seconds",
    "started_at", "version",
}  # fmt: skip


def told(record: RunRecord, bucket: Bucket) -> Any:
    """Return all that a record says, without what belongs to its own moment, place and version."""
    versions = {v for v in (record.version, record.champion) if v}
    text = encode(record).decode().replace(f"s3://{bucket.bucket}/", "")
    text = re.sub(r"7 files, [0-9,]+ bytes", "7 files", text)  # one of them is the record
    text = re.sub(r"[0-9]{8}T[0-9]{12}Z-[0-9a-f]{6}", "R", text)
    for version in versions:
        text = text.replace(version, "V").replace(version[:12], "V")
    return _lasting(json.loads(text))


def _lasting(told: Any) -> Any:
    if isinstance(told, list):
        return [_lasting(item) for item in told]
    if not isinstance(told, dict):
        return told
    digest_of_paths = {"sha256"} if "files" in told else set()
    of_versions = {"sha256", "bytes"} if str(told.get("path", "")).endswith(".judged.npz") else set()  # it names them
    left_out = MOMENTARY | digest_of_paths | of_versions
    return {key: _lasting(value) for key, value in told.items() if key not in left_out}


def test_a_whole_project_on_objects_ends_as_one_on_files_does(tmp_path: Path, bucket: Bucket) -> None:
    """First deployment, a quiet day, and drift: the same decisions, numbers and models; the record names addresses."""
    (tmp_path / "here").mkdir()
    here, there = Project(tmp_path / "here"), far(tmp_path / "far", bucket)
    here.configure()
    for first, last, dials, status in (
        (0, 70, {}, RunStatus.DEPLOYED),
        (70, 71, {}, RunStatus.SKIPPED),
        (71, 85, {"shift": 1.5, "turn": 1.0}, None),
    ):
        here.feed(first, last, **dials)
        bucket.feed(first, last, **dials)
        one, other = here.run(last), there.run(last)
        assert told(other, bucket) == told(one, bucket)
        assert status in (one.status, None)
        if one.data is not None and other.data is not None:
            where = f"s3://{bucket.bucket}/"
            assert [f.path for f in other.data.files] == [where + f.path for f in one.data.files]
            assert other.data.source == f"{where}data/*.parquet"
    champions = [Store(p.root / "store").versions() for p in (here, there)]
    assert len(champions[0]) == len(champions[1])
    for mine, theirs in zip(*champions, strict=True):
        for name in ("profile.json", "golden.json", "fingerprints.npy"):
            assert theirs.manifest.files[name] == mine.manifest.files[name], name
        assert theirs.manifest.threshold == mine.manifest.threshold
    texts = [path.read_bytes() for path in there.root.rglob("*") if path.is_file()]
    assert any(bucket.url.encode() in text for text in texts)
    assert not [text for text in texts if CREDENTIALS["AWS_SECRET_ACCESS_KEY"].encode() in text]


def test_a_daily_check_reads_the_new_object_and_of_the_others_no_more_than_footers(
    tmp_path: Path, bucket: Bucket
) -> None:
    bucket.feed(0, 70, rows=400)
    project = far(tmp_path, bucket)
    assert project.run(70).status is RunStatus.DEPLOYED
    bucket.feed(70, 71, rows=400)
    bucket.knocks.clear()
    assert project.run(71).status is RunStatus.SKIPPED
    lists = [knock.path for knock in bucket.knocks if "list-type=2" in knock.path]
    assert len(lists) == 1
    assert not [knock.path for knock in bucket.knocks if knock.method == "HEAD"]
    asked: dict[str, int] = {}
    for knock in bucket.knocks:
        asked[knock.path] = asked.get(knock.path, 0) + 1
    old = [n for path, n in asked.items() if "2026-01-" in path and path.endswith(".parquet")]
    assert old == [1] * 31  # a footer each
    assert asked[f"/{bucket.bucket}/data/2026-03-12.parquet"] > 2


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
    "data/*/part.parquet": (
        ".parquet",
        ["data/day=2026-01-01/part.parquet", "data/day=2026-01-02/part.parquet", "data/.h/part.parquet"],
    ),
    "data/2026-01-01.parquet": (".parquet", ["data/2026-01-01.parquet", "data/2026-01-01.parquet.pq"]),
    "data/*.csv": (".csv", ["data/2026-01-01.csv", "data/2026-01-02.csv"]),
    "data/*.tsv.gz": (".tsv.gz", ["data/2026-01-01.tsv.gz", "data/2026-01-02.tsv.gz"]),
    "da ta/[a-c]*+ü(1).csv": (".csv", ["da ta/a 2026-01-01+ü(1).csv", "da ta/b%20+ü(1).csv"]),
}


@pytest.mark.parametrize("pattern", LAYOUTS)
def test_a_source_means_the_same_objects_as_files(tmp_path: Path, bucket: Bucket, pattern: str) -> None:
    """Folders, globs, hive partitions and formats: the same files, rows, types, digests and findings."""
    ending, names = LAYOUTS[pattern]
    for n, name in enumerate(names):
        data = written(world(date(2026, 1, 1) + timedelta(days=n), rows=20), ending)
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
        bucket.put(name, data)
    here = opened(tmp_path, pattern)
    there = opened(tmp_path, f"s3://{bucket.bucket}/{pattern}", bucket.storage)
    where = f"s3://{bucket.bucket}/"
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


def test_empty_objects_that_stand_for_folders_are_no_empty_files(bucket: Bucket) -> None:
    """Spark writes a folder named as a file, and some tools an object for the folder."""
    for folder in ("data/", "data/2026-01-01.parquet/"):
        assert bucket.make(folder) == 200
    bucket.put("data/2026-01-01.parquet/part-0.parquet", parquet(world(date(2026, 1, 1))))
    found = find(f"s3://{bucket.bucket}/data", Path(), bucket.storage)
    assert [file.path for file in found] == [f"s3://{bucket.bucket}/data/2026-01-01.parquet/part-0.parquet"]


def test_an_object_that_no_path_can_name_is_said(bucket: Bucket) -> None:
    """One of them spoils the whole listing, and no waiting helps."""
    assert bucket.make("data//2026-01-01.parquet") == 200
    with pytest.raises(
        SourceAway, match=r'Path "data//2026-01-01.parquet" .* remove it, or give it a name without empty'
    ):
        find(f"s3://{bucket.bucket}/data", Path(), bucket.storage)


def test_what_is_not_there_is_said_with_what_is(tmp_path: Path, bucket: Bucket) -> None:
    bucket.put("data/readme.txt", b"")
    with pytest.raises(DataError) as caught:
        opened(tmp_path, f"s3://{bucket.bucket}/data/*.parquet", bucket.storage)
    assert str(caught.value) == (
        f"no Parquet or CSV file matches 's3://{bucket.bucket}/data/*.parquet' (1 objects lie below "
        f"s3://{bucket.bucket}/data, need at least 1 that matches): put files there, or correct data.source"
    )


@pytest.mark.parametrize(
    "harm", [lambda data: data[:-40], lambda data: data[: len(data) // 2] + data[-200:], lambda _: b""]
)
def test_a_damaged_object_is_a_finding_that_names_it(
    tmp_path: Path, bucket: Bucket, harm: Callable[[bytes], bytes]
) -> None:
    bucket.feed(0, 5)
    bucket.put("data/2026-01-03.parquet", harm(bucket.get("data/2026-01-03.parquet")))
    source = opened(tmp_path, f"s3://{bucket.bucket}/data", bucket.storage)
    if not source.findings:  # its footer is whole
        with pytest.raises(DataError, match=f"s3://{bucket.bucket}/data/2026-01-03.parquet cannot be read as parquet"):
            source.read(EVER)
    (found,) = source.findings
    assert (found.name, found.subject) == ("file_readable", f"s3://{bucket.bucket}/data/2026-01-03.parquet")
    assert source.read(EVER).height == 4 * 60


def test_schemas_that_differ_and_a_wrong_day_are_found_as_on_disk(tmp_path: Path, bucket: Bucket) -> None:
    project = far(tmp_path / "far", bucket)
    here = Project(tmp_path / "here")
    here.root.mkdir()
    here.configure()
    here.feed(0, 70)
    (here.root / "data" / "2026-03-01.parquet").write_bytes(parquet(world(date(2026, 2, 20))))
    odd = world(date(2026, 3, 2)).with_columns(pl.col("amount").cast(pl.String))
    (here.root / "data" / "2026-03-02.parquet").write_bytes(parquet(odd))
    for path in (here.root / "data").iterdir():
        bucket.put(f"data/{path.name}", path.read_bytes())
    one, other = here.run(70), project.run(70)
    assert [(c.name, c.status) for c in other.data_checks] == [(c.name, c.status) for c in one.data_checks]
    assert (one.status, one.problem) == (other.status, other.problem)
    assert other.sentence.replace(f"s3://{bucket.bucket}/", "") == one.sentence


def test_an_object_that_changes_between_listing_and_digest_is_not_described(tmp_path: Path, bucket: Bucket) -> None:
    bucket.feed(0, 3)
    source = opened(tmp_path, f"s3://{bucket.bucket}/data", bucket.storage)
    bucket.put("data/2026-01-02.parquet", parquet(world(date(2026, 1, 2), seed=9)))
    with pytest.raises(DataError, match="changed while the window was read: run again when the feed has finished"):
        source.describe(EVER)


def test_an_endpoint_that_is_down_fails_the_run_that_may_be_tried_again(tmp_path: Path, bucket: Bucket) -> None:
    bucket.feed(0, 70)
    project = far(tmp_path, bucket)
    assert project.run(70).status is RunStatus.DEPLOYED
    bucket.shut()
    began = time.monotonic()
    record = project.run(71)
    assert time.monotonic() - began < 60
    assert (record.status, record.retry) == (RunStatus.FAILED, True)
    assert record.problem is not None
    assert record.problem.type == "SourceAway"
    assert f"listing s3://{bucket.bucket}/data failed" in record.sentence
    assert "look whether the service answers" in record.sentence


@pytest.mark.parametrize(
    ("status", "said"),
    [(500, "failed"), (503, "failed"), (403, "is not allowed"), (401, "is not allowed")],
)
def test_a_store_that_stops_answering_after_the_listing_is_not_taken_for_damaged_files(
    tmp_path: Path, bucket: Bucket, status: int, said: str
) -> None:
    bucket.feed(0, 5)
    bucket.answer_objects(lambda: status)
    with pytest.raises(SourceAway, match=said):
        opened(tmp_path, f"s3://{bucket.bucket}/data", bucket.storage)


@pytest.mark.parametrize("ask", [lambda s: s.read(EVER), lambda s: s.describe(EVER)])
def test_a_store_that_goes_away_while_rows_are_read_is_said_to_be_away(
    tmp_path: Path, bucket: Bucket, ask: Callable[[Source], object]
) -> None:
    bucket.feed(0, 5)
    source = opened(tmp_path, f"s3://{bucket.bucket}/data", bucket.storage)
    bucket.answer_objects(lambda: 500)
    with pytest.raises(SourceAway, match=f"{bucket.bucket}/data/2026-01-0"):
        ask(source)
    assert source.findings == ()
    bucket.open()
    ask(source)


def test_a_hiccup_is_tried_again_and_not_seen(tmp_path: Path, bucket: Bucket) -> None:
    bucket.feed(0, 5)
    left = iter([503, 500, 503])
    bucket.answer_objects(lambda: next(left, None))
    source = opened(tmp_path, f"s3://{bucket.bucket}/data", bucket.storage)
    assert source.read(EVER).height == 5 * 60
    assert next(left, None) is None


def test_a_bucket_that_is_not_there_is_named(tmp_path: Path, bucket: Bucket) -> None:
    with pytest.raises(SourceAway, match="there is no bucket s3://none-such: make it, or correct the address"):
        opened(tmp_path, "s3://none-such/data", bucket.storage)
