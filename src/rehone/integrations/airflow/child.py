"""Run one command of Rehone in a child process that ends when its task does.

The child lives as long as its standard input is open: `end` closes it, and so does the kernel when
the worker is killed. Then the child stops itself as SIGTERM would, once, and closes its record.
What it writes goes to files and not to pipes, which would break when the task is gone first.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

LISTEN_SECONDS = 0.2
KEPT_LINES = 8

_MAIN = """
import os, signal, sys, threading

def follow():
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)

threading.Thread(target=follow, daemon=True).start()
from rehone.cli import main
sys.exit(main())
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """How a command ended: its exit code, the JSON it printed (`None`: none), and the last that it told a person."""

    code: int
    record: dict[str, Any] | None
    said: str


class Child:
    """One command under way."""

    def __init__(
        self, words: Sequence[str], *, python: str | None = None, env: Mapping[str, str] | None = None
    ) -> None:
        self._out: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - open as long as the child may write
        self._err: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        self._heard = 0
        self._process = subprocess.Popen(
            [python or sys.executable, "-P", "-c", _MAIN, *words],
            stdin=subprocess.PIPE,
            stdout=self._out,
            stderr=self._err,
            env={**os.environ, **(env or {})},
            start_new_session=True,  # the worker's signals are for the worker: this child is ended by `end`
        )

    @property
    def pid(self) -> int:
        """The id of the process."""
        return self._process.pid

    def answer(self, tell: Callable[[str], None]) -> Answer:
        """Tell each line as it is written, and return how the command ended."""
        lines: deque[str] = deque(maxlen=KEPT_LINES)
        while True:
            ended = self._ended()
            for line in self._new_lines():
                tell(line)
                lines.append(line)
            if ended:
                return Answer(code=self._process.returncode, record=self._record(), said="\n".join(lines))

    def end(self) -> None:
        """Ask the command to stop, to undo what it must and to close its record; return at once."""
        if self._process.stdin is not None:
            self._process.stdin.close()

    def _ended(self) -> bool:
        try:
            self._process.wait(LISTEN_SECONDS)
        except subprocess.TimeoutExpired:
            return False
        return True

    def _new_lines(self) -> list[str]:
        size = os.fstat(self._err.fileno()).st_size
        data = os.pread(self._err.fileno(), size - self._heard, self._heard)
        if self._process.returncode is None:
            data = data[: data.rfind(b"\n") + 1]
        self._heard += len(data)
        return data.decode(errors="replace").splitlines()

    def _record(self) -> dict[str, Any] | None:
        data = os.pread(self._out.fileno(), os.fstat(self._out.fileno()).st_size, 0)
        try:
            found = json.loads(data)
        except ValueError:
            return None
        return found if isinstance(found, dict) else None
