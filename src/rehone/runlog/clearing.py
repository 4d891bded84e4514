"""Remove what lies beside closed records and is not needed any more.

That is what old gates were given, by a rule, and what a killed process left behind: drafts of files, and the
folders in which stages handed files on to each other.

The record of a run says of which runs it cleared what their gates were given, before that is removed. So it is
under the chain of the ledger, and a gap that the rule made is told from one that somebody made.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from rehone import codec
from rehone.config import Config
from rehone.disk import Disk
from rehone.errors import Corrupt
from rehone.objects import disk_for
from rehone.places import Place
from rehone.runlog.ledger import Line

MOST_AT_ONCE = 100
"""Runs that are cleared after one run, so that its record stays short; what is left waits for the next."""

_GIVEN = re.compile(r"(?P<folder>[0-9]+/[0-9]+)/(?P<run>[^./]+)\.judged\.npz")
_DRAFT = re.compile(r"(?P<folder>[0-9]+/[0-9]+)/\.(?P<run>[^./]+)\.(judged\.npz|figures\.json|json)\.[0-9]+\.new")
_STAGES = re.compile(r"(?P<folder>[0-9]+/[0-9]+)/(?P<run>[^./]+)/[^/]+")


class Clearance:
    """What lies beside the closed records of one project, as listed when this was made."""

    def __init__(self, root: Place, disk: Disk, lines: Sequence[Line]) -> None:
        self._root = root
        self._disk = disk
        self._closed = frozenset(line.run_id for line in lines)
        self._names = disk.below(root, 4)

    @classmethod
    def of(cls, config: Config, lines: Sequence[Line]) -> Clearance:
        """List what lies beside the records of a project, of which these lines are the closed ones."""
        return cls(config.runs_path, disk_for(config.runs_path, config.storage), lines)

    def superfluous(self, keep: int, needed: Collection[str]) -> tuple[str, ...]:
        """Return the closed runs of which nobody needs what the gate was given, oldest first, at most a hundred.

        Needed is that of the `keep` newest runs that judged, one under way too, and of the runs `needed`.
        """
        given = sorted(self._given())
        spared = {*given[-keep:], *needed}
        return tuple(run for run in given if run in self._closed and run not in spared)[:MOST_AT_ONCE]

    def clear(self, runs: Iterable[str]) -> None:
        """Remove what the gates of these runs were given."""
        given = self._given()
        for run in runs:
            if run in given:
                self._disk.forget(self._root / given[run])

    def sweep(self) -> int:
        """Remove what killed processes left beside closed records, and return how many files and folders it was."""
        drafts = sorted(found[0] for found in self._found(_DRAFT))
        folders = sorted({f"{found['folder']}/{found['run']}" for found in self._found(_STAGES)})
        for name in drafts:
            self._disk.unlink(self._root / name)
        for name in folders:
            self._disk.remove_tree(self._root / name)
        return len(drafts) + len(folders)

    def _given(self) -> dict[str, str]:
        return {found["run"]: found[0] for name in self._names if (found := _GIVEN.fullmatch(name))}

    def _found(self, pattern: re.Pattern[str]) -> list[re.Match[str]]:
        matches = (pattern.fullmatch(name) for name in self._names)
        return [found for found in matches if found is not None and found["run"] in self._closed]


@dataclass(frozen=True, slots=True)
class _Cleared:
    """The part of a record that says what was cleared after it."""

    cleared: tuple[str, ...] = ()


def cleared(root: Place, disk: Disk, lines: Sequence[Line]) -> Mapping[str, str]:
    """Return of each run of which it was cleared what its gate was given, after which run that was.

    Only records that have their digest in the ledger are believed.
    """
    told: dict[str, str] = {}
    for line in lines:
        for run in _believed(root, disk, line) if line.trained else ():
            told.setdefault(run, line.run_id)
    return told


def _believed(root: Place, disk: Disk, line: Line) -> tuple[str, ...]:
    try:
        data = disk.read(root / line.path)
        if hashlib.sha256(data).hexdigest() != line.sha256:
            return ()
        return codec.decode(data, _Cleared, source=line.path).cleared
    except (FileNotFoundError, PermissionError, Corrupt):
        return ()
