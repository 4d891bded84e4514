"""A service that speaks S3 on this machine, one request at a time as S3 orders them, and a door before it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "AKIDNOTREAL",
    "AWS_SECRET_ACCESS_KEY": "never-written-anywhere",
    "AWS_REGION": "us-east-1",
    "AWS_ALLOW_HTTP": "",
}

SERVICE = """
import logging, sys, threading
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

logging.getLogger("werkzeug").setLevel(logging.ERROR)
app, turn = DomainDispatcherApplication(create_backend_app), threading.Lock()

def one_at_a_time(environ, start_response):  # moto looks and writes in two steps, S3 in one
    with turn:
        return app(environ, start_response)

server = make_server("127.0.0.1", 0, one_at_a_time, threaded=True)
print(server.server_port, flush=True)
threading.Thread(target=lambda: (sys.stdin.read(), server.shutdown()), daemon=True).start()
server.serve_forever()
"""


@contextlib.contextmanager
def service() -> Iterator[int]:
    """Run moto as a process of its own, and return its port."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVICE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **CREDENTIALS},
    )
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


class Knock:
    """One request as the door sees it."""

    def __init__(self, number: int, method: str, path: str, headers: dict[str, str]) -> None:
        self.number, self.method, self.path, self.headers = number, method, path, headers

    @property
    def writes(self) -> bool:
        return self.method in ("PUT", "POST", "DELETE")


class Door:
    """Passes requests on to the service; a test decides what happens before and after each.

    `before` may change the headers, and returns a status to answer instead, or raises
    `ConnectionError` to hang up; `after` may do so when the service has done what was asked.
    """

    def __init__(self, port: int, bucket: str) -> None:
        self.bucket = bucket
        self._port = port
        self.before: Callable[[Knock], int | None] = lambda _: None
        self.after: Callable[[Knock], None] = lambda _: None
        self.knocks: list[Knock] = []
        self._one = threading.Lock()
        door = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                with contextlib.suppress(ConnectionError):
                    door.pass_on(self, port)
                    return
                self.close_connection = True

            def log_message(self, *_: Any) -> None:
                pass

        for method in ("GET", "PUT", "POST", "HEAD", "DELETE"):
            setattr(Handler, f"do_{method}", Handler.answer)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        _asked(port, "PUT", f"/{bucket}", b"", {})

    def pass_on(self, request: BaseHTTPRequestHandler, port: int) -> None:
        body = request.rfile.read(int(request.headers.get("Content-Length") or 0))
        with self._one:
            knock = Knock(len(self.knocks) + 1, request.command, request.path, dict(request.headers))
            self.knocks.append(knock)
        own = self.before(knock)
        if own is not None:
            said = b"<Error><Code>AccessDenied</Code></Error>"
            status, headers, data = own, {"Content-Length": str(len(said))}, said
        else:
            status, headers, data = _asked(port, knock.method, knock.path, body, knock.headers)
            self.after(knock)
        request.send_response(status)
        for name, value in headers.items():
            request.send_header(name, value)
        request.end_headers()
        if knock.method != "HEAD":
            request.wfile.write(data)

    def make(self, key: str) -> int:
        """Put an empty object, as other tools do for a folder whose name ends with a slash; return the status."""
        return _asked(self._port, "PUT", f"/{self.bucket}/{key}", b"", {})[0]

    def open(self) -> None:
        """Pass everything on again, unchanged."""
        self.before, self.after = lambda _: None, lambda _: None

    def shut(self) -> None:
        """Hang up on everybody."""

        def hang_up(_: Knock) -> None:
            raise ConnectionResetError

        self.before = hang_up

    def end(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _asked(
    port: int, method: str, path: str, body: bytes, headers: dict[str, str]
) -> tuple[int, dict[str, str], bytes]:
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        given = {name: value for name, value in headers.items() if name.lower() not in ("connection", "content-length")}
        connection.request(method, path, body, {**given, "Content-Length": str(len(body))})
        answer = connection.getresponse()
        data = answer.read()
    finally:
        connection.close()
    kept = {
        name: value for name, value in answer.getheaders() if name.lower() not in ("connection", "transfer-encoding")
    }
    if method != "HEAD":
        kept = {n: v for n, v in kept.items() if n.lower() != "content-length"} | {"Content-Length": str(len(data))}
    return answer.status, kept, data
