"""Keep the log in an object store: each flush is one object, written once and never changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from pathlib import Path

import polars as pl

from rehone.config import Storage
from rehone.errors import StoreError, Unreachable
from rehone.objects.buckets import Bucket
from rehone.objects.probe import prove
from rehone.places import Place, Remote
from rehone.predictions.layout import Holding, Schema, Segments, Spans, covers, day_of, held, is_version, parse
from rehone.remote import Listed, listed, reading


@dataclass(frozen=True, slots=True)
class Leaf:
    """The objects of one day and version, by name, and where they lie."""

    day: date
    place: Remote
    objects: Mapping[str, Listed]

    @property
    def segments(self) -> list[Segments]:
        """The objects that are of a log."""
        return [found for name in self.objects if (found := parse(name))]


@dataclass(frozen=True, slots=True)
class Shelf:
    """A folder of an object store that holds a log, and how the store is reached."""

    root: Remote
    storage: Storage

    def __str__(self) -> str:
        return self.root.url

    def put(self, place: Remote, data: bytes) -> None:
        """Write a new object; one of the same name and bytes is what an earlier attempt wrote.

        Raises:
            FileExistsError: somebody else has the name.
            OSError: the store does not answer, or does not let us in.
        """
        bucket = Bucket(place.bucket, self.storage)
        try:
            bucket.create(place.key, data)
        except FileExistsError:
            if bucket.get(place.key).data != data:
                raise

    def prove(self) -> None:
        """Make sure that of two who put the same name only one can have put it.

        Raises:
            OSError: the store does not see to that, does not answer, or does not let us in.
        """
        try:
            prove(Bucket(self.root.bucket, self.storage), self.root.key, self.storage)
        except Unreachable:
            raise
        except StoreError as error:
            raise OSError(str(error)) from error

    def remove(self, places: Iterable[Remote]) -> None:
        """Remove objects; missing ones are fine."""
        Bucket(self.root.bucket, self.storage).remove([place.key for place in places])

    def leaves(self, first: date | None = None) -> list[Leaf]:
        """Return what there is from a day on, by day and version, listed in one call for a thousand objects."""
        after = f"day={first.isoformat()}" if first else None
        return list(_leaves(self.root, listed(self.root, self.storage, after=after)))

    def leaf(self, place: Remote) -> Leaf:
        """Return what there is of one day and version."""
        day = day_of(place.parent.name)
        if day is None:
            raise ValueError(f"{place} is no folder of a day and a version")
        return Leaf(
            day, place, {file.place.name: file for file in listed(place, self.storage) if file.place.parent == place}
        )

    def holding(self, leaf: Leaf) -> Holding:
        """Tell the objects that count from those that are covered.

        Raises:
            OSError: a footer cannot be read at this moment, so that it is not known what counts.
        """
        return held(leaf.segments, lambda whole: self.covers(leaf.place / whole.name))

    def covers(self, place: Remote) -> Spans:
        """Read from a footer what a `together_…` object covers."""
        source, how = reading(place, self.storage)
        return covers(source, **how)

    def schema(self, place: Remote) -> Schema:
        """Read the columns of an object.

        Raises:
            OSError, or one of DAMAGED: it cannot be read.
        """
        source, how = reading(place, self.storage)
        return dict(pl.scan_parquet(source, glob=False, hive_partitioning=False, **how).collect_schema())


def shelf_of(place: Place, storage: Storage) -> Path | Shelf:
    """Return a log's folder as `Log` and `Writer` take it: a path of this machine, or a shelf of an object store."""
    return Shelf(place, storage) if isinstance(place, Remote) else place


def _leaves(root: Remote, found: Sequence[Listed]) -> Iterator[Leaf]:
    below = [file for file in found if file.place.relative_to(root).count("/") == 2]
    for place, files in groupby(below, key=lambda file: file.place.parent):
        day = day_of(place.parent.name)
        if day is not None and is_version(place.name):
            yield Leaf(day, place, {file.place.name: file for file in files})
