"""Weights & Biases is told for real: its own files are read back record by record."""

from __future__ import annotations

import gzip
import json
import socket
import struct
import subprocess
import threading
import time
import zlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from wandb.proto import wandb_internal_pb2 as proto

from conftest import Project
from rehone import api
from rehone.observers import facts
from rehone.records import RunStatus

OFFLINE = {"use": ["wandb"], "wandb_mode": "offline", "timeout_seconds": 240}
BLOCK, HEADER = 32_768, 7
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def _records(file: Path) -> Iterator[Any]:
    """Read a run file: LevelDB's log format, 32 KB blocks of framed protobuf records, each with its checksum."""
    data = file.read_bytes()
    assert data[:4] == b":W&B"
    at, whole = HEADER, b""
    while at + HEADER <= len(data):
        left = BLOCK - at % BLOCK
        if left < HEADER:  # the end of a block too short for a header is filled with zeros
            at += left
            continue
        checksum, size, kind = struct.unpack("<IHB", data[at : at + HEADER])
        body = data[at + HEADER : at + HEADER + size]
        assert zlib.crc32(bytes([kind]) + body) == checksum
        at += HEADER + size
        whole = body if kind in (FULL, FIRST) else whole + body
        if kind in (FULL, LAST):
            record = proto.Record()
            record.ParseFromString(whole)
            yield record


class Told:
    """What the run file of one W&B run says."""

    def __init__(self, folder: Path) -> None:
        (file,) = folder.glob("run-*.wandb")
        self.folder = folder
        self.history: dict[str, Any] = {}
        self.summary: dict[str, Any] = {}
        self.config: dict[str, Any] = {}
        self.files: list[str] = []
        self.exit_code: int | None = None
        for record in _records(file):
            self._read(record)

    def _read(self, record: Any) -> None:
        kind = record.WhichOneof("record_type")
        if kind == "run":
            self.run = record.run
            self.config |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
        elif kind == "history":
            self.history |= _items(record.history.item)
        elif kind == "summary":
            self.summary |= _items(record.summary.update)
        elif kind == "files":
            self.files += [file.path for file in record.files.files]
        elif kind == "exit":
            self.exit_code = record.exit.exit_code


def _items(items: Any) -> dict[str, Any]:
    return {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in items}


def _folders(project: Project) -> list[Path]:
    return sorted((project.root / "wandb").glob("offline-run-*"))


@pytest.fixture
def quick(tmp_path: Path) -> Project:
    """Return a project without data, whose runs fail at once."""
    return Project(tmp_path)


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Return a project whose first deployment was told, and a rollback by hand after it."""
    made = Project(tmp_path_factory.mktemp("told"))
    made.configure(
        trackers={**OFFLINE, "wandb_project": "fraud"}, train={"candidates": ["logistic_regression", "lightgbm"]}
    )
    made.feed(0, 70)
    assert made.run(70).status is RunStatus.DEPLOYED
    api.rollback(made.root, to="none", because="a fire drill")
    return made


def test_a_run_is_logged_whole_without_account_or_network(told: Project) -> None:
    """Configuration, every candidate, both ends of the gate, trigger, verdict: read back from the file."""
    (record,) = api.history(told.root)
    run = Told(_folders(told)[0])
    assert (run.run.run_id, run.run.display_name, run.run.project) == (record.run_id, record.run_id, "fraud")
    assert run.run.notes == record.sentence
    assert list(run.run.tags) == ["deployed", "bootstrap", "pass"]
    assert run.config["config"] == json.loads(json.dumps(record.config))
    assert record.winner is not None
    assert run.config["winner"]["cv_roc_auc_mean"] == record.winner.cv_roc_auc_mean
    numbers = {name: value for name, value in run.history.items() if not name.startswith("_")}
    assert numbers == facts.metrics(record)
    assert {f"candidate/{c.name}.trailing.cv_roc_auc_mean" for c in record.candidates} <= set(numbers)
    words = facts.tags(record)
    assert {name: run.summary[name] for name in words} == words
    assert run.exit_code == 0


def test_the_record_itself_is_among_its_files(told: Project) -> None:
    """Byte for byte what stands beside the ledger."""
    (record,) = api.history(told.root)
    run = Told(_folders(told)[0])
    assert "rehone-run.json" in run.files
    kept = (run.folder / "files" / "rehone-run.json").read_bytes()
    assert kept == next((told.root / "runs").glob(f"2*/*/{record.run_id}.json")).read_bytes()


def test_a_rollback_by_hand_is_logged_and_a_deployment_of_a_run_stands_with_it(told: Project) -> None:
    """Each deployment is told once: with its run, or on its own."""
    (record,) = api.history(told.root)
    assert len(_folders(told)) == 2
    rollback = Told(_folders(told)[1])
    assert (rollback.run.run_id, rollback.run.job_type) == ("story-deployment-2", "deployment")
    assert rollback.config["reason"] == "a fire drill"
    assert rollback.config["action"] == "rollback"
    (first,) = api.deliveries(told.root, "deployment-1")
    assert first.link == f"with run {record.run_id}"


def test_nothing_of_this_machine_is_sent_along(told: Project) -> None:
    """Neither the code nor the command line nor the hardware."""
    names = {path.name for folder in _folders(told) for path in (folder / "files").rglob("*")}
    assert names == {"rehone-run.json", "rehone-deployment.json"}


def test_a_failed_run_is_a_failed_run_there_and_telling_twice_makes_one(quick: Project) -> None:
    """When the notes are lost, the files that were not sent are written anew under the same id."""
    quick.configure(trackers={**OFFLINE, "wandb_folder": "told/wandb"})
    record = quick.run(70)
    (delivery,) = api.deliveries(quick.root, record.run_id)
    delivery_folder = Path(str(delivery.link))
    assert delivery_folder.parent == quick.root / "told" / "wandb"
    assert Told(delivery_folder).exit_code == 1
    (quick.root / "runs" / "deliveries" / "wandb" / f"{record.run_id}.told.json").unlink()
    (check,) = api.tell(quick.root)
    assert check.detail == "wandb was told of 1 run or deployment"
    (again,) = (quick.root / "told" / "wandb").glob("offline-run-*")
    assert Told(again).run.run_id == record.run_id
    next(again.glob("run-*.wandb")).with_suffix(".wandb.synced").touch()
    (quick.root / "runs" / "deliveries" / "wandb" / f"{record.run_id}.told.json").unlink()
    api.tell(quick.root)
    assert list((quick.root / "told" / "wandb").glob("offline-run-*")) == [again]


# --- online ----------------------------------------------------------------------------------------------


class Service:
    """What W&B's client needs of the service, which nobody but W&B can run: it takes everything and keeps it."""

    def __init__(self) -> None:
        self.bucket: dict[str, Any] = {}
        self.history: list[dict[str, Any]] = []
        self.uploads: dict[str, bytes] = {}
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                pass

            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                data = json.dumps(service.take(self.path, body)).encode()
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PUT = _answer  # noqa: N815  the names that http.server asks for

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that goes is no error
        self.url = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def take(self, path: str, body: bytes) -> dict[str, Any]:
        """Keep what is sent, and answer what the client waits for."""
        if path.startswith("/upload/"):
            self.uploads[path.removeprefix("/upload/")] = body
        elif path.endswith("/file_stream"):
            lines = json.loads(body).get("files", {}).get("wandb-history.jsonl", {}).get("content", [])
            self.history += [json.loads(line) for line in lines]
        elif path == "/graphql":
            asked = json.loads(body)
            return {"data": self._data(asked["query"], asked.get("variables") or {})}
        return {}

    def _data(self, query: str, given: dict[str, Any]) -> dict[str, Any]:
        if "mutation UpsertBucket" in query:
            self.bucket |= {name: value for name, value in given.items() if value is not None}
            project = {"id": "p", "name": given["project"], "entity": {"id": "e", "name": given.get("entity") or "me"}}
            bucket = {"id": "b", "name": given["name"], "displayName": given.get("displayName"), "project": project}
            return {"upsertBucket": {"bucket": {**bucket, "config": given.get("config")}, "inserted": True}}
        if "mutation CreateRunFiles" in query:
            files = [{"name": name, "uploadUrl": f"{self.url}/upload/{name}"} for name in given["files"]]
            return {"createRunFiles": {"runID": "b", "uploadHeaders": [], "files": files}}
        return {}


@pytest.fixture
def service() -> Iterator[Service]:
    """Return a stand-in for the service."""
    made = Service()
    yield made
    made.http.shutdown()
    made.http.server_close()


def test_online_the_same_record_is_sent(quick: Project, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under the id of the run, with the record's numbers, its file, and the address of its page as the link."""
    _online(quick, monkeypatch, service.url, "0" * 40, 120)
    record = quick.run(70)
    (delivery,) = api.deliveries(quick.root, record.run_id)
    assert delivery.error == ""
    assert delivery.link == f"{service.url}/me/story/runs/{record.run_id}"
    assert (service.bucket["name"], service.bucket["project"]) == (record.run_id, "story")
    assert json.loads(service.bucket["config"])["config"]["value"] == json.loads(json.dumps(record.config))
    (numbers,) = service.history
    assert {name: value for name, value in numbers.items() if not name.startswith("_")} == facts.metrics(record)
    kept = next((quick.root / "runs").glob(f"2*/*/{record.run_id}.json")).read_bytes()
    assert service.uploads["rehone-run.json"] == kept
    assert json.loads(service.uploads["wandb-summary.json"])["sentence"] == record.sentence


# --- online, when it is not there -----------------------------------------------------------------------


def _online(project: Project, monkeypatch: pytest.MonkeyPatch, address: str, key: str | None, seconds: float) -> None:
    monkeypatch.setenv("WANDB_BASE_URL", address)
    monkeypatch.setenv("HOME", str(project.root))  # so that no login of this machine is used
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    if key:
        monkeypatch.setenv("WANDB_API_KEY", key)
    project.configure(trackers={"use": ["wandb"], "timeout_seconds": seconds})


def _tell_later(project: Project) -> None:
    """Change to offline, as a person might, and let doctor deliver what is open."""
    project.configure(trackers=OFFLINE)
    check = next(check for check in api.doctor(project.root) if check.name == "tracker")
    assert check.detail == "wandb was told of 1 run or deployment"


def test_without_an_account_the_run_ends_as_ever(quick: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sentence says what is missing, and doctor delivers once that is put right."""
    _online(quick, monkeypatch, "http://127.0.0.1:1", None, 240)
    record = quick.run(70)
    assert record.problem is not None
    assert record.problem.type == "DataError"
    (delivery,) = api.deliveries(quick.root, record.run_id)
    assert delivery.delivered_at is None
    assert "No API key configured" in delivery.error
    _tell_later(quick)


@pytest.mark.parametrize("answers", [False, True])
def test_a_service_that_is_down_or_hangs_is_told_later(
    quick: Project, monkeypatch: pytest.MonkeyPatch, answers: bool
) -> None:
    """Refused connections and endless silence cost no more than the time that is given."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        if not answers:
            listening.close()
        _online(quick, monkeypatch, f"http://127.0.0.1:{port}", "0" * 40, 15)
        begun = time.monotonic()
        record = quick.run(70)
        assert time.monotonic() - begun < 60
    assert record.problem is not None
    assert record.problem.type == "DataError"
    (delivery,) = api.deliveries(quick.root, record.run_id)
    assert (delivery.attempts, delivery.delivered_at) == (1, None)
    assert delivery.error
    assert not _cores(quick.root)
    _tell_later(quick)


def _cores(root: Path) -> list[str]:
    """Return the processes of W&B that still run for this project."""
    found = subprocess.run(["ps", "-eo", "pid=,args="], capture_output=True, text=True, check=True)
    for line in found.stdout.splitlines():
        if "wandb-core" in line and _cwd(line.split()[0]) == str(root):
            time.sleep(2)  # one that was told to go may need a moment
            if _cwd(line.split()[0]) == str(root):
                return [line]
    return []


def _cwd(pid: str) -> str:
    try:
        return str(Path(f"/proc/{pid}/cwd").readlink())
    except OSError:
        return ""
