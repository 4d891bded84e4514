"""A retraining pipeline that a team can trust to run unattended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["__version__", "load", "run_pipeline"]

if TYPE_CHECKING:
    from rehone.api import load, run_pipeline


def __getattr__(name: str) -> Any:
    """Import the Python door only when it is used, so that `import rehone` stays fast."""
    if name in ("load", "run_pipeline"):
        from rehone import api

        return getattr(api, name)
    raise AttributeError(f"module 'rehone' has no attribute {name!r}")
