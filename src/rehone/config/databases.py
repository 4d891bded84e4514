"""Say whether a setting names a database, and everything that is wrong with how it does."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import parse_qsl

POSTGRESQL = ("postgresql://", "postgres://")
DUCKDB = "duckdb://"
EXAMPLES = "postgresql://user@host:5432/database or duckdb:///file.duckdb"

DUCKDB_SETTINGS = {"memory_limit": "1GB", "threads": ""}
"""What an address of DuckDB may set after `?`, and what is set otherwise; what it sorts beyond that spills to disk."""

_SECRET = {"password", "sslpassword", "oauth_client_secret"}


def is_database(text: str | None) -> bool:
    """Say whether a setting is the address of a database rather than of files."""
    return text is not None and text.startswith((*POSTGRESQL, DUCKDB))


def is_duckdb(text: str) -> bool:
    """Say whether an address is of a DuckDB file."""
    return text.startswith(DUCKDB)


def duckdb_file(address: str) -> tuple[str, dict[str, str]]:
    """Return the path that an address of DuckDB names, and what is set."""
    path, _, settings = address.removeprefix("duckdb:///").partition("?")
    return path, {name: value for name, value in (DUCKDB_SETTINGS | dict(parse_qsl(settings))).items() if value}


def wrong_with(key: str, address: str | None, query_key: str, query: str | None, time_column: str | None) -> list[str]:
    """List what is wrong with an address and its query; a password in the address is not repeated."""
    if not is_database(address):
        unused = query is not None and "://" not in (address or "")
        return [f"{query_key} is asked of a database, and {key} names none: write {EXAMPLES} there"] if unused else []
    return [*_wrong_address(key, address or ""), *_wrong_rest(key, query_key, query, time_column)]


def _wrong_rest(key: str, query_key: str, query: str | None, time_column: str | None) -> Iterator[str]:
    if query is None or not query.strip(" \t\n;"):
        yield f"{query_key} is missing: {key} is a database, write the SELECT that gives the rows"
    if time_column is None:
        yield f"data.time_column is missing: {key} is a database, which is asked for one window of time after the other"


def _wrong_address(key: str, address: str) -> Iterator[str]:
    if address.startswith(DUCKDB):
        yield from _wrong_file(key, address.removeprefix(DUCKDB))
        return
    rest = address.partition("://")[2]
    user = rest.partition("/")[0].partition("?")[0].rpartition("@")[0] or _meant_as_user(rest)
    settings = {name.lower() for name, _ in parse_qsl(rest.partition("?")[2], keep_blank_values=True)}
    if ":" in user or settings & _SECRET:
        yield (
            f"{key} holds a password, which every run record would repeat: take it out of the address, and give it "
            "as PGPASSWORD, in ~/.pgpass or in a service file"
        )


def _meant_as_user(rest: str) -> str:
    """Return what stands before a later @ where no port does: a password may hold / and ?, unescaped by mistake."""
    before, at, _ = rest.partition("@")
    port = before.partition(":")[2].partition("/")[0].partition("?")[0]
    return before if at and not port.replace(",", "").replace(":", "").isdecimal() else ""


def _wrong_file(key: str, rest: str) -> Iterator[str]:
    path, _, settings = rest.partition("?")
    if not path.startswith("/") or not path.strip("/") or ":memory:" in path:
        yield (
            f"{key} is no address of a DuckDB file: write duckdb:/// and the path of a file, relative to rehone.toml "
            "(duckdb:///sales.duckdb) or absolute (duckdb:////srv/sales.duckdb)"
        )
    for name in sorted({name for name, _ in parse_qsl(settings, keep_blank_values=True)} - DUCKDB_SETTINGS.keys()):
        yield f"{key} sets {name!r}, which is not one of {', '.join(DUCKDB_SETTINGS)}: leave it out"
