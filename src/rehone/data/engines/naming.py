"""Call the function that a project names as its source, for the lazy frame that it returns."""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from rehone.errors import DataError

NAMED = "python:"
"""What `data.source` begins with when it names a function."""


def frame_of(source: str, root: Path, *, start: datetime | None, as_of: datetime) -> Any:
    """Return what the function `python:package.module:function` returns.

    It is looked for in the project's folder, then among what is installed. It is given those of
    `start` (the oldest event that is needed, `None` for all), `end` and `as_of` that it declares.

    Raises:
        DataError: there is no such function, or it fails.
    """
    given = {"start": start, "end": as_of, "as_of": as_of}
    with _found_first(root):
        function = _function(source)
        wanted = _declared(source, function)
        try:
            return function(**{name: value for name, value in given.items() if name in wanted})
        except Exception as error:  # whatever the project's own code raises is said in one line
            raise DataError(
                f"{source!r} raised {type(error).__name__} ({first_line(error)}): call that function by itself to see more"
            ) from error


def first_line(error: BaseException) -> str:
    """Return what matters of an error, without the trace that some engines put into it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:300]


def _function(source: str) -> Callable[..., Any]:
    module, _, name = source.removeprefix(NAMED).partition(":")
    if not module or not name:
        raise DataError(
            f"data.source {source!r} names no function: write it as python:package.module:function, such as python:feed:transactions"
        )
    try:
        found = importlib.import_module(module)
    except Exception as error:  # a module of the project may raise anything when it is imported
        raise DataError(
            f"module {module!r} of data.source {source!r} cannot be imported ({type(error).__name__}: {first_line(error)}): "
            "put it into the project's folder, or install it"
        ) from error
    function = getattr(found, name, None)
    if not callable(function):
        raise DataError(f"module {module!r} has no function {name!r}: correct data.source {source!r}")
    return function  # type: ignore[no-any-return]  # anything that can be called


def _declared(source: str, function: Callable[..., Any]) -> set[str]:
    parameters = inspect.signature(function).parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return {"start", "end", "as_of"}
    required = [p.name for p in parameters if p.default is p.empty and p.kind is not p.VAR_POSITIONAL]
    if strange := [name for name in required if name not in ("start", "end", "as_of")]:
        raise DataError(
            f"{source!r} needs {', '.join(strange)}, and is given only start, end and as_of: give the others a default"
        )
    return {p.name for p in parameters if p.kind is not p.POSITIONAL_ONLY}


@contextmanager
def _found_first(root: Path) -> Iterator[None]:
    place = str(root.resolve())
    sys.path.insert(0, place)
    try:
        yield
    finally:
        sys.path.remove(place)
