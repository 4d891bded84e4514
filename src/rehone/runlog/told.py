"""Read a part of many closed records at once, leaving out those that cannot be read."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import TypeVar

from rehone import codec
from rehone.config import Config
from rehone.errors import Corrupt
from rehone.objects import disk_for
from rehone.runlog.ledger import Line

log = logging.getLogger(__name__)

Part = TypeVar("Part")


def parts_of(config: Config, lines: Sequence[Line], kind: type[Part]) -> tuple[Part, ...]:
    """Return what each record has of `kind`, a frozen dataclass of some of its fields, in the order of the lines.

    A record that is gone or was damaged is logged and left out: `rehone doctor` says what is wrong with it.
    """
    root, disk = config.runs_path, disk_for(config.runs_path, config.storage)
    try:
        texts: Sequence[bytes | None] = disk.read_all([root / line.path for line in lines])
    except (FileNotFoundError, PermissionError):
        texts = [_text(config, line) for line in lines]
    return tuple(_decoded(texts, lines, kind))


def _text(config: Config, line: Line) -> bytes | None:
    try:
        return disk_for(config.runs_path, config.storage).read(config.runs_path / line.path)
    except (FileNotFoundError, PermissionError) as error:
        log.warning("a record is gone or may not be read", extra={"run_id": line.run_id, "because": error.strerror})
        return None


def _decoded(texts: Sequence[bytes | None], lines: Sequence[Line], kind: type[Part]) -> Iterator[Part]:
    for text, line in zip(texts, lines, strict=True):
        if text is None:
            continue
        try:
            yield codec.decode(text, kind, source=line.path)
        except Corrupt as error:
            log.warning("a record cannot be read", extra={"run_id": line.run_id, "because": str(error)})
