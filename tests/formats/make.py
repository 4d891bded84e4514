"""Make the fixture of the present formats: a story project whose first version went through a trial.

    python tests/formats/make.py v1

Refuses a folder that is already there: what was released is never written again.
"""

from __future__ import annotations

import http.server
import json
import shutil
import socket
import sys
import tempfile
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from conftest import START, Project, world  # noqa: E402 - the tests are not a package
from rehone import load, pipeline  # noqa: E402
from rehone.config import load_config  # noqa: E402
from rehone.records import RunStatus  # noqa: E402
from rehone.store import Store  # noqa: E402

DAY = 70
KEPT = ("rehone.toml", "store", "runs")


def make(target: Path) -> None:
    """Run the story once and keep its store, its records and what the version says of a few rows."""
    target.mkdir()
    with tempfile.TemporaryDirectory() as folder:
        project = Project(Path(folder))
        project.feed(0, DAY)
        server = _answer_for(project.root / "store")
        project.configure(
            project={"name": "formats"},
            deploy={"health_url": f"http://127.0.0.1:{server.server_port}/", "trial_seconds": 5.0},
        )
        record = pipeline.run(load_config(project.root), _door())
        server.shutdown()
        if record.status is not RunStatus.DEPLOYED:
            raise SystemExit(f"the story did not deploy: {record.sentence}")
        for name in KEPT:
            place = project.root / name
            if place.is_dir():
                shutil.copytree(place, target / name, symlinks=True)
            else:
                shutil.copy2(place, target / name)
        rows = world(START + timedelta(days=200), rows=12).drop("at", "label")
        said = {
            "version": record.version,
            "run_id": record.run_id,
            "rows": rows.to_dicts(),
            "probabilities": load(project.root).predict_proba(rows).tolist(),
        }
    (target / "expected.json").write_text(json.dumps(said, indent=1) + "\n")


def _door() -> pipeline.Door:
    return pipeline.Door(
        as_of=datetime(START.year, START.month, START.day, tzinfo=UTC) + timedelta(days=DAY),
        clock=lambda: datetime.now(UTC),
        run_id=f"{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}-a0b1c2",
        actor="maker@example",
        host="example",
        pid=1,
        git_commit="0" * 40,
    )


def _answer_for(root: Path) -> http.server.ThreadingHTTPServer:
    """Be a service that takes whatever the log names."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            head = Store(root).head()
            body = json.dumps({"model_loaded": True, "version": head.version if head else None}).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


if __name__ == "__main__":
    socket.gethostname = lambda: "example"  # the run lock says where it was taken
    make(HERE / sys.argv[1])
