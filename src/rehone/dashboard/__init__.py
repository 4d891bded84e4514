"""Serve the pages live: read-only, on loopback, behind a token elsewhere.

Nothing here writes into the runs or the store, and no page takes the run lock. The one thing that can be done on
the pages is to answer a challenger that waits for a person, and that goes through `rehone.api`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path

from rehone.errors import RehoneError

__all__ = ["serve"]

_NEEDS = ("jinja2", "starlette", "vl_convert")


def serve(
    projects: Sequence[str],
    *,
    host: str | None = None,
    port: int | None = None,
    token_file: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> None:
    """Serve the pages of one project, or of a fleet, until SIGTERM or SIGINT.

    Args:
        projects: folders with a rehone.toml, such files, or globs of either.
        host: address to listen on; left out, `dashboard.host` of the first project. So for `port` and `token_file`.
        say: is told the address as soon as pages can be asked for.

    Raises:
        NotFound: a pattern means no project.
        ConfigError: the token cannot be used, or is missing where pages can be reached from elsewhere.
        ServeError: the address cannot be listened on.
        RehoneError: the extra `report` is not installed.
    """
    if missing := [name for name in _NEEDS if find_spec(name) is None]:
        raise RehoneError(f"the dashboard needs {' and '.join(missing)}: pip install 'rehone[report]'")
    from rehone.dashboard.server import run
    from rehone.dashboard.settings import settings

    run(settings(projects, host=host, port=port, token_file=token_file), say=say)
