"""Keep each reset of the breaker as a file of its own, which is never written again.

runs/breaker/<yyyymmddThhmmss...Z>-<digest>.json
"""

from __future__ import annotations

import hashlib
import logging

from rehone import codec
from rehone.config import Config
from rehone.disk import Disk
from rehone.errors import Corrupt, StoreError, Unreachable
from rehone.objects import disk_for
from rehone.places import Place
from rehone.records import BreakerReset

log = logging.getLogger(__name__)

FOLDER = "breaker"


def keep_reset(config: Config, reset: BreakerReset) -> None:
    """Write down that a person lets retraining go on.

    Raises:
        StoreError: it cannot be written.
    """
    folder, data = config.runs_path / FOLDER, codec.encode(reset)
    disk = disk_for(config.runs_path, config.storage)
    path = folder / f"{reset.at:%Y%m%dT%H%M%S%fZ}-{hashlib.sha256(data).hexdigest()[:6]}.json"
    try:
        disk.make_folder(folder)
        disk.replace(path, data)
    except Unreachable:
        raise
    except OSError as error:
        raise StoreError(
            f"the reset of the breaker cannot be written to {path}: {error.strerror}: make room or give write permission"
        ) from error


def last_reset(config: Config) -> BreakerReset | None:
    """Return the newest reset, if there is any; one that cannot be read counts for nothing, and is logged."""
    folder, disk = config.runs_path / FOLDER, disk_for(config.runs_path, config.storage)
    for name in reversed([name for name in _names(disk, folder) if name[0].isdigit() and name.endswith(".json")]):
        try:
            return codec.decode(disk.read(folder / name), BreakerReset, source=name)
        except (Corrupt, OSError) as error:
            log.warning("a reset of the breaker cannot be read", extra={"path": name, "because": str(error)})
    return None


def _names(disk: Disk, folder: Place) -> list[str]:
    try:
        return disk.names(folder)
    except Unreachable:
        raise
    except OSError as error:
        log.warning("resets of the breaker cannot be read", extra={"because": str(error)})
        return []
