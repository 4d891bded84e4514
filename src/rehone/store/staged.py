"""Keep the one file that names the challenger to be scored beside the champion."""

from __future__ import annotations

from dataclasses import dataclass

from rehone.codec import decode, encode
from rehone.disk import Disk
from rehone.errors import Corrupt
from rehone.places import Place
from rehone.records import StagedShadow, short_id
from rehone.store.words import telling


@dataclass(frozen=True)
class StagedFile:
    """The file `shadow.json` of a store: there while a challenger is staged."""

    root: Place
    disk: Disk

    @property
    def path(self) -> Place:
        return self.root / "shadow.json"

    def write(self, staged: StagedShadow) -> None:
        """Name a challenger, in place of any other.

        Raises:
            StoreError: it cannot be written.
        """
        with telling(self.disk, self.root, f"staging version {short_id(staged.version)}", needed=1000):
            self.disk.replace(self.path, encode(staged))

    def read(self) -> StagedShadow | None:
        """Return what is staged, whether or not its deadline has passed; `None` when nothing is.

        Raises:
            Corrupt: the file is damaged.
            StoreError: it cannot be read.
        """
        with telling(self.disk, self.root, "reading what is staged"):
            try:
                data = self.disk.read(self.path)
            except FileNotFoundError:
                return None
        return decode(data, StagedShadow, source=str(self.path))

    def remove(self, run_id: str | None) -> bool:
        """Take away what a run has staged, or whatever there is; tell whether there was anything.

        Raises:
            StoreError: the disk does not allow it.
        """
        try:
            staged = self.read()
        except Corrupt:
            staged = None  # of no use to anybody
        else:
            if staged is None or run_id not in (None, staged.run_id):
                return False
        with telling(self.disk, self.root, "removing what is staged"):
            self.disk.forget(self.path)
            self.disk.sync_folder(self.root)
        return True
