"""Learn from what was served: the log's rows, as they were asked, with the labels that arrived later."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property

import polars as pl

from rehone.config import Config, Data
from rehone.data.facts import ODD_LABEL, DataFacts
from rehone.data.files import FileInfo
from rehone.data.frames import Reader
from rehone.data.joining import Arrived, Labels, findings_of, newest_due
from rehone.data.opening import Opened
from rehone.data.schema import agree, family, kind_of
from rehone.data.served import AT, ID, OWN, Served, log_policy
from rehone.data.source import Frame, Source
from rehone.data.times import TIME
from rehone.data.validate.case import percent
from rehone.records import Check, CheckStatus, Contract, DataWindow, Feature, Profile, Window

_BEGIN = datetime(1970, 1, 1, tzinfo=UTC)


def learn_from(served: Served, labels: Labels, *, ids: pl.DataType | None = None) -> Taught:
    """Make the log a source to learn from; `ids` is the type of ids in data.source, to know rows again.

    Files that lack a feature are left out, and that is a finding.
    """
    policy = _policy(served.config)
    features = tuple(n for n in agree(served.files, policy).features if not n.startswith(OWN))
    fitting = served.fitting(_contract(served.files, features, policy), whose="a challenger")
    kept = {*features, AT, ID}
    narrow = tuple(replace(f, schema={n: t for n, t in f.schema.items() if n in kept}) for f in fitting)
    return Taught(served, narrow, labels, _id_type(served, fitting, ids))


class Taught(Source):
    """The prediction log joined with labels, read like any other source.

    An id that was answered twice is there once, as it was answered first. A row whose label is
    due and has not arrived is left out, or is a negative where the project says so.
    """

    def __init__(self, served: Served, files: tuple[FileInfo, ...], labels: Labels, ids: pl.DataType) -> None:
        policy, config = _policy(served.config), served.config
        super().__init__(policy, served.as_of, Opened(files, ()), served.cache)
        self._served, self._labels, self._ids = served, labels, ids
        self._joined: tuple[Check, ...] = ()
        self._own = config.data.id_column or ID
        negative = config.predictions.unlabelled == "negative" and labels.source is not None
        self._reader = _Joined(
            policy,
            self._agreed.columns,
            served.as_of,
            labels=lambda: self._arrived.labels,
            own=self._own,
            ids=ids,
            negative_before=newest_due(served.as_of, policy.label_delay_days) if negative else None,
        )

    @property
    def columns(self) -> Mapping[str, pl.DataType]:
        """The features as they were logged, the id and the label."""
        kept = {n: t for n, t in self._agreed.columns.items() if not n.startswith(OWN)}
        return {**kept, self._own: self._ids, self._policy.label: pl.Int8()}

    @property
    def findings(self) -> tuple[Check, ...]:
        """What is wrong with the log's files, and with the labels that arrived."""
        stale = (self._labels.stale,) if self._labels.stale else ()
        return (*super().findings, *self._served.findings, *self._labels.findings, *stale, *self._joined)

    def features(self) -> tuple[str, ...]:
        """Name the features: those declared, else every column of the log that tells what was sent."""
        return tuple(name for name in self._agreed.features if not name.startswith(OWN))

    def mature(self, frame: Frame) -> Frame:
        """Keep the rows whose label is due and has arrived; how many have not is a check of `facts`."""
        return frame.filter(self._is_mature())

    def facts(
        self, window: Window, features: Sequence[str], *, now: datetime, profile: Profile | None = None
    ) -> DataFacts:
        """Gather what `validate` judges, and how many of the labels that are due have arrived."""
        base = super().facts(window, features, now=now, profile=profile)
        return replace(base, label_type="Int8", findings=(*self.findings, self._coverage(self._clip(window))))

    def describe(self, window: Window) -> DataWindow:
        """Name the files of the log and of the labels, their digests and the rows.

        Raises:
            DataError: a file changed since it was opened.
        """
        base, labels = super().describe(window), self._labels.described(window.start)
        if labels is None:
            return base
        both = hashlib.sha256(f"{base.sha256}\n{labels.sha256}".encode()).hexdigest()
        said = f"{base.source} with labels of {labels.source}"
        return replace(base, source=said, sha256=both, files=(*base.files, *labels.files))

    @cached_property
    def _arrived(self) -> Arrived:
        """Read the labels once, when rows are first asked for; most checks never ask."""
        starts = [f.span.start for f in self.files if f.span]
        arrived = self._labels.arrived(min(starts, default=self.as_of))
        self._joined = tuple(findings_of(arrived, self._policy.label))
        return arrived

    def _is_mature(self) -> pl.Expr:
        labelled = pl.col(self._policy.label).is_not_null()
        if self._policy.label_selection != "mature":
            return labelled
        return labelled & self._is_due()

    def _is_due(self) -> pl.Expr:
        return pl.col(TIME) <= self.as_of - timedelta(days=self._policy.label_delay_days)

    def _mature_rows(self, window: Window) -> pl.LazyFrame:
        odd = self._is_due() & pl.col(ODD_LABEL).is_not_null()
        return self._rows(window).filter(self._is_mature() | odd)

    def _coverage(self, window: Window) -> Check:
        has_label = pl.col(self._policy.label).is_not_null() | pl.col(ODD_LABEL).is_not_null()
        asked = self._rows(window).filter(self._is_due()).select(due=pl.len(), labelled=has_label.sum())
        due, labelled = asked.collect(engine="streaming").row(0)
        return _coverage_check(self._served.config, self._labels, (int(due), int(labelled)), window)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Joined(Reader):
    """Reads the files of the log as one frame with labels, and until when silence means no."""

    labels: Callable[[], pl.DataFrame]
    own: str
    ids: pl.DataType
    negative_before: datetime | None

    def frames(self, files: Sequence[FileInfo], window: Window | None = None) -> pl.LazyFrame:
        """Read several files, by time, the first answer of each id, with its label."""
        label = self.policy.label
        logged = Reader.frames(self, files, window).drop(label, ODD_LABEL)
        if not files:
            logged = logged.with_columns(pl.lit(None, dtype=pl.String).alias(ID))
        first = logged.sort(TIME, maintain_order=True).unique(ID, keep="first", maintain_order=True)
        rows = first.join(self.labels().lazy(), on=ID, how="left", maintain_order="left")
        if self.negative_before is not None:
            silent = pl.col(label).is_null() & pl.col(ODD_LABEL).is_null() & (pl.col(TIME) < self.negative_before)
            rows = rows.with_columns(pl.when(silent).then(pl.lit(0, dtype=pl.Int8())).otherwise(label).alias(label))
        return rows.with_columns(pl.col(ID).cast(self.ids).alias(self.own)).drop(ID)


def _policy(config: Config) -> Data:
    """Read the log with the project's own roles, where the log has them."""
    return log_policy(config).model_copy(
        update={"score_column": None, "id_column": config.data.id_column, "exclude": config.data.exclude}
    )


def _contract(files: Sequence[FileInfo], features: Sequence[str], policy: Data) -> Contract:
    """Write down the features in the kind that most files have."""
    columns = agree(files, policy).columns
    kinds = ((n, kind_of(n, columns[n], policy.categorical)) for n in features if n in columns)
    known = tuple(Feature(n, kind) for n, kind in kinds if kind is not None)
    return Contract(features=known, label=policy.label)


def _id_type(served: Served, files: Sequence[FileInfo], wanted: pl.DataType | None) -> pl.DataType:
    """Take ids for whole numbers when they are in data.source and every id of the log is one."""
    if wanted is None or family(wanted) != "number" or not files:
        return pl.String()
    rows = served.source(files, {AT, ID}).scan(Window(_BEGIN, served.as_of), (ID,))
    whole = pl.col(ID).cast(pl.Int64, strict=False)
    exact = (whole.cast(pl.String) == pl.col(ID)).fill_null(value=False).all()
    return pl.Int64() if rows.select(exact).collect(engine="streaming").item() else pl.String()


def _coverage_check(config: Config, labels: Labels, counted: tuple[int, int], window: Window) -> Check:
    due, labelled = counted
    limit, share = config.predictions.min_label_coverage, labelled / due if due else None
    check = Check(name="label_coverage", status=CheckStatus.OK, value=share, limit=limit, n=due)
    if share is None:
        return replace(
            check,
            status=CheckStatus.WARN,
            detail=f"no label of a prediction in {window} is due yet",
            remedy="wait, or correct data.label_delay_days",
        )
    said = f"{percent(share)} of {due:,} predictions in {window} whose label is due have one"
    if labels.source is None:
        return replace(
            check, status=CheckStatus.ACT, detail=f"{said}: {labels.why}", remedy="give labels to learn from"
        )
    if labelled == due:
        return replace(check, detail=said)
    if config.predictions.unlabelled == "negative":
        detail = f'{said}, and predictions.unlabelled = "negative" says what the others are'
        return replace(check, detail=detail)
    if share < limit and config.data.label_selection == "mature":
        remedy = 'wait for the labels, raise data.label_delay_days, or say unlabelled = "negative" if only positives are reported'
        return replace(check, status=CheckStatus.ACT, detail=f"{said}, need {percent(limit)}", remedy=remedy)
    left = f"{said}; the {due - labelled:,} without one are left out"
    return replace(check, status=CheckStatus.WARN, detail=left, remedy="look at why these labels did not arrive")
