"""A dashboard on a real socket, and how to ask it."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

from rehone.dashboard.house import House
from rehone.dashboard.server import made
from rehone.dashboard.settings import settings
from rehone.serve.server import listen

TOKEN = "a-token-of-many-letters-7f3a"


@dataclass
class Reply:
    """What the dashboard answered."""

    status: int
    headers: Mapping[str, str]
    text: str

    @property
    def cookie(self) -> str:
        """Return the cookie that was set, as a browser sends it back."""
        return self.headers["set-cookie"].partition(";")[0]


@dataclass
class Dashboard:
    """A running dashboard."""

    house: House
    port: int
    said: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, path: str, method: str = "GET", *, form: Mapping[str, str] | None = None, **headers: str) -> Reply:
        """Send one request; names of headers are written with underscores."""
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        sent = {"accept": "text/html"} | {name.replace("_", "-"): value for name, value in headers.items()}
        body = None
        if form is not None:
            body, method = urlencode(form), "POST"
            sent = {"content-type": "application/x-www-form-urlencoded"} | sent
        try:
            line.request(method, path, body, sent)
            got = line.getresponse()
            known = {name.lower(): value for name, value in got.getheaders()}
            return Reply(got.status, known, got.read().decode())
        finally:
            line.close()

    def log_in(self, name: str = "Ann") -> str:
        """Send the token, and return the cookie."""
        return self.ask("/login", form={"given": TOKEN, "name": name, "to": "/"}).cookie


@contextlib.contextmanager
def dashboard(*projects: Path, token: bool = False, port: int = 0) -> Iterator[Dashboard]:
    """Serve projects from a thread; with `token`, its file is written into the first."""
    file = None
    if token:
        file = projects[0] / "token"
        file.write_text(f"{TOKEN}\n")
        file.chmod(0o600)
    asked = settings([str(project) for project in projects], port=port, token_file=file)
    up, said = threading.Event(), list[str]()

    def say(sentence: str) -> None:
        said.append(sentence)
        up.set()

    with listen(asked.host, asked.port, "dashboard") as listener:
        house, server = made(asked, listener, say)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            assert up.wait(30)
            yield Dashboard(house, listener.getsockname()[1], said)
        finally:
            server.should_exit = True
            thread.join(30)
            house.answers.close()


def print_of(*folders: Path) -> str:
    """Return a digest of everything in some folders: names, bytes, times of change."""
    found = hashlib.sha256()
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            mark = path.lstat()
            found.update(f"{path} {mark.st_mtime_ns} {mark.st_size} {mark.st_mode}\n".encode())
            if path.is_file():
                found.update(path.read_bytes())
    return found.hexdigest()
