"""Talk to PostgreSQL and DuckDB through ADBC: one read-only snapshot, rows in Arrow batches, errors in words."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import polars as pl

from rehone.config import duckdb_file, is_duckdb
from rehone.data.warehouse.sql import Column, Kind, declared_types, description_of, types_of
from rehone.errors import ConfigError, DataError, SourceAway

_CONNECTION = {
    "application_name": "rehone",
    "connect_timeout": "15",
    "keepalives_idle": "60",
    "keepalives_interval": "15",
    "keepalives_count": "4",
}
"""What libpq is told unless the address says otherwise: a server that is gone is noticed."""

_TOGETHER = 65_536
_PLAIN = {"SMALLINT", "INTEGER", "BIGINT", "TINYINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT"}
_DUCKDB = {
    **dict.fromkeys([*_PLAIN, "FLOAT", "DOUBLE", "BOOLEAN", "VARCHAR"], Kind.PLAIN),
    **dict.fromkeys(["DECIMAL", "HUGEINT", "UHUGEINT", "BIGNUM", "VARINT"], Kind.DECIMAL),
    **dict.fromkeys(["ENUM", "UUID"], Kind.CODE),
    **dict.fromkeys(["TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS"], Kind.LOCAL),
    **dict.fromkeys(["TIMESTAMP WITH TIME ZONE"], Kind.ZONED),
    **dict.fromkeys(["DATE"], Kind.DAY),
}
_POSTGRESQL = {
    **dict.fromkeys(["int2", "int4", "int8", "float4", "float8", "bool", "text", "varchar"], Kind.PLAIN),
    "numeric": Kind.DECIMAL,
    "money": Kind.OTHER,
    "oid": Kind.CODE,
    "timestamptz": Kind.ZONED,
    "timestamp": Kind.LOCAL,
    "date": Kind.DAY,
    "uuid": Kind.CODE,
}
_CATEGORIES = {"N": Kind.DECIMAL, "B": Kind.PLAIN, "S": Kind.CODE, "E": Kind.CODE, "I": Kind.CODE}
"""What else a type of PostgreSQL is, by its category: number, boolean, text, enumeration, address."""


class Database(ABC):
    """One connection, in one transaction that reads and sees one state of everything."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.lost = False
        self._connection: Any = None
        with self._told():
            self._connection = self._connect()
            self._begin()

    @abstractmethod
    def columns(self, query: str) -> tuple[Column, ...]:
        """Return the columns that a query gives, in their order.

        Raises:
            DataError: the query cannot be asked.
        """

    def types(self, query: str, columns: list[str]) -> dict[str, pl.DataType]:
        """Return the types in which expressions arrive.

        Raises:
            DataError: the query cannot be asked.
        """
        with self._asked(types_of(query, columns)) as reader:
            return dict(_frame(reader.schema.empty_table()).schema)

    def row(self, sql: str) -> tuple[Any, ...]:
        """Return the one row that an aggregate gives.

        Raises:
            DataError: the query cannot be asked.
        """
        with self._asked(sql) as reader:
            return _frame(reader.read_all()).row(0)

    def rows(self, sql: str) -> Iterator[pl.DataFrame]:
        """Return the rows of a query in batches, never all of them at once.

        Raises:
            DataError: the query cannot be asked, or the connection is lost on the way.
        """
        import pyarrow

        with self._asked(sql) as reader:
            waiting, height = [], 0
            for batch in reader:
                waiting.append(batch)
                height += batch.num_rows
                if height >= _TOGETHER:
                    yield _frame(pyarrow.Table.from_batches(waiting))
                    waiting, height = [], 0
            if height:
                yield _frame(pyarrow.Table.from_batches(waiting))

    def close(self) -> None:
        """Let the connection and its transaction go."""
        import adbc_driver_manager

        self.lost = True
        with contextlib.suppress(adbc_driver_manager.Error):
            if self._connection is not None:
                self._connection.close()

    @abstractmethod
    def _connect(self) -> Any:
        """Open a connection that begins no transaction of its own."""

    @abstractmethod
    def _begin(self) -> None:
        """Begin the transaction."""

    @abstractmethod
    def _problem(self, error: Exception) -> DataError:
        """Say what went wrong, and what to do."""

    def _do(self, sql: str) -> None:
        with self._connection.cursor() as cursor:
            cursor.execute(sql)

    @contextlib.contextmanager
    def _asked(self, sql: str) -> Iterator[Any]:
        with self._told(), self._connection.cursor() as cursor:
            cursor.execute(sql)
            with cursor.fetch_record_batch() as reader:
                yield reader

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        import adbc_driver_manager
        import pyarrow

        try:
            yield
        except (adbc_driver_manager.Error, pyarrow.ArrowException, OSError) as error:  # batches fail as OSError
            self.close()  # a transaction that failed answers nothing more
            raise self._problem(error) from error


class PostgreSQL(Database):
    """A PostgreSQL server, reached through libpq, with all that libpq knows of passwords and services."""

    def columns(self, query: str) -> tuple[Column, ...]:
        with self._asked(types_of(query, ["*"])) as reader:
            names = list(reader.schema.names)
        _refuse_twice(names, self.address)
        with self._asked(declared_types(query, names)) as reader:
            found = _frame(reader.read_all()).rows()
        return tuple(
            Column(name, type_, _postgresql(type_, kind)) for name, (type_, kind) in zip(names, found, strict=True)
        )

    def _connect(self) -> Any:
        import adbc_driver_postgresql.dbapi

        return adbc_driver_postgresql.dbapi.connect(_with_settings(self.address), autocommit=True)

    def _begin(self) -> None:
        self._do("BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        # what is looked at between two questions may take longer than a server lets a transaction rest
        self._do("SET LOCAL idle_in_transaction_session_timeout = 0")

    def _problem(self, error: Exception) -> DataError:
        said = _between(str(error), ("ERROR:", "FATAL:", "failed:", "connect:"))
        state = getattr(error, "sqlstate", None)
        away, remedy = _remedy(state or _guessed(str(error)))
        shown = f"{said} ({state})" if state else said
        return (SourceAway if away else DataError)(f"{self.address}: {shown}: {remedy}")


class DuckDB(Database):
    """A DuckDB file, opened so that nothing can be written."""

    def __init__(self, address: str, root: Path, scratch: Path) -> None:
        path, self._settings = duckdb_file(address)
        self._file, self._scratch = root / path, scratch
        super().__init__(address)

    def columns(self, query: str) -> tuple[Column, ...]:
        with self._asked(description_of(query)) as reader:
            found = [(str(row[0]), str(row[1])) for row in _frame(reader.read_all()).rows()]
        _refuse_twice([name for name, _ in found], self.address)
        return tuple(Column(name, type_, _duckdb(type_)) for name, type_ in found)

    def _connect(self) -> Any:
        import adbc_driver_duckdb
        import adbc_driver_manager.dbapi

        if not self._file.is_file():
            raise DataError(f"{self.address}: there is no file {self._file}: correct the path")
        return adbc_driver_manager.dbapi.connect(
            driver=adbc_driver_duckdb.driver_path(),
            entrypoint="duckdb_adbc_init",
            db_kwargs={
                "path": str(self._file),
                "access_mode": "READ_ONLY",
                "temp_directory": str(self._scratch),
                **self._settings,
            },
            autocommit=True,
        )

    def _begin(self) -> None:
        self._do("BEGIN TRANSACTION READ ONLY")

    def _problem(self, error: Exception) -> DataError:
        said = _between(str(error), ("INTERNAL:", "INVALID_ARGUMENT:", "IO:"))
        if "lock on file" in said:
            remedy = "another process writes to it: let that one end, or give Rehone a copy"
            return SourceAway(f"{self.address}: {said}: {remedy}")
        kind = said.partition(" Error")[0]
        remedies = {
            "IO": "look at the file, and whether it may be read",
            "Out of Memory": "raise memory_limit in the address, as in duckdb:///file.duckdb?memory_limit=8GB",
            "Conversion": "correct data.query, which asks for what a value is not",
        }
        return DataError(f"{self.address}: {said}: {remedies.get(kind, 'correct data.query')}")


def connect(address: str, root: Path, scratch: Path) -> Database:
    """Open what an address names; DuckDB may spill what it sorts to `scratch`.

    Raises:
        ConfigError: the driver is not installed.
        DataError: it cannot be opened.
    """
    extra = "duckdb" if is_duckdb(address) else "postgres"
    try:
        if extra == "duckdb":
            return DuckDB(address, root, scratch)
        return PostgreSQL(address)
    except ImportError as error:
        raise ConfigError(
            "rehone.toml",
            [f"data.source: {address} needs a driver that is not installed ({error}): pip install 'rehone[{extra}]'"],
        ) from None


def _frame(table: Any) -> pl.DataFrame:
    frame = pl.from_arrow(table)
    return frame if isinstance(frame, pl.DataFrame) else frame.to_frame()


def _with_settings(address: str) -> str:
    """Add what libpq is told, unless the address says otherwise."""
    given = {name for name, _ in parse_qsl(address.partition("?")[2], keep_blank_values=True)}
    more = "&".join(f"{name}={value}" for name, value in _CONNECTION.items() if name not in given)
    return f"{address}{'&' if '?' in address else '?'}{more}"


def _refuse_twice(names: list[str], address: str) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(
            f"{address}: data.query gives more than one column {', '.join(map(repr, twice))}: name each with AS"
        )


def _postgresql(declared: str, category: str) -> Kind:
    if declared.startswith("reg"):  # names of tables and the like, which count as numbers
        return Kind.CODE
    return _POSTGRESQL.get(declared) or _CATEGORIES.get(category, Kind.OTHER)


def _duckdb(declared: str) -> Kind:
    return Kind.OTHER if declared.endswith("]") else _DUCKDB.get(declared.partition("(")[0].strip(), Kind.OTHER)


def _between(text: str, marks: tuple[str, ...]) -> str:
    """Return the first line after the last of the marks that is there."""
    for mark in marks:
        if mark in text:
            text = text.rpartition(mark)[2] if mark in ("failed:", "connect:") else text.partition(mark)[2]
            break
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[0].rstrip(".:!") if lines else "no reason was given"


def _guessed(text: str) -> str:
    """Return the code of an error that came without one, as those of a lost connection and of batches do."""
    lowered = text.lower()
    return next((state for words, state in _WORDS if words in lowered), "")


def _remedy(state: str) -> tuple[bool, str]:
    """Say whether the server is away rather than the question wrong, and what to do."""
    found = ((away, remedy) for start, away, remedy in _REMEDIES if state.startswith(start))
    return next(found, (False, "look at the server's log"))


_AWAY = "see that the server runs and can be reached from here, then try again"
_REMEDIES = (
    (
        "28",
        False,
        "give PGPASSWORD or a line in ~/.pgpass for this user, and see that pg_hba.conf lets it in",
    ),
    ("42501", False, "grant this user SELECT on what data.query reads"),
    ("42", False, "correct data.query"),
    ("22", False, "correct data.query, which asks for what a value is not"),
    ("25006", False, "data.query may only read"),
    ("57014", True, "ask for fewer days, index the time column, or raise statement_timeout of this user"),
    ("40", True, "try again, or ask the primary if this is a standby"),
    ("53", True, "the server is short of room or connections: try later"),
    ("08", True, _AWAY),
    ("57", True, _AWAY),
    ("3D", False, "correct the user and the database in data.source"),
)
_WORDS = (
    ("password", "28P01"),
    ("authentication", "28000"),
    ("pg_hba", "28000"),
    ("statement timeout", "57014"),
    ("conflict with recovery", "40001"),
    ("terminating connection", "57P01"),
    ("no room", "53100"),
    ("temp_file_limit", "53400"),
    ("too many", "53300"),
    ('database "', "3D000"),
    ('role "', "3D000"),
    ("invalid", "22000"),
    ("out of range", "22000"),
    ("division by zero", "22000"),
    ("connect", "08006"),
    ("execution error", "22000"),
)
"""What a message without a code is about, by words that libpq and the server use; the first that is there counts."""
