"""Lay facts out by a template; needs Jinja, which only those who want pages install."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from rehone.errors import RehoneError
from rehone.report import wording

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup


def lay_out(template: str, **facts: object) -> Markup:
    """Return a template filled with facts, every text escaped.

    Raises:
        RehoneError: Jinja is not installed.
    """
    from markupsafe import Markup

    return Markup(_environment().get_template(template).render(**facts))  # noqa: S704  # Jinja escaped it


def asset(name: str) -> str:
    """Return the text of `style.css` or `page.js`, which all pages share."""
    return files("rehone.report").joinpath("templates", name).read_text(encoding="utf-8")


def edition() -> str:
    """Return a digest of what all pages share, under which a browser may keep it."""
    return hashlib.sha256((asset("style.css") + asset("page.js")).encode()).hexdigest()[:12]


@cache
def _environment() -> Environment:
    try:
        from jinja2 import Environment, FunctionLoader, StrictUndefined
    except ImportError as missing:
        raise RehoneError("pages need Jinja, which is not installed: pip install 'rehone[report]'") from missing

    made = Environment(
        loader=FunctionLoader(asset),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(wording.FILTERS)
    return made
