"""Ask each engine for the two things that no common language has: a moment as a number, and a hash of a text."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rehone.errors import DataError

Columns = Mapping[str, str]
"""Names of new columns, each with the column that it is made of."""

Kinds = Mapping[str, str]
"""What each column of moments holds: "zoned", "local" or "date"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """What is said otherwise to one engine than to the others.

    `moments` adds columns of microseconds since 1970, as UTC where a moment has a zone and as its
    own wall clock where it has none; dates are midnights. `hashes` adds for each new name two
    whole numbers below 2**32, `name` and `name2`, of the MD5 of a text. `codes_may_be_floats`
    where whole numbers with gaps become floats; `spells_numbers` where a query is sent as text;
    `counts_in_groups` where groups can be asked for any aggregate.
    """

    title: str
    moments: Callable[[Any, Columns, Kinds], Any]
    hashes: Callable[[Any, Columns], Any]
    codes_may_be_floats: bool = False
    spells_numbers: bool = False
    counts_in_groups: bool = True


def dialect_of(implementation: str) -> Dialect:
    """Return how to speak to an engine, by its name in Narwhals.

    Raises:
        DataError: nobody has taught Rehone that engine.
    """
    known = {
        "pyspark": _spark("PySpark"),
        "pyspark[connect]": _spark("Spark Connect"),
        "duckdb": Dialect(title="DuckDB", moments=_duckdb_moments, hashes=_duckdb_hashes),
        "sqlframe": Dialect(title="SQLFrame", moments=_sqlframe_moments, hashes=_sqlframe_hashes, spells_numbers=True),
        "dask": _dask(),
        "polars": Dialect(title="Polars", moments=_polars_moments, hashes=_polars_hashes),
    }
    if implementation not in known:
        raise DataError(
            f"frames of {implementation!r} are not known: give one of PySpark, DuckDB, Dask, SQLFrame or Polars"
        )
    return known[implementation]


# --- Spark, and what SQLFrame writes for warehouses ---------------------------------------------

_DAY = 86_400_000_000
_WALL = (
    f"datediff(cast({{c}} as date), date'1970-01-01') * {_DAY} + hour({{c}}) * 3600000000L"
    " + minute({c}) * 60000000L + cast(date_part('SECOND', {c}) * 1000000 as bigint)"
)
"""A Spark moment without a zone, read without the zone of the session."""


def _dask() -> Dialect:
    return Dialect(
        title="Dask",
        moments=_dask_moments,
        hashes=_dask_hashes,
        codes_may_be_floats=True,
        counts_in_groups=False,
    )


def _spark(title: str) -> Dialect:
    return Dialect(title=title, moments=_spark_moments, hashes=_spark_hashes)


def _ticked(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _spark_moments(frame: Any, columns: Columns, kinds: Kinds) -> Any:
    said = {"date": f"datediff({{c}}, date'1970-01-01') * {_DAY}", "zoned": "unix_micros({c})", "local": _WALL}
    for new, old in columns.items():
        micros = said[kinds[old]].format(c=_ticked(old))
        frame = frame.selectExpr("*", f"cast({micros} as bigint) as {_ticked(new)}")
    return frame


def _spark_hashes(frame: Any, columns: Columns) -> Any:
    for new, old in columns.items():
        digits = f"md5(cast({_ticked(old)} as binary))"
        parts = (f"cast(conv(substring({digits}, {at}, 8), 16, 10) as bigint)" for at in (1, 9))
        first, second = parts
        frame = frame.selectExpr("*", f"{first} as {_ticked(new)}", f"{second} as {_ticked(new + '2')}")
    return frame


def _sqlframe_moments(frame: Any, columns: Columns, kinds: Kinds) -> Any:
    say, made = _sqlframe_functions(frame).expr, []
    for new, old in columns.items():  # warehouses read a moment without a zone as UTC
        column = f"cast({_ticked(old)} as timestamp)" if kinds[old] == "date" else _ticked(old)
        made.append(say(f"unix_micros({column})").alias(new))
    return frame.select("*", *made)


def _sqlframe_hashes(frame: Any, columns: Columns) -> Any:
    say = _sqlframe_functions(frame).expr
    made = [
        say(f"cast('0x' || substring(md5({_ticked(old)}), {at}, 8) as bigint)").alias(new + end)
        for new, old in columns.items()
        for at, end in ((1, ""), (9, "2"))
    ]
    return frame.select("*", *made)


def _sqlframe_functions(frame: Any) -> Any:
    from importlib import import_module

    return import_module(f"{type(frame).__module__.rsplit('.', 1)[0]}.functions")


# --- DuckDB -------------------------------------------------------------------------------------


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _duckdb_moments(frame: Any, columns: Columns, kinds: Kinds) -> Any:
    made = []
    for new, old in columns.items():
        column = _quoted(old) if kinds[old] == "zoned" else f"CAST({_quoted(old)} AS TIMESTAMP)"
        made.append(f"epoch_us({column}) AS {_quoted(new)}")
    return frame.project(", ".join(("*", *made)))


def _duckdb_hashes(frame: Any, columns: Columns) -> Any:
    made = [
        f"CAST('0x' || substr(md5({_quoted(old)}), {at}, 8) AS BIGINT) AS {_quoted(new + end)}"
        for new, old in columns.items()
        for at, end in ((1, ""), (9, "2"))
    ]
    return frame.project(", ".join(("*", *made)))


# --- Dask and Polars, whose rows are in the memory of Python -------------------------------------


def _digest(text: str) -> tuple[int, int]:
    digits = hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
    return int(digits[:8], 16), int(digits[8:16], 16)


def _dask_moments(frame: Any, columns: Columns, kinds: Kinds) -> Any:
    return frame.map_partitions(_pandas_moments, dict(columns), dict(kinds))


def _pandas_moments(part: Any, columns: Columns, kinds: Kinds) -> Any:
    made = {}
    for new, old in columns.items():
        zoned = kinds[old] == "zoned"
        moment = part[old].astype("datetime64[us, UTC]" if zoned else "datetime64[us]")
        wall = moment.dt.tz_localize(None) if zoned else moment
        made[new] = wall.astype("datetime64[us]").astype("int64").astype("Int64").mask(wall.isna())
    return part.assign(**made)


def _dask_hashes(frame: Any, columns: Columns) -> Any:
    return frame.map_partitions(_pandas_hashes, dict(columns))


def _pandas_hashes(part: Any, columns: Columns) -> Any:
    import pandas as pd

    for new, old in columns.items():
        found = [_digest(str(text)) for text in part[old]]
        for place, name in enumerate((new, new + "2")):
            values = [pair[place] for pair in found]
            part = part.assign(**{name: pd.Series(values, index=part.index, dtype="int64")})
    return part


def _polars_moments(frame: Any, columns: Columns, kinds: Kinds) -> Any:
    import polars as pl

    made = []
    for new, old in columns.items():
        moment = pl.col(old) if kinds[old] == "zoned" else pl.col(old).cast(pl.Datetime("us"))
        made.append(moment.dt.epoch("us").alias(new))
    return frame.with_columns(made)


def _polars_hashes(frame: Any, columns: Columns) -> Any:
    import polars as pl

    def both(texts: pl.Series) -> pl.Series:
        found = [_digest(text) for text in texts.to_list()]
        return pl.Series([{"a": a, "b": b} for a, b in found], dtype=pl.Struct({"a": pl.Int64, "b": pl.Int64}))

    for new, old in columns.items():
        pair = pl.col(old).map_batches(both, return_dtype=pl.Struct({"a": pl.Int64, "b": pl.Int64}))
        frame = frame.with_columns(pair.alias("__pair__"))
        frame = frame.with_columns(
            pl.col("__pair__").struct.field("a").alias(new), pl.col("__pair__").struct.field("b").alias(new + "2")
        ).drop("__pair__")
    return frame
