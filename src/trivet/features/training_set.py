"""Training sets: a spine joined with features as they could be known, an artifact that can be made again.

``training_set`` records; ``build`` is the importable function that the recorded run calls, and that ``reproduce``
calls again with the same spine, the sources as they were and the views as they were declared. The content of the
artifact is the table, whatever the file format does; its declaration says which column is what, and the report what
was met on the way.
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import polars as pl

from trivet import plugins
from trivet.errors import Corrupt, Invalid, NotFound
from trivet.features.as_known import as_known
from trivet.features.catalogue import Catalogue
from trivet.features.computed import with_computed
from trivet.features.corrections import warn_of_corrections
from trivet.features.dealing import in_batches, lazy_rows
from trivet.features.definitions import FeatureView, Source, check_zone
from trivet.features.deprecation import Deprecations
from trivet.features.engines.contract import Engine, Report
from trivet.features.frames import as_polars
from trivet.features.logs import with_logs
from trivet.features.on_demand import OnDemand
from trivet.features.pieces import StoredTable, as_bytes, join_in_pieces, needed
from trivet.features.references import Definition, Selected, resolve
from trivet.features.services import FeatureService
from trivet.features.snapshots import record_source
from trivet.features.sources import Snapshot, Snapshots, leaves_of, snapshot_of
from trivet.features.sources.files import FileSnapshot
from trivet.features.times import Rules, to_micros
from trivet.ledger import Artifact, Blobs, File, Run
from trivet.pipelines.context import Context
from trivet.pipelines.values.contract import Saved
from trivet.types import Digest, Json, as_utc

if TYPE_CHECKING:
    from trivet.features.quality.report import QualityReport
    from trivet.pipelines.values.encoding import Column

__all__ = ["FeatureColumn", "TrainingSet", "TrainingSetKind", "build", "open_kind", "training_set"]


_MOMENT, _FILE = "__moment", "training_set.parquet"
_ROWS = 1 << 18
_LARGE = 64 << 20  # bytes of a stored table beyond which it is not read before it is asked for


class FeatureColumn(msgspec.Struct, frozen=True):
    """Which feature a column holds: ``view:feature`` of the view with this digest."""

    name: str
    feature: str
    view: Digest


class TrainingSet:
    """A table of what was known, with what to predict from it. ``project.training_set`` answers one.

    Attributes:
        time: the column of prediction times.
        label: the column to predict, if named.
        entities: the entities whose features were joined, by name.
        features: which feature each added column holds.
        report: what was met on the way, counted.
        strict: whether it sees only what was known before, not at, each time.
        artifact, run: where it is recorded, once it is.
        definitions: where on-demand views take part, the digest of every view by name, inputs of theirs included.
        services: the feature services that were asked for, by name.
        origin: of a part that is not recorded itself, the whole that it was taken from.
        quality: what was expected of its sources' data and how that was met, a report for each source of which
            something is expected; of a set that was just made by ``project.training_set``.
    """

    __trivet_kind__ = "training_set"

    def __init__(
        self,
        frame: pl.DataFrame | StoredTable,
        *,
        time: str,
        label: str | None,
        entities: Sequence[str],
        features: Sequence[FeatureColumn],
        report: Report,
        strict: bool = False,
        definitions: Mapping[str, Digest] = {},
        services: Sequence[str] = (),
    ) -> None:
        self._table = frame
        self.time, self.label = time, label
        self.entities, self.features = tuple(entities), tuple(features)
        self.report, self.strict = report, strict
        self.definitions, self.services = dict(definitions), tuple(services)
        self.artifact: Artifact | None = None
        self.origin: Artifact | None = None
        self.run: Run | None = None
        self.quality: tuple[QualityReport, ...] = ()

    @property
    def _frame(self) -> pl.DataFrame:
        return self._table if isinstance(self._table, pl.DataFrame) else self._table.scan().collect()

    @property
    def stored(self) -> StoredTable | None:
        """The file that holds the table, where it is not in memory."""
        return self._table if isinstance(self._table, StoredTable) else None

    def to_polars(self) -> pl.DataFrame:
        """The table for Polars."""
        return self._frame

    def to_lazy(self) -> pl.LazyFrame:
        """The table for Polars, not read before it is collected, and then no more of it than is asked for."""
        return self._table.lazy() if isinstance(self._table, pl.DataFrame) else self._table.scan()

    def to_batches(self, rows: int = 65_536) -> Iterator[pl.DataFrame]:
        """The table in order, ``rows`` at a time; of a large one no more than that is in memory.

        Raises:
            Invalid: ``rows`` is not positive.
        """
        if rows < 1:
            raise Invalid(f"A batch of {rows} rows is none. Give rows=65536 or another positive number.")
        return in_batches(self.to_lazy(), rows, "the training set")

    def to_pandas(self) -> Any:
        """The table for pandas, with its familiar types."""
        return self._frame.to_pandas()

    def to_arrow(self) -> Any:
        """The table for Arrow."""
        return self._frame.to_arrow()

    def before(self, moment: datetime | str) -> TrainingSet:
        """The rows that ask before ``moment``; with ``since`` the split that no shuffling can leak through.

        Raises:
            Invalid: ``moment`` has no time zone or is no time.
        """
        return self._part(pl.col(_MOMENT) < as_utc(moment))

    def since(self, moment: datetime | str) -> TrainingSet:
        """The rows that ask at ``moment`` or later.

        Raises:
            Invalid: as ``before``.
        """
        return self._part(pl.col(_MOMENT) >= as_utc(moment))

    def _part(self, wanted: pl.Expr) -> TrainingSet:
        moment = pl.col(self.time).pipe(_in_utc, self.schema[self.time])
        frame = self.to_lazy().with_columns(moment.alias(_MOMENT)).filter(wanted).drop(_MOMENT).collect()
        nulls = {name: frame[name].null_count() for name in self.report.nulls}
        part = TrainingSet(
            frame,
            time=self.time,
            label=self.label,
            entities=self.entities,
            features=self.features,
            report=msgspec.structs.replace(self.report, rows=frame.height, nulls=nulls),
            strict=self.strict,
            definitions=self.definitions,
            services=self.services,
        )
        part.origin = self.artifact or self.origin
        return part

    @property
    def columns_of_features(self) -> list[Column]:
        """The features as inputs of a model. Times are none as they are, and left out."""
        from trivet.pipelines.values.encoding import column_of

        columns = []
        for each in self.features:
            if not self.schema[each.name].is_temporal():
                values = self.to_lazy().select(each.name).collect().to_arrow()
                column = column_of(each.name, values.column(each.name))
                columns.append(msgspec.structs.replace(column, feature=each.feature, view=each.view))
        return columns

    @property
    def schema(self) -> pl.Schema:
        """The columns and their types."""
        return self._table.schema if isinstance(self._table, pl.DataFrame) else self._table.scan().collect_schema()

    def __len__(self) -> int:
        return self.report.rows

    def __repr__(self) -> str:
        views = dict.fromkeys(each.feature.partition(":")[0] for each in self.features)
        missing = sum(self.report.nulls.values())
        what = f"{len(self):,} rows, {len(self.features)} features of {', '.join(views)}"
        label = f", label {self.label!r}" if self.label else ""
        where = f" {self.artifact.id}" if self.artifact else ""
        unseen = [f"{count:,} rows of {name}" for name, count in self.report.unreached.items() if count]
        late = f", {' and '.join(unseen)} had not reached us by its last moment" if unseen else ""
        return f"<TrainingSet{where}: {what}{label}, time {self.time!r}, {missing:,} nulls{late}>"


def _in_utc(column: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Times as the spine gave them, on one clock: text is ISO 8601."""
    column = column.str.to_datetime(time_unit="us", time_zone="UTC") if dtype == pl.String else column
    return column.dt.convert_time_zone("UTC")


def build(
    spine: Any,
    sources: Snapshots,
    views: Mapping[str, FeatureView | OnDemand],
    services: Mapping[str, FeatureService] = {},
    *,
    features: Sequence[str],
    time: str,
    label: str | None = None,
    strict: bool = False,
    full_names: bool = False,
    engine: str = "local:",
    memory: str | int | None = None,
    timezone: str | None = None,
) -> TrainingSet:
    """Join a spine with features as they could be known at its times.

    Args:
        spine: entity keys, times and label; one row in, one row out, in this order.
        sources: the data, by the names of the sources without a query.
        views: the views, by name, on-demand views and the inputs of these among them.
        services: the feature services that were asked for, for the record.
        features: references: ``"weather:temp"``, ``"weather:*"``.
        time: the spine's column of prediction times.
        label: the spine's column to predict.
        strict: see only what was known before, not at, each time.
        full_names: call columns ``view__feature``.
        engine: URL of the engine.
        memory: how much of it this process may take, ``"2GB"``: where the tables take more, they are joined in
            pieces, to the same bits.
        timezone: the zone of the spine's times if they have none; the answer has them in UTC.

    Raises:
        NotFound: a view, feature, column or data does not exist; the nearest are named.
        Invalid: names collide, types do not fit, data cannot be read.
    """
    rows = _lazy_spine(spine)
    columns = rows.collect_schema().names()
    if label is not None and label not in columns:
        raise NotFound("column in the spine called", label, columns)
    if label == time:
        raise Invalid(f"The label cannot be {label!r}, which is the time of each row.")
    if not isinstance(strict, bool):
        raise Invalid(f"strict={strict!r} is neither True nor False.")
    if timezone is not None:
        rows = _zoned(rows, time, timezone)

    def find(name: str) -> FeatureView | OnDemand:
        if name not in views:
            raise NotFound("feature view", name, views)
        return views[name]

    selected = resolve(features, find, full_names=full_names, taken=columns)
    opened: Engine = plugins.open_url("engine", engine, Path())
    parts = None
    if memory is not None:
        sources = with_logs([view.source for view in selected.views], sources, opened.point_in_time)
        parts = needed(rows, selected.read, sources, as_bytes(memory))
    table: pl.DataFrame | StoredTable
    if parts is None:
        joined = opened.point_in_time(rows.collect(), selected.read, sources, time=time, strict=strict)
        table, nulls = with_computed(as_polars(joined.frame), columns, selected, joined.report.nulls)
        report = msgspec.structs.replace(joined.report, nulls=nulls)
    else:
        table, report = join_in_pieces(opened, rows, selected, sources, time=time, strict=strict, parts=parts)
    return TrainingSet(
        table,
        time=time,
        label=label,
        entities=list(dict.fromkeys(each.view.entity.name for each in selected.read)),
        features=[FeatureColumn(each.column, each.reference, each.view.digest) for each in selected],
        report=msgspec.structs.replace(
            report,
            duplicates=_duplicates(rows, selected.read, time),
            unreached=_unreached(rows.select(time).collect()[time], selected.read, sources),
        ),
        strict=strict,
        definitions={name: each.digest for name, each in selected.definitions.items()} if selected.steps else {},
        services=list(services),
    )


def _lazy_spine(spine: Any) -> pl.LazyFrame:
    if isinstance(spine, Snapshot):
        return spine.scan()
    return spine if isinstance(spine, pl.LazyFrame) else as_polars(spine, "The spine").lazy()


def _zoned(spine: pl.LazyFrame, time: str, timezone: str) -> pl.LazyFrame:
    """The spine with naive times of a zone as moments; times that have one stay as they are."""
    check_zone("The spine", timezone)
    schema = spine.collect_schema()
    if time not in schema:
        raise NotFound("column in the spine called", time, schema.names())
    if isinstance(schema[time], pl.Datetime) and getattr(schema[time], "time_zone", None) is not None:
        return spine
    rules, utc = Rules("the spine", "", timezone=timezone), pl.Datetime("us", "UTC")
    to_micros(spine.select(time).collect().to_series(), rules)  # here, so that what is wrong stays a sentence
    moments = pl.col(time).map_batches(lambda column: to_micros(column, rules).cast(utc), utc, is_elementwise=True)
    return spine.with_columns(moments)


def _duplicates(spine: pl.LazyFrame, selected: Sequence[Selected], time: str) -> int:
    keys = dict.fromkeys(key for each in selected for key in each.view.entity.keys)
    return int(spine.select(*keys, time).collect().is_duplicated().sum())


def _unreached(times: pl.Series, selected: Sequence[Selected], sources: Snapshots) -> dict[str, int]:
    """By source, the rows that could be known by the last of some times and reached us only later."""
    last, found = to_micros(times, Rules("the spine")).max(), {}
    for name, leaf in leaves_of(each.view.source for each in selected).items():
        if leaf.created is None or leaf.times is None or last is None:
            continue
        rules = Rules(f"source {name!r}", timezone=leaf.timezone)
        rules = replace(rules, ambiguous=leaf.ambiguous, nonexistent=leaf.nonexistent)
        known, created = leaf.times.known or leaf.times.event, leaf.created
        found[name] = 0
        for rows in in_batches(
            lazy_rows(leaf, list(dict.fromkeys([known, created])), sources), _ROWS, f"source {name!r}"
        ):
            there = to_micros(rows[known], rules) + leaf.times.after <= last
            found[name] += int((there & (to_micros(rows[created], rules) > last)).sum())
    return found


def training_set(
    context: Context,
    spine: Any,
    views: Sequence[Definition | str] | Definition | str,
    *,
    time: str,
    label: str | None = None,
    strict: bool = False,
    full_names: bool = False,
    as_known_at: datetime | str | None = None,
    memory: str | int | None = None,
    timezone: str | None = None,
) -> TrainingSet:
    """Make a training set and record it: spine, sources as they are, views, run and answer.

    Views and services may be objects, or references to the catalogue: ``"weather:*"``, ``"planes:seats"``. A spine that
    is a file (its path, or a ``Source``) or a lazy frame is not read as a whole where ``memory`` says how much there is.

    With ``as_known_at`` the answer is what the same call would have been at that moment: references mean what was
    defined then, tables answer what they had, and of files what was on record is taken, so that late data and backfills
    cannot rewrite the past. The report says what of which moment was used.

    Raises:
        NotFound, Invalid: as ``build``; also where nothing is known of ``as_known_at``.
        Invalid: also where a feature is deprecated and its date has come; before, it is a warning.
        Conflict: a source's file changed while it was read.
    """
    from trivet.pipelines import values
    from trivet.pipelines.recording import record

    given = _recordable(spine, context, memory)
    columns = _lazy_spine(given).collect_schema().names()
    moment = None if as_known_at is None else as_utc(as_known_at)
    find = partial(Catalogue(context).get, at=moment)
    selected = resolve(views, find, full_names=full_names, taken=columns, root=context.root)
    Deprecations(context).check(selected)
    warn_of_corrections(context, selected.views)
    inputs = {"spine": values.save(given, context)}
    told: dict[str, str] = {}
    for name, leaf in leaves_of(view.source for view in selected.views).items():
        if moment is None:
            inputs[f"sources.{name}"] = record_source(leaf, context)
            continue
        readers = [view.name for view in selected.views if name in {each.name for each in view.source.leaves}]
        inputs[f"sources.{name}"], told[name] = as_known(leaf, moment, context, readers)
    for view in selected.definitions.values():
        inputs[f"views.{view.name}"] = values.save(view, context, kind=view.__trivet_kind__)
    for service in selected.services:
        inputs[f"services.{service.name}"] = values.save(service, context, kind="feature_service")
    parameters: dict[str, Json] = {
        "features": [each.reference for each in selected],
        "time": time,
        "label": label,
        "strict": strict,
        "full_names": full_names,
        "engine": context.settings.features.engine,
    }
    parameters |= {"memory": memory} if memory is not None else {}
    parameters |= {"timezone": timezone} if timezone is not None else {}
    name = label or "training set"
    tags = {} if moment is None else {"as_known_at": moment.isoformat()}
    tags |= {f"as_known.{source}": what for source, what in told.items()}
    run, outputs, value = record(context, "training_set", name, build, inputs=inputs, parameters=parameters, tags=tags)
    assert isinstance(value, TrainingSet)
    value.report = msgspec.structs.replace(value.report, as_known=told)
    value.run, value.artifact = run, outputs["result"]
    return value


def _recordable(spine: Any, context: Context, memory: str | int | None) -> Any:
    """The spine as it is recorded: a frame, or a file where it is one or may be too large for a frame."""
    if isinstance(spine, str | Path):
        return snapshot_of(Source("spine", spine), context.root)
    if isinstance(spine, Source):
        return snapshot_of(spine, context.root)
    if not isinstance(spine, pl.LazyFrame):
        return spine
    if memory is None:
        return spine.collect()
    folder = Path(tempfile.mkdtemp(prefix="trivet-spine-"))
    snapshot = FileSnapshot("spine", data=folder / "spine.parquet")
    weakref.finalize(snapshot, shutil.rmtree, folder, ignore_errors=True)
    spine.sink_parquet(folder / "spine.parquet")
    return snapshot


class TrainingSetKind:
    """Training sets as artifacts: Parquet and a declaration; content is the digest of the table."""

    name = "training_set"

    def accepts(self, value: object) -> bool:
        """Whether ``value`` is a training set."""
        return isinstance(value, TrainingSet)

    def save(self, value: TrainingSet, blobs: Blobs) -> Saved:
        """Store the table and describe it."""
        file, content = _write(value, blobs)
        spec = {
            "time": value.time,
            "strict": value.strict,
            "label": value.label,
            "entities": list(value.entities),
            "features": [msgspec.to_builtins(each) for each in value.features],
            "report": _told(value.report),
            "columns": {name: str(dtype) for name, dtype in value.schema.items()},
        }
        spec |= {"definitions": value.definitions} if value.definitions else {}
        spec |= {"services": list(value.services)} if value.services else {}
        return Saved(spec, {_FILE: file}, content)

    def load(self, artifact: Artifact, blobs: Blobs) -> TrainingSet:
        """The training set again."""
        try:
            frame = _read(artifact.files[_FILE], blobs)
        except pl.exceptions.PolarsError as exc:
            raise Corrupt(f"The table of {artifact.id} cannot be read: {exc}.") from exc
        spec = artifact.spec
        value = TrainingSet(
            frame,
            time=spec["time"],
            label=spec["label"],
            entities=spec["entities"],
            features=[FeatureColumn(**each) for each in spec["features"]],
            report=msgspec.convert(spec["report"], Report),
            strict=spec.get("strict", False),
            definitions=spec.get("definitions", {}),
            services=spec.get("services", ()),
        )
        value.artifact = artifact
        return value


def _told(report: Report) -> dict[str, Any]:
    """The report as JSON, so that the same table has the same digest as ever.

    Where the data came from is the run's, and what only some sources have is left out for others.
    """
    told: dict[str, Any] = msgspec.to_builtins(report)
    left_out = {"as_known"} if report.unreached else {"as_known", "unreached"}
    return {name: value for name, value in told.items() if name not in left_out}


def _write(value: TrainingSet, blobs: Blobs) -> tuple[File, Digest]:
    """Store the table, and the digest of what it says."""
    from trivet.pipelines.values.table_digest import parquet_digest, table_digest

    if value.stored is not None:
        lazy = value.to_lazy()
        content = parquet_digest(value.stored.path, lambda name: _arrow(lazy.select(name).collect()).column(0))
        return blobs.put(value.stored.path), content
    buffer = BytesIO()
    value.to_polars().write_parquet(buffer)
    return blobs.put(buffer.getvalue()), table_digest(_arrow(value.to_polars()))


def _arrow(frame: pl.DataFrame) -> Any:
    """For the digest: the codes of categories are an accident of the process, their content is their text."""
    return frame.with_columns(pl.col(pl.Categorical).cast(pl.String)).to_arrow()


def _read(file: File, blobs: Blobs) -> pl.DataFrame | StoredTable:
    """A small table, or the file of a large one."""
    if file.size <= _LARGE:
        return pl.read_parquet(BytesIO(blobs.read(file.digest)))
    folder = Path(tempfile.mkdtemp(prefix="trivet-training-set-"))
    stored = StoredTable(folder / _FILE, folder)
    blobs.fetch(file.digest, stored.path)
    stored.scan().collect_schema()
    return stored


def open_kind() -> TrainingSetKind:
    """The kind ``training_set``."""
    return TrainingSetKind()
