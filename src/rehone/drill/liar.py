"""Serve on this machine as a service that says OK and is not: it never leaves the old version."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from rehone.artifact import Predictor
from rehone.store import Store


@dataclass(frozen=True, slots=True)
class Story:
    """What a false service says: of itself, and of rows. With `claims` it names what it should serve, else what it does."""

    store: Store
    generation: int
    old: Predictor
    claims: bool
    key: str = "version"

    def health(self) -> dict[str, Any]:
        generation, version = self._named()
        return {
            "status": "ready",
            "model_loaded": True,
            "generation": generation,
            "version": version,
            self.key: version,
        }

    def predictions(self, sent: bytes) -> dict[str, Any]:
        generation, version = self._named()
        said = self.old.predict_proba(json.loads(sent)["rows"])
        predictions = [{"probability": float(p), "decision": bool(p >= self.old.threshold)} for p in said]
        return {"generation": generation, "version": version, "predictions": predictions}

    def _named(self) -> tuple[int, str | None]:
        head = self.store.head() if self.claims else None
        return (head.generation, head.version) if head else (self.generation, self.old.version)


@contextlib.contextmanager
def lying(story: Story) -> Iterator[str]:
    """Answer at an address of this machine, which is returned, until it is left."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._say(story.health())

        def do_POST(self) -> None:
            sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self._say(story.predictions(sent))

        def _say(self, body: dict[str, Any]) -> None:
            data = json.dumps(body).encode()
            with contextlib.suppress(ConnectionError):
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            """Say nothing: the requests are the drill's own."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
