"""Merge the objects of a log in an object store, and clear away what is covered or too old, without any lock.

What each process writes has names of its own. Where several could merge the same objects, the
merged ones are numbered, and only the first who puts a number has merged: the others find that
out, and what they made was never there. A store that lets two put the same is found out before.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Final

from rehone.columns import DAMAGED
from rehone.places import Remote
from rehone.predictions.compaction import COVERED_SECONDS, FAN, SETTLED, level, merge_into, packs, rows_in
from rehone.predictions.layout import TOGETHER, Schema, Segments, joined
from rehone.predictions.shelf import Leaf, Shelf
from rehone.remote import reading

log = logging.getLogger(__name__)

MOST_BYTES: Final = 64 * 2**20
"""A merged object is made of at most so many bytes, which wait in memory; one with half as many is left as it is."""

ALL: Final = f"{TOGETHER}all"


@dataclass(slots=True)
class ShelfUpkeep:
    """The upkeep of a log in an object store by one writer, as `Compaction` does it for a folder.

    A writer merges its own objects of today, by names that only it uses. What is left of a day
    that began two days ago is merged by whoever is first. The two meet at no moment, unless clocks
    differ by more than a day: then rows may count twice.
    """

    shelf: Shelf
    writer: str
    keep_days: int | None
    clock: Callable[[], datetime]
    _damaged: set[Remote] = field(default_factory=set)

    def tier(self, folder: Remote) -> None:
        """Merge the writer's own last objects of today, where `FAN` of one level stand in a row.

        Raises:
            OSError, or one of DAMAGED: they could not be merged now; they count as before.
        """
        while True:
            leaf = self.shelf.leaf(folder)
            run = self._last_run(leaf) if leaf.day == self._today() else []
            made = [
                self._merge(leaf, pack, Segments(self.writer, pack[0].first, pack[-1].last))
                for pack in packs(run, MOST_BYTES)
            ]
            if not any(made):
                return

    def sweep(self) -> Iterator[None]:
        """Keep every day in order, one day and version at each step."""
        today = self._today()
        for leaf in self.shelf.leaves():
            if self.keep_days is not None and leaf.day < today - timedelta(days=self.keep_days):
                self.shelf.remove(leaf.place / name for name in leaf.objects)
                log.info("old predictions deleted", extra={"day": leaf.day.isoformat()})
            else:
                try:
                    self._tidy(leaf, today)
                except DAMAGED as error:  # one damaged object may not keep every later day untidy
                    log.warning("predictions not merged", extra={"folder": str(leaf.place), "because": str(error)})
            yield

    def _today(self) -> date:
        return self.clock().astimezone(UTC).date()

    def _tidy(self, leaf: Leaf, today: date) -> None:
        held = self.shelf.holding(leaf)
        self.shelf.remove(leaf.place / part.name for part, whole in held.covered.items() if self._old(leaf, whole))
        if today - leaf.day < SETTLED or len(held.live) < 2:
            return
        number = max((s.last for s in leaf.segments if s.writer == ALL), default=0)
        sized = [(s, leaf.objects[s.name].bytes) for s in held.live if leaf.objects[s.name].bytes * 2 < MOST_BYTES]
        for pack in packs(sized, MOST_BYTES):
            self.shelf.prove()
            number += 1
            if not self._merge(leaf, pack, Segments(ALL, number, number)):
                return

    def _old(self, leaf: Leaf, whole: Segments) -> bool:
        return self.clock().timestamp() - leaf.objects[whole.name].seconds > COVERED_SECONDS

    def _last_run(self, leaf: Leaf) -> list[tuple[Segments, int]]:
        """Return the writer's last objects of one level with their bytes, if they are enough to be merged.

        One that is large enough, or damaged, ends the run.
        """
        own = [s for s in self.shelf.holding(leaf).live if s.writer == self.writer]
        run: list[tuple[Segments, int]] = []
        for segments in reversed(own):
            size = leaf.objects[segments.name].bytes
            ends = size * 2 >= MOST_BYTES or leaf.place / segments.name in self._damaged
            if ends or level(segments) != level(own[-1]):
                break
            run.insert(0, (segments, size))
        return run if len(run) >= FAN else []

    def _merge(self, leaf: Leaf, pack: Sequence[Segments], into: Segments) -> bool:
        """Write the rows of some objects into one that covers them, in their order; `False` if somebody was quicker."""
        places = [leaf.place / part.name for part in pack]
        spans = joined(
            (s, self.shelf.covers(p) if s.merged_by_sweep else {}) for s, p in zip(pack, places, strict=True)
        )
        sources = [reading(place, self.shelf.storage) for place in places]
        files = [(source, self._schema(place)) for (source, _), place in zip(sources, places, strict=True)]
        data = io.BytesIO()
        merge_into(data, files, spans if into.merged_by_sweep else None, sources[0][1])
        if rows_in(io.BytesIO(data.getvalue())) != sum(rows_in(source, **how) or 0 for source, how in sources):
            raise OSError(f"{into.name} in {leaf.place} does not hold the rows of the objects that it is made of")
        try:
            self.shelf.put(leaf.place / into.name, data.getvalue())
        except FileExistsError:
            log.info("predictions were merged by another", extra={"folder": str(leaf.place)})
            return False
        return True

    def _schema(self, place: Remote) -> Schema:
        try:
            return self.shelf.schema(place)
        except DAMAGED:
            self._damaged.add(place)
            raise
