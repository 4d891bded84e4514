"""Open the prediction log as it was on a day: what was served, by which version, and who decided."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime

import polars as pl

from rehone.config import Config, Data
from rehone.data.cache import Cache
from rehone.data.files import FileInfo, info, object_info
from rehone.data.opening import Opened, open_listed
from rehone.data.schema import family, named
from rehone.data.source import Source
from rehone.data.times import INSTANT, TIME
from rehone.errors import DataError, SourceAway
from rehone.places import Place
from rehone.predictions import SERVED, Log, shelf_of
from rehone.records import Check, CheckStatus, Contract, Counts, FeatureKind, Profile, Window
from rehone.remote import Listed

ID, AT, VERSION, SCORE, DECISION = "served_id", "served_at", "served_version", "served_score", "served_decision"
OWN = "served_"
"""Columns that begin like this say what was answered, and are never features."""

MOST_REPEATED = 0.01
"""Share of rows that repeat an id above which it is said that drift counts them all."""

MOST_ROWS = 1_000_000

_FAMILIES = {FeatureKind.NUMERIC: "number", FeatureKind.BOOLEAN: "Boolean", FeatureKind.CATEGORICAL: "text"}
_BEGIN = datetime(1970, 1, 1, tzinfo=UTC)


def log_policy(config: Config) -> Data:
    """Say how the files of the log are read: by the time of the answer, in UTC, without a label."""
    roles = {"source": config.predictions.folder, "time_column": AT, "timezone": "UTC"}
    unknown = {"label_due_column": None, "label_time_column": None, "label_completeness": None}
    return config.data.model_copy(update={**roles, **unknown, "score_column": SCORE, "exclude": ()})


def open_served(config: Config, *, as_of: datetime, since: datetime | None = None) -> Served:
    """Open the files of the log with rows in `since <= served_at < as_of`; none at all is no error.

    Raises:
        DataError: the log cannot be listed, or lies in an object store that is away.
        ValueError: `as_of` has no time zone.
    """
    if as_of.tzinfo is None:
        raise ValueError(f"as_of {as_of} has no time zone: give it one, such as UTC")
    moment, cache = as_of.astimezone(UTC), Cache(config.cache_path)
    listed = list(_listed(config, Window(min(since or _BEGIN, moment), moment)))
    if not listed:
        return Served(config, moment, Opened((), ()), cache)
    try:
        opened = open_listed(log_policy(config), listed, cache)
    except SourceAway:
        raise
    except DataError as error:
        opened = Opened((), (_nothing_readable(config, len(listed), error),))
    return Served(config, moment, _of_a_log(opened), cache)


class Served:
    """The log's files that can be read. Several versions may have written it, with other features."""

    def __init__(self, config: Config, as_of: datetime, opened: Opened, cache: Cache) -> None:
        self.config = config
        self.as_of = as_of
        self.files = opened.files
        self.cache = cache
        self._found = list(opened.findings)
        self._sources: list[Source] = []

    @property
    def findings(self) -> tuple[Check, ...]:
        """Return what is wrong with the log so far, as warnings: evidence shrinks, it does not stop a run."""
        later = (check for source in self._sources for check in source.findings if check.name == "file_readable")
        every = {(c.name, c.subject): c for c in (*self._found, *later)}
        return tuple(replace(c, status=CheckStatus.WARN) for c in every.values())

    def note(self, check: Check) -> None:
        """Add a finding made while the log was used."""
        self._found.append(check)

    def fitting(self, contract: Contract, *, whose: str = "the champion") -> tuple[FileInfo, ...]:
        """Return the files that hold every feature of a contract in its kind; the others are a finding."""
        lacking = {f.path: missing for f in self.files if (missing := _lacking(f.schema, contract))}
        if lacking:
            self.note(_left_out(self.files, lacking, whose))
        return tuple(f for f in self.files if f.path not in lacking)

    def by_version(self, version: str) -> tuple[FileInfo, ...]:
        """Return the files that one version wrote."""
        return tuple(f for f in self.files if version_of(f) == version[:12])

    def counts(self, window: Window, reference: Profile, files: Sequence[FileInfo]) -> Counts:
        """Count the rows of some files into a champion's bins, scores too; unchanged files are not read again."""
        names = {feature.feature for feature in reference.features}
        return self.source(files, {*names, AT, SCORE}).counts(window, reference)

    def note_repeated(self, window: Window, files: Sequence[FileInfo]) -> None:
        """Note it when so many rows repeat an id that counts, which take each row, weigh some clients double.

        Only ids are read; of more than a million rows those of an even share of all ids.
        """
        if not files:
            return
        one_in = 1 + sum(f.rows for f in files) // MOST_ROWS
        digest = pl.col(ID).hash(0)
        seen = self.source(files, {AT, ID}).collect(
            window,
            (ID,),
            lambda rows: (
                rows.drop_nulls(ID)
                .select(digest)
                .filter(pl.col(ID) % one_in == 0)
                .select(pl.len().alias("rows"), pl.col(ID).n_unique().alias("ids"))
            ),
        )
        rows, ids = seen.row(0)
        if rows - ids > MOST_REPEATED * rows:
            self.note(_weighing_double((rows - ids) / rows, rows, window, one_in))

    def read(self, window: Window, columns: Sequence[str], files: Sequence[FileInfo] | None = None) -> pl.DataFrame:
        """Return answered rows with `__time__`, by time, the first of each id; a damaged file is left out and said."""
        chosen = self.files if files is None else files
        if not chosen:
            return pl.DataFrame(schema={TIME: INSTANT, **{n: SERVED.get(n, pl.Null()) for n in (ID, *columns)}})
        source = self.source(chosen, {AT, ID, *columns})
        wanted = list(dict.fromkeys((ID, *columns)))
        try:
            rows = source.read(window, wanted)
        except DataError:
            rows = source.read(window, wanted)  # the files that failed are set aside by now
        first = rows.filter(pl.col(ID).is_not_null()).unique(ID, keep="first", maintain_order=True)
        if first.height < rows.height:
            self.note(_repeated(rows.height - first.height, rows.height, window))
        return first

    def source(self, files: Sequence[FileInfo], columns: Collection[str]) -> Source:
        """Return some files, with some of their columns, as a source."""
        narrow = tuple(replace(f, schema={n: t for n, t in f.schema.items() if n in columns}) for f in files)
        made = Source(log_policy(self.config), self.as_of, Opened(narrow, ()), self.cache)
        self._sources.append(made)
        return made

    def nothing(self, since: datetime) -> str:
        """Say that the log holds nothing, and what to look at."""
        return (
            f"0 predictions in the log since {since:%Y-%m-%d} ({self.config.predictions.folder!r}): "
            "is `predictions.log` on, and is this the folder that the service writes?"
        )


def version_of(file: FileInfo) -> str:
    """Return the first 12 digits of the version that wrote a file."""
    return file.location.parent.name.partition("=")[2]


def _listed(config: Config, window: Window) -> Iterator[FileInfo]:
    for found in Log(shelf_of(config.predictions_path, config.storage)).found(window):
        try:
            file = object_info(found, config.storage) if isinstance(found, Listed) else info(found, config.root)
        except FileNotFoundError:
            continue  # merged or outdated since it was listed
        yield replace(file, partitions={}, day=_day_of(file.location))


def _day_of(path: Place) -> date:
    """Read the day from the folder; in other parts of the path, such as the name of a host, a date may stand too."""
    return date.fromisoformat(path.parent.parent.name.partition("=")[2])


def _of_a_log(opened: Opened) -> Opened:
    """Leave out files that something else wrote into the folder, or that have lost what was answered."""
    needed = (ID, AT, VERSION, SCORE, DECISION)
    strange = {f.path: lost for f in opened.files if (lost := [n for n in needed if f.schema.get(n) != SERVED[n]])}
    found = tuple(
        Check(
            name="log_file",
            subject=path,
            status=CheckStatus.WARN,
            detail=f"{path} has no {' and no '.join(lost)} as the log writes it, and is left out",
            remedy="move it out of predictions.folder",
        )
        for path, lost in strange.items()
    )
    return Opened(tuple(f for f in opened.files if f.path not in strange), (*opened.findings, *found))


def _lacking(schema: Mapping[str, pl.DataType], contract: Contract) -> tuple[str, ...]:
    return tuple(
        f.name
        for f in contract.features
        if f.name not in schema or family(schema[f.name]) not in (_FAMILIES[f.kind], "nothing")
    )


def _left_out(files: Sequence[FileInfo], lacking: Mapping[str, Sequence[str]], whose: str) -> Check:
    out = [f for f in files if f.path in lacking]
    names = sorted({name for missing in lacking.values() for name in missing})
    rows, versions = sum(f.rows for f in out), sorted({version_of(f) for f in out})
    return Check(
        name="log_left_out",
        subject=names[0],
        status=CheckStatus.WARN,
        value=float(len(out)),
        limit=0.0,
        n=len(files),
        detail=(
            f"{len(out)} of {len(files)} log files ({rows:,} predictions of version {named(versions)}) lack "
            f"{named([repr(n) for n in names])} as {whose} reads it, and are left out"
        ),
        remedy="they count again when the window has passed them; if they should not lack it, look at predictions.columns",
    )


def _repeated(rows: int, of: int, window: Window) -> Check:
    return Check(
        name="log_repeated",
        subject=str(window),
        status=CheckStatus.WARN,
        value=float(rows),
        limit=0.0,
        n=of,
        detail=f"{rows:,} of {of:,} predictions in {window} repeat an id; the first of each id counts",
        remedy="send an id of its own with each row, unless clients simply asked again",
    )


def _weighing_double(share: float, rows: int, window: Window, one_in: int) -> Check:
    of = f"{rows:,} predictions" if one_in == 1 else f"{rows:,} predictions (those of one id in {one_in})"
    return Check(
        name="drift_repeated",
        subject=str(window),
        status=CheckStatus.WARN,
        value=share,
        limit=MOST_REPEATED,
        n=rows,
        detail=(
            f"{100 * share:.3g} % of {of} in {window} repeat an id, more than {100 * MOST_REPEATED:g} %: drift counts "
            "each of them, so that a client that asks again weighs more; recall and training count the first alone"
        ),
        remedy="let clients ask again less often, or send an id of its own with each row",
    )


def _nothing_readable(config: Config, files: int, error: DataError) -> Check:
    return Check(
        name="log_readable",
        subject=config.predictions.folder,
        status=CheckStatus.WARN,
        value=float(files),
        limit=0.0,
        n=files,
        detail=f"none of {files} log files can be read: {error}",
        remedy="look at the disk, and at what wrote them",
    )


__all__ = ["AT", "DECISION", "ID", "OWN", "SCORE", "TIME", "VERSION", "Served", "log_policy", "open_served"]
