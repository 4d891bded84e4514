"""Read a declared source lazily: only the files, columns and days that are needed."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TypeVar

import polars as pl

from rehone import profile as profiles
from rehone.codec import encode
from rehone.config import Data, Storage, is_database
from rehone.data.cache import Cache, file_sha256, note_key
from rehone.data.facts import CLOCK_TOLERANCE, ODD_LABEL, DataFacts, View, ask, gather
from rehone.data.files import READ_ERRORS, FileInfo, unreadable
from rehone.data.frames import Reader, is_inside
from rehone.data.opening import TICK, Opened, open_files, reading
from rehone.data.schema import agree, family, named, need_label_times, reserved
from rehone.data.times import TIME, midnight
from rehone.errors import DataError
from rehone.records import Check, Counts, DataFile, DataWindow, Profile, Window
from rehone.remote import Identity, away, sha256_of

Frame = TypeVar("Frame", pl.DataFrame, pl.LazyFrame)
Answer = TypeVar("Answer")


def open_source(
    policy: Data, root: Path, *, cache: Path | None, as_of: datetime, storage: Storage | None = None
) -> Source:
    """Open a source as it was at `as_of`: rows and files from then on are not there.

    Damaged and differing files become `findings`; damaged ones are not read. `storage` says how
    an object store is reached, where the source lies in one. Of a database only the days and
    columns are asked for that are used, when they are.

    Raises:
        DataError: nothing can be read at all.
        ValueError: `as_of` has no time zone.
    """
    if as_of.tzinfo is None:
        raise ValueError(f"as_of {as_of} has no time zone: give it one, such as UTC")
    if is_database(policy.source):
        from rehone.data.warehouse import open_warehouse

        return open_warehouse(policy, root, cache=cache, as_of=as_of)
    notes = Cache(cache)
    moment = as_of.astimezone(UTC)
    return Source(policy, moment, open_files(policy, root, notes, moment, storage or Storage()), notes)


class Source:
    """The files of a source that can be read, and what was found wrong with them or the others.

    Frames have the event time in `__time__` (microseconds, UTC), the label as 0, 1 or null,
    and every column in the one type that all files agree on (`columns`).
    """

    def __init__(self, policy: Data, as_of: datetime, opened: Opened, cache: Cache) -> None:
        self.as_of = as_of
        self.files = opened.files
        self._policy = policy
        self._cache = cache
        self._agreed = agree(opened.files, policy)
        need_label_times(policy, self._agreed.columns, len(opened.files))
        self._reader = Reader(policy, self._agreed.columns, as_of)
        self._found = (*opened.findings, *self._agreed.findings)
        self._failed: tuple[Check, ...] = ()
        self._spans: dict[str, Window | None] = {}

    @property
    def extent(self) -> str:
        """How much there is, in words."""
        return f"{len(self.files):,} file{'s' if len(self.files) != 1 else ''}"

    @property
    def there(self) -> bool:
        """Whether there is any file that can be read."""
        return bool(self.files)

    @property
    def findings(self) -> tuple[Check, ...]:
        """Everything seen so far that is wrong or odd with the files themselves."""
        return (*self._found, *self._failed)

    @property
    def columns(self) -> Mapping[str, pl.DataType]:
        """The columns that can be asked for, with the type that all files agree on."""
        return self._agreed.columns

    def features(self) -> tuple[str, ...]:
        """Name the features: those declared, else every usable column without a role of its own."""
        return self._agreed.features

    def span(self) -> Window | None:
        """Return the stretch from the first event to just after the last one before as-of."""
        spans = [s for s in (self._span(f) for f in self.files) if s is not None]
        return Window(min(s.start for s in spans), max(s.end for s in spans)) if spans else None

    def scan(self, window: Window, columns: Sequence[str] | None = None) -> pl.LazyFrame:
        """Return the rows of a window before as-of, lazily, in the order of the files.

        `__time__` and the label-due column always come along. Without `columns`: the features
        and every column with a role.

        Raises:
            DataError: there is no such column.
        """
        return self._rows(self._clip(window)).select(self._wanted(columns))

    def read(self, window: Window, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """Return the rows of a window before as-of, sorted by event time; ties keep the files' order.

        Raises:
            DataError: there is no such column, or a file cannot be read; it is named.
        """
        before = len(self._failed)
        frame = self._try_again(lambda: self.scan(window, columns).collect(engine="streaming"))
        if len(self._failed) > before:
            raise DataError("; ".join(check.sentence for check in self._failed[before:]))
        return frame.sort(TIME, maintain_order=True)

    def labelled(self, window: Window, columns: Sequence[str]) -> pl.DataFrame:
        """Return the rows of a window whose label is due and there, with that label, sorted by event time.

        Raises:
            DataError: there is no such column, or a file cannot be read; it is named.
        """
        wanted = tuple(dict.fromkeys((*columns, self._policy.label)))
        return self.mature(self.read(window, wanted)).drop_nulls(self._policy.label)

    def some(self, window: Window, columns: Sequence[str], most: int, *, there: Sequence[str] = ()) -> pl.DataFrame:
        """Return every k-th row of a window, at most `most` of them, in the order of the files.

        With `there`, only of the rows whose label is due and where none of these columns is null.

        Raises:
            DataError: there is no such column.
        """
        rows = self.scan(window, columns)
        if there:
            rows = self.mature(rows).drop_nulls(list(there))
        n = rows.select(pl.len()).collect(engine="streaming").item()
        step = -(-n // most)
        return (rows.gather_every(step) if step > 1 else rows).collect()

    def collect(
        self, window: Window, columns: Sequence[str], shape: Callable[[pl.LazyFrame], pl.LazyFrame]
    ) -> pl.DataFrame:
        """Return what `shape` makes of the rows of a window; a file that cannot be read is left out, and is a finding.

        Raises:
            DataError: there is no such column, or it was not the fault of one file.
        """
        return self._try_again(lambda: shape(self.scan(window, columns)).collect(engine="streaming"))

    def mature(self, frame: Frame) -> Frame:
        """Keep the rows whose label is due at as-of, whether it has arrived or not.

        Only a project that accepts it in words keeps the rows whose label has arrived instead.
        """
        return frame.filter(self._is_mature())

    def describe(self, window: Window) -> DataWindow:
        """Name exactly what lies in a window: its files, their digests and its rows.

        Raises:
            DataError: a file changed since the source was opened.
        """
        window = self._clip(window)
        rows, positives = self._try_again(lambda: self._sizes(window))
        files = self._overlapping(window)
        digests = self._digests(files)
        changed = [f.path for f in files if f.path not in digests]
        if changed:
            raise DataError(
                f"{named(changed)} changed while the window was read: run again when the feed has finished writing"
            )
        listed = tuple(
            DataFile(path=f.path, sha256=digests[f.path], bytes=f.bytes, rows=f.rows)
            for f in sorted(files, key=lambda f: f.path)
        )
        lines = [*(f"{f.path} {f.sha256}" for f in listed), f"{window.start.isoformat()} {window.end.isoformat()}"]
        return DataWindow(
            source=self._policy.source,
            window=window,
            rows=rows,
            positives=positives if self._policy.label in self.columns else None,
            sha256=hashlib.sha256("\n".join(lines).encode()).hexdigest(),
            files=listed,
        )

    def counts(self, window: Window, profile: Profile) -> Counts:
        """Count the rows of a window into a champion's bins; unchanged files are not read again."""
        clipped = self._clip(window)
        return self._try_again(lambda: profiles.add(self._parts(clipped, profile)))

    def facts(
        self, window: Window, features: Sequence[str], *, now: datetime, profile: Profile | None = None
    ) -> DataFacts:
        """Gather what `validate` judges, in streamed aggregates over the window."""
        clipped = self._clip(window)
        asked = ask(features, self.columns, self._policy, profile)
        base = self._try_again(lambda: gather(self._view(clipped, now), asked))
        late = self._dated_after(max(now, self.as_of) + CLOCK_TOLERANCE)
        usable = {name for name, _, _ in asked.features}
        return replace(
            base,
            label_type=str(self.columns[asked.label]) if asked.label in self.columns else None,
            missing_features=tuple(n for n in features if n not in self.columns),
            unusable_features=tuple(
                (n, str(self.columns[n])) for n in features if n in self.columns and n not in usable
            ),
            known_columns=tuple(self.columns),
            future_rows=late[0],
            future_newest=late[1],
            misdated=self._misdated(),
            dated_files=sum(1 for f in self.files if f.day is not None and f.span is not None),
            untimed_rows=sum(f.untimed for f in self.files),
            unlabelled_files=self._unlabelled(clipped),
            findings=self.findings,
        )

    # what is asked of the frames

    def _clip(self, window: Window) -> Window:
        end = min(window.end.astimezone(UTC), self.as_of)
        return Window(min(window.start.astimezone(UTC), end), end)

    def _rows(self, window: Window) -> pl.LazyFrame:
        return self._reader.frames(self._overlapping(window), window)

    def _wanted(self, columns: Sequence[str] | None) -> list[str]:
        known = dict.fromkeys([TIME, self._policy.label, ODD_LABEL, *self.columns])
        known.pop(self._policy.time_column or "", None)
        if columns is None:
            names = [n for n in (*self.features(), *sorted(reserved(self._policy))) if n in known]
        else:
            names = [self._known(name, list(known)) for name in columns]
        due = self._policy.label_due_column
        return list(dict.fromkeys([TIME, *names, *([due] if due in known else [])]))

    def _known(self, name: str, known: Sequence[str]) -> str:
        if name in known:
            return name
        near = difflib.get_close_matches(name, known, 1)
        hint = f"did you mean {near[0]!r}?" if near else "correct the name in rehone.toml"
        raise DataError(f"column {name!r} is in none of {len(self.files)} files: {hint}")

    def _is_mature(self) -> pl.Expr:
        if self._policy.label_selection != "mature":
            return pl.col(self._policy.label).is_not_null()
        due = self._policy.label_due_column
        if due is None:
            return pl.col(TIME) <= self.as_of - timedelta(days=self._policy.label_delay_days)
        if due not in self.columns:
            raise DataError(
                f"label_due_column {due!r} is in none of {len(self.files)} files: correct its name, or use label_delay_days"
            )
        return (pl.col(due) <= self.as_of).fill_null(value=False)

    def _mature_rows(self, window: Window) -> pl.LazyFrame:
        """Read the matured rows of a window; with a delay they are a shorter window, without any filter."""
        if self._policy.label_selection != "mature" or self._policy.label_due_column is not None:
            return self.mature(self._rows(window))
        newest = self.as_of - timedelta(days=self._policy.label_delay_days) + TICK
        end = max(window.start, min(window.end, newest))
        return self._rows(Window(window.start, end))

    def _due(self) -> pl.Expr:
        if self._policy.label_due_column is not None:
            return pl.col(self._policy.label_due_column)
        return pl.col(TIME) + timedelta(days=self._policy.label_delay_days)

    def _sizes(self, window: Window) -> tuple[int, int]:
        label = pl.col(self._policy.label)
        asked = self._rows(window).select(pl.len().alias("rows"), (label == 1).sum().alias("positives"))
        rows, positives = asked.collect(engine="streaming").row(0)
        return int(rows), int(positives or 0)

    def _view(self, window: Window, now: datetime) -> View:
        return View(
            source=self._policy.source,
            window=window,
            as_of=self.as_of,
            now=now,
            zone=self._policy.timezone,
            span=self.span(),
            rows=self._rows(window),
            likely_rows=sum(f.rows for f in self._overlapping(window)),
            mature=self._is_mature(),
            mature_rows=self._mature_rows(window),
            due=self._due(),
        )

    # what is asked of the files

    def _overlapping(self, window: Window) -> tuple[FileInfo, ...]:
        return tuple(
            f for f in self.files if f.span is not None and f.span.start < window.end and window.start < f.span.end
        )

    def _span(self, file: FileInfo) -> Window | None:
        """Return the events of a file before as-of; a file that goes on beyond is looked into once."""
        if file.span is None or file.span.end <= self.as_of:
            return file.span
        if file.span.start >= self.as_of:
            return None
        if file.path not in self._spans:
            newest = self._try_again(lambda: self._newest(file))
            self._spans[file.path] = Window(file.span.start, newest + TICK) if newest is not None else None
        return self._spans[file.path]

    def _newest(self, file: FileInfo) -> datetime | None:
        rows = self._reader.frame(file).filter(pl.col(TIME) < self.as_of)
        newest: datetime | None = rows.select(pl.col(TIME).max()).collect(engine="streaming").item()
        return newest

    def _misdated(self) -> tuple[tuple[str, datetime], ...]:
        zone = self._policy.timezone
        dated = ((f, f.span.end - TICK) for f in self.files if f.day is not None and f.span is not None)
        return tuple((f.path, t) for f, t in dated if f.day and t >= midnight(f.day + timedelta(days=2), zone))

    def _unlabelled(self, window: Window) -> tuple[str, ...]:
        label = self._policy.label
        due = window.end - timedelta(days=self._policy.label_delay_days)
        files = self._overlapping(Window(window.start, max(window.start, due)))
        return tuple(f.path for f in files if label not in f.schema and label not in f.partitions)

    def _dated_after(self, moment: datetime) -> tuple[int, datetime | None]:
        files = [f for f in self.files if f.span is not None and f.span.end - TICK > moment]
        if not files:
            return 0, None
        rows = self._reader.frames(files).select(TIME).filter(pl.col(TIME) > moment)
        asked = rows.select(pl.len().alias("rows"), pl.col(TIME).max().alias("newest"))
        count, newest = self._try_again(lambda: asked.collect(engine="streaming").row(0))
        return int(count), newest

    def _try_again(self, ask: Callable[[], Answer]) -> Answer:
        """Ask once; if a file cannot be read after all, set it aside as a finding and ask again.

        Raises:
            DataError: it was not the fault of one file.
        """
        try:
            return ask()
        except READ_ERRORS as error:
            bad = dict(filter(None, map(self._damage, self.files)))
            if not bad or len(bad) == len(self.files):
                why = f"every one of its {len(self.files)} files fails" if bad else "no single file is to blame"
                raise DataError(
                    f"{self._policy.source!r} cannot be read ({str(error)[:300]}; {why}): look at the disk, and whether the files are still there"
                ) from error
        self._failed += tuple(bad.values())
        self.files = tuple(f for f in self.files if f.path not in bad)
        return ask()

    def _damage(self, file: FileInfo) -> tuple[str, Check] | None:
        try:
            self._reader.frame(file).select(pl.all().is_null().sum()).collect(engine="streaming")
        except READ_ERRORS as error:
            return file.path, unreadable(file, error)
        return None

    def _digests(self, files: Iterable[FileInfo]) -> dict[str, str]:
        how, notes = reading(self._policy), self._cache.notes()
        keys = {f.path: note_key(f, how) for f in files}
        known = {path: note.sha256 for path, key in keys.items() if (note := notes.get(key)) and note.sha256}
        unknown = [f for f in files if f.path not in known]
        if not unknown:
            return known
        with ThreadPoolExecutor(max_workers=pl.thread_pool_size()) as pool:
            made = dict(zip((f.path for f in unknown), pool.map(_digest, unknown), strict=True))
        fresh = {path: sha for path, sha in made.items() if sha is not None}
        seen = {keys[p]: replace(notes[keys[p]], sha256=sha) for p, sha in fresh.items() if keys[p] in notes}
        self._cache.save_notes(seen)
        return known | fresh

    # counts

    def _parts(self, window: Window, profile: Profile) -> list[Counts]:
        files = self._overlapping(window)
        whole = [f for f in files if is_inside(f, window)]
        partial = [f for f in files if not is_inside(f, window)]
        parts = self._whole(whole, profile)
        if partial or not parts:
            parts.append(self._count(self._reader.frames(partial, window), profile))
        return parts

    def _whole(self, files: Sequence[FileInfo], profile: Profile) -> list[Counts]:
        """Count whole files, each from the cache if its bytes were counted before."""
        reference = hashlib.sha256(encode(profile) + self._manner(profile).encode()).hexdigest()
        digests = self._digests(files)
        keys = {f.path: f"{digests[f.path]} {f.day} {dict(f.partitions)}" for f in files if f.path in digests}
        known = self._cache.counts(reference)
        new = [f for f in files if keys.get(f.path, "") not in known]
        with ThreadPoolExecutor(max_workers=pl.thread_pool_size()) as pool:
            made = list(pool.map(lambda f: self._count(self._reader.frame(f), profile), new))
        fresh = {keys[f.path]: counts for f, counts in zip(new, made, strict=True) if f.path in keys}
        if fresh:
            self._cache.save_counts(reference, fresh)
        return [known[keys[f.path]] for f in files if f not in new] + made

    def _count(self, rows: pl.LazyFrame, profile: Profile) -> Counts:
        score = self._policy.score_column
        return profiles.count(rows, profile, score=score if score in self.columns else None)

    def _manner(self, profile: Profile) -> str:
        """Say how files are read, as far as counts depend on it."""
        policy, columns = self._policy, self.columns
        kinds = [family(columns[f.feature]) if f.feature in columns else "" for f in profile.features]
        return repr(
            (reading(policy), sorted(policy.categorical), policy.score_column in columns, policy.score_column, kinds)
        )


def _digest(file: FileInfo) -> str | None:
    """Return a file's digest, or nothing if it changed since it was listed.

    Raises:
        SourceAway: the object store is away, or does not let us read.
    """
    if isinstance(file.location, Path):
        return _digest_here(file.location, file.identity)
    try:
        return sha256_of(file.location, file.identity, file.storage)
    except OSError as error:
        raise away(file.location, error, file.storage) from error


def _digest_here(path: Path, identity: Identity) -> str | None:
    try:
        digest, stat = file_sha256(path), path.stat()
    except OSError:
        return None
    return digest if (stat.st_size, stat.st_mtime_ns, stat.st_ino) == identity else None
