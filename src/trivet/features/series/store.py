"""The series of a project: write values over time under a name, read them back aligned, as they were known when.

``project.series`` is one of these. A series ``energy:price`` is the table of events ``energy.price``: a row for each
time, and for each key of a panel; a later content of the same time is a correction and stands beside what it corrects.
How names and frames come in is ``incoming``'s, the moments of a grid are ``grid``'s, values at them ``answers``'s.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import partial
from typing import Any, Literal, TypeAlias, get_args

import msgspec
import polars as pl

from trivet.errors import Invalid, NotFound, Refused
from trivet.features.aggregates import Aggregate, Feature, Several, expand
from trivet.features.definitions import Source
from trivet.features.series.answers import Asked, Fill, Known, aligned, moments
from trivet.features.series.corrections import revised
from trivet.features.series.grid import Grid
from trivet.features.series.incoming import (
    CREATED,
    KNOWN,
    REVISION,
    TIME,
    Incoming,
    check_series_name,
    columns_of,
    instants,
    taken,
)
from trivet.features.series.revisions import corrections
from trivet.features.series.sources import Part, source_of
from trivet.features.series.transforms import Transform, forget, keep, kept
from trivet.features.tables import EventTables, Ingested, TableInfo
from trivet.pipelines.context import Context
from trivet.types import Duration, Micros, as_duration

__all__ = ["SeriesInfo", "TimeSeries", "Written"]

Moment: TypeAlias = "datetime | date | str"
Wanted: TypeAlias = "str | Sequence[str] | Mapping[str, str | Feature]"
_UTC = pl.Datetime("us", "UTC")


class SeriesInfo(msgspec.Struct, frozen=True):
    """A series as it is now.

    Attributes:
        name: ``energy:price``.
        type: of its values.
        by: the keys of a panel; none where it is one series.
        rows: times with a value, null included, corrections not counted.
        revised: how many corrections there are.
        first, last: the earliest and the newest time.
        updated: when a row last reached it.
        known_at: whether it is said with the values when they could be known.
        timezone: the zone in which it is read, unless another is asked for.
    """

    name: str
    type: str
    by: tuple[str, ...]
    rows: int
    revised: int
    first: datetime | None
    last: datetime | None
    updated: datetime | None
    known_at: bool
    timezone: str | None


class Written(msgspec.Struct, frozen=True):
    """What became of the rows of a frame, by series."""

    series: dict[str, Ingested]

    @property
    def new(self) -> int:
        """Values of times that were not there."""
        return sum(each.new for each in self.series.values())

    @property
    def changed(self) -> int:
        """Values that correct others."""
        return sum(each.changed for each in self.series.values())

    @property
    def refused(self) -> int:
        """Rows without a time or key."""
        return sum(each.refused for each in self.series.values())

    def __str__(self) -> str:
        return "\n".join(str(each) for each in self.series.values())


@dataclass(frozen=True)
class _Series:
    """A series with what its table declares."""

    namespace: str
    name: str
    info: TableInfo

    @property
    def reference(self) -> str:
        return f"{self.namespace}:{self.name}"

    @property
    def table(self) -> str:
        return f"{self.namespace}.{self.name}"

    @property
    def known(self) -> str:
        """The column that says from when a value was known: as it came with the values, else when they reached us."""
        return self.info.rules.known_at or self.info.rules.created

    @property
    def by(self) -> tuple[str, ...]:
        return tuple(each for each in self.info.rules.key if each not in (TIME, KNOWN))

    @property
    def zone(self) -> str | None:
        return self.info.rules.timezone


class TimeSeries:
    """The series of a project.

    Args:
        context: the project.
        tables: its tables of events.
    """

    def __init__(self, context: Context, tables: EventTables) -> None:
        self._context, self._tables = context, tables

    # -- writing ----------------------------------------------------------------------------------------------

    def write(
        self,
        name: str,
        data: Any,
        *,
        time: str | None = None,
        by: str | Sequence[str] | None = None,
        known_at: str | None = None,
        timezone: str | None = None,
        ambiguous: Literal["raise", "earliest", "latest", "null"] = "raise",
        nonexistent: Literal["raise", "null"] = "raise",
    ) -> Written:
        """Write values; each column becomes a series. What is written last of a time is its value from then on.

        Writing the same again changes nothing, in whatever order rows come. A null is a value like any other.

        Args:
            name: the namespace, ``"energy"``, whose series are called as the columns; or one series, ``"energy:price"``.
            data: a pandas Series or frame with an index of times; or a pandas, Polars or Arrow table, a list of dicts or
                the path of a file, with a column of times.
            time: that column; ``time`` by default, or the only one that holds times.
            by: the column or columns that tell the members of a panel apart; needed the first time only.
            known_at: the column that says from when each value could be known, for forecasts and imported history; the
                moment at which it is written by default.
            timezone: the zone of times that have none, and in which the series are read.
            ambiguous: which moment a time is that happened twice in that zone, as clocks went back: ``earliest``,
                ``latest``, or ``null`` for none, so that the row is refused and kept aside; by default an error.
            nonexistent: ``null`` to keep rows aside whose time never happened, as clocks went forward.

        Raises:
            Invalid: the data cannot be read, a time has no zone or comes with several values, or a name cannot name a
                series.
            Conflict: a series was made with other keys.

        Example:
            >>> import tempfile
            >>> import polars as pl, trivet as tv
            >>> project = tv.open(tempfile.mkdtemp())
            >>> rows = {"time": ["2026-11-20T10:00Z", "2026-11-20T10:40Z"], "price": [31.0, 35.5]}
            >>> project.series.write("energy", pl.DataFrame(rows)).new
            2
            >>> project.series.read("energy:price", freq="30m")["price"].to_list()
            [31.0, 31.0, 35.5]
        """
        namespace, only = _split(name)
        computed = kept(self._context)
        there = [each for each in self._all(namespace) if only in (None, each.name)]
        keys = columns_of(by) if by is not None else there[0].by if there else ()
        rows = taken(
            data,
            self._context.root,
            only=only,
            time=time,
            by=keys,
            known_at=known_at,
            timezone=timezone or _zone(there),
            ambiguous=ambiguous,
            nonexistent=nonexistent,
        )
        if not rows.series:
            raise Invalid(f"The data for {name!r} have times and keys but no values. Add a column for each series.")
        earlier = {each.name: each for each in there}
        for each in rows.series:
            if f"{namespace}:{each}" in computed:
                raise Invalid(f"'{namespace}:{each}' is computed from other series and cannot be written. Rename one.")
            _check_alike(earlier.get(each), rows)
        return Written({f"{namespace}:{each}": self._write(namespace, each, rows) for each in rows.series})

    def _write(self, namespace: str, name: str, incoming: Incoming) -> Ingested:
        table = f"{namespace}.{name}"
        key = [*incoming.by, TIME, *([KNOWN] if incoming.known else [])]
        batch = incoming.rows.select(*key, name)
        rules = {"key": key, "event_time": TIME, "known_at": KNOWN if incoming.known else None}
        if not self._exists(table):
            self._tables.create(table, **rules, timezone=_named_zone(incoming.zone))  # type: ignore[arg-type]
        fresh = revised(batch, self._current(table, batch, key), key, name)
        if fresh.is_empty() and batch.height:
            return Ingested(table, self._tables.describe(table).version, rows=batch.height, repeated=batch.height)
        report = self._tables.ingest(table, fresh)
        repeated = report.repeated + batch.height - fresh.height
        return msgspec.structs.replace(report, rows=batch.height, repeated=repeated)

    def _current(self, table: str, batch: pl.DataFrame, key: Sequence[str]) -> pl.DataFrame:
        """What the table says now of the keys of a batch."""
        stored = self._tables.scan(table, history=True, ordered=False)
        if not {*key, *batch.columns} <= set(stored.collect_schema().names()) or batch.is_empty():
            return pl.DataFrame()
        low, high = batch[TIME].min(), batch[TIME].max()
        near = stored.filter(pl.col(TIME).is_between(pl.lit(low, _UTC), pl.lit(high, _UTC)))
        kinds = near.collect_schema()
        wanted = batch.lazy().select(pl.col(each).cast(kinds[each], strict=False) for each in key).unique()
        rows = near.join(wanted, on=list(key), how="semi").sort(CREATED, REVISION)
        return rows.unique(subset=key, keep="last").collect()

    # -- reading ----------------------------------------------------------------------------------------------

    def read(
        self,
        series: Wanted,
        *,
        start: Moment | None = None,
        end: Moment | None = None,
        freq: Duration | None = None,
        fill: Fill | None = None,
        max_gap: Duration | None = None,
        skip_nulls: bool = False,
        of: Mapping[str, Any] | None = None,
        timezone: str | None = None,
        time_travel: str | timedelta | None = None,
        as_known_at: Moment | None = None,
        to: Literal["polars", "pandas"] = "polars",
    ) -> Any:
        """One aligned table of series: a row for each moment (and key), a column for each series.

        Args:
            series: ``"energy:price"``, ``"energy:*"``, several of these, or columns by the names they shall have:
                ``{"price": "energy:price", "mean": tv.mean("energy:price", ["1h", "1d"]), "yesterday":
                tv.latest("energy:price", lag="1d")}``. Windows are ``[t - w, t)``, as everywhere.
            start: the first moment; what happened before is carried into it. Without it, from the first value on.
            end: the moment before which it ends. Without it, up to the first moment at which the last value is there.
            freq: the step of the grid, from midnight in ``timezone``; without it, the moments at which anything happened.
            fill: ``previous``, the default with ``freq``: the newest value at or before the moment; ``none``, the default
                without: what happened at that moment, else null; ``zero``: as ``none`` with 0; ``linear``: the straight
                line to the next value, which looks ahead.
            max_gap: a value is carried on until it is as old as this; a line is drawn over no longer gap.
            skip_nulls: take a null for no value, and look behind it.
            of: members of a panel, ``{"sensor": "a"}`` or ``{"sensor": ["a", "b"]}``.
            timezone: of the grid, of the answer, and of ``start`` and ``end`` that have none; the series' own by default.
            time_travel: only what was known so long before (``"-1d"``) or within so long after (``"2h"``) its own time.
            as_known_at: only what was known at that moment, which is given as ``start`` is.
            to: ``"pandas"`` for a frame indexed by time.

        Raises:
            NotFound: there is no such series or key; the nearest are named.
            Invalid: two columns share a name, series have different keys, or an option makes no sense.
        """
        if to not in ("polars", "pandas"):
            raise NotFound("kind of table", str(to), ("polars", "pandas"))
        wanted, computed = self._asked(series), kept(self._context)
        asked = _base(wanted, computed)
        found = {each.of: self._get(each.of) for each in asked.values()}
        by = _common_keys(list(found.values()))
        zone = _check_zone(timezone) if timezone is not None else _zone(list(found.values()))
        if clash := next((name for name in wanted if name in (TIME, *by)), None):
            raise Invalid(f"A column of the answer would be called {clash!r}, as a key or the time. Name it otherwise.")
        grid = None if freq is None else Grid(as_duration(freq), None if zone == "UTC" else zone)
        rule = _check_fill(fill or ("none" if freq is None else "previous"), max_gap)
        low, high = (None if each is None else _micros(each, zone) for each in (start, end))
        if low is not None and high is not None and low > high:
            raise Invalid(f"start={start!r} is after end={end!r}, so there is nothing between them.")
        until = None if rule == "linear" else high  # a line goes to the next value, wherever that is
        at = None if as_known_at is None else _micros(as_known_at, zone)
        cut = partial(self._known, until=until, travel=_shift(time_travel), at=at, of=of or {})
        known = {reference: cut(each) for reference, each in found.items()}
        _check_numbers(rule, known, asked)
        spine = moments(known, grid, low, high)
        length = None if max_gap is None else as_duration(max_gap)
        table = aligned(spine, known, asked, fill=rule, max_gap=length, skip_nulls=skip_nulls)
        made = [_value(table, name, each, computed) for name, each in wanted.items()]
        table = table.select(*by, TIME).with_columns(made)
        table = table.with_columns(pl.col(TIME).dt.convert_time_zone(zone or "UTC"))
        return table if to == "polars" else _pandas(table, by)

    def transform(
        self, name: str, of: str | Sequence[str] | Mapping[str, str | Feature]
    ) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        """Make a function into a series that is computed when it is read, from others, row by row of the aligned table.

        Its parameters are NumPy arrays of numbers, NaN for null, called as the inputs; it answers one array. It is stored
        with all that it needs of the project, and may be the input of others.

        Args:
            name: of the new series: ``"energy:cost"``.
            of: its inputs: series, or by the names of parameters what ``read`` takes, windows and lags included.

        Raises:
            NotFound: there is no such series, or a parameter is no input.
            Invalid: the name is that of a written series, or the function cannot be stored or used.

        Example:
            >>> import tempfile
            >>> import polars as pl, trivet as tv
            >>> project = tv.open(tempfile.mkdtemp())
            >>> rows = {"time": ["2026-11-20T10:00Z"], "price": [30.0], "load": [2.5]}
            >>> project.series.write("energy", pl.DataFrame(rows)).new
            2
            >>> @project.series.transform("energy:cost", ["energy:price", "energy:load"])
            ... def cost(price, load):
            ...     "What it costs."
            ...     return price * load
            >>> project.series.read("energy:cost")["cost"].to_list()
            [75.0]
        """
        namespace, series = _split(name)
        if series is None or self._exists(f"{namespace}.{series}"):
            raise Invalid(f"{name!r} cannot name a computed series. Write 'energy:cost', a name that no series has.")
        inputs = {each: one.aggregate or one.of for each, one in self._asked(of).items()}

        def declare(function: Callable[..., Any]) -> Callable[..., Any]:
            made = Transform.of(name, inputs, function)
            _base({"": Asked(name)}, {**kept(self._context), name: made})
            keep(self._context, made)
            return function

        return declare

    def drop(self, name: str, *, why: str, force: bool = False) -> None:
        """Remove a series, written or computed, with all that it ever was; one of the same name begins anew.

        Args:
            name: ``"energy:price"``.
            why: the reason; the ledger keeps it.
            force: also where something in use is made from it, or another series is computed from it.

        Raises:
            NotFound: there is no such series.
            Refused: it is in use, and not forced.
            Invalid: no reason is given.
        """
        computed = kept(self._context)
        if not why.strip():
            raise Invalid(f"Say why the series {name!r} goes: drop({name!r}, why='...'). The ledger keeps the reason.")
        if name not in computed:
            self._get(name)
        over = [each.name for each in computed.values() if any(_asked_of(i).of == name for i in each.inputs.values())]
        if over and not force:
            raise Refused(
                f"The series {name!r} is in use: {', '.join(over)} is computed from it. Drop that, or force it."
            )
        if name in computed:
            forget(self._context, name, why)
        else:
            self._tables.drop(name.replace(":", "."), why=why, force=force)

    def transforms(self) -> Mapping[str, Transform]:
        """The computed series, by name."""
        return kept(self._context)

    def last(
        self,
        series: str | Sequence[str],
        *,
        of: Mapping[str, Any] | None = None,
        as_known_at: Moment | None = None,
        skip_nulls: bool = False,
    ) -> pl.DataFrame:
        """The newest value of each series and its time, ``price`` and ``price__time``; a row for each key of a panel.

        Raises:
            NotFound, Invalid: as ``read``.
        """
        found = {name: self._get(each.of) for name, each in self._asked(series).items()}
        by, answers = list(_common_keys(list(found.values()))), []
        for name, each in found.items():
            at = None if as_known_at is None else _micros(as_known_at, each.zone or "UTC")
            known = self._known(each, until=None, travel=None, at=at, of=of or {})
            rows = known.rows.drop_nulls(known.series) if skip_nulls else known.rows
            newest = rows.unique(subset=by, keep="last", maintain_order=True) if by else rows.tail(1)
            newest = newest if by or newest.height else newest.clear(1)
            when = pl.col(TIME).dt.convert_time_zone(each.zone or "UTC").alias(f"{name}__time")
            answers.append(newest.select(*by, pl.col(known.series).alias(name), when))
        if not by:
            return pl.concat(answers, how="horizontal")
        return pl.concat(answers, how="align").sort(by)

    def list(self, namespace: str | None = None) -> Sequence[SeriesInfo]:
        """All series, by name; of one namespace where it is given."""
        return [self._info(each) for each in self._all(namespace)]

    def describe(self, name: str) -> SeriesInfo:
        """One series as it is now.

        Raises:
            NotFound: there is no such series.
        """
        return self._info(self._get(name))

    def revisions(self, name: str, *, of: Mapping[str, Any] | None = None) -> pl.DataFrame:
        """The corrections of a series, the newest first: what a time was said to be, what it is said to be since when.

        Args:
            name: ``"energy:price"``.
            of: members of a panel.

        Returns:
            Keys and ``time``, ``was``, ``value``, ``known`` (from when on), ``revision`` (1 for the first correction).

        Raises:
            NotFound: there is no such series or key.
        """
        series = self._get(name)
        rows = self._tables.scan(series.table, history=True, ordered=False)
        kinds = rows.collect_schema()
        if series.name not in kinds:
            rows = rows.with_columns(pl.lit(None, pl.Float64).alias(series.name))
        _check_members(series, of or {})
        for key, values in (of or {}).items():
            if key not in series.by:
                raise NotFound(f"key of {series.reference!r} called", key, series.by)
            rows = rows.filter(_is_member(key, values, kinds[key]))
        return corrections(rows, series.by, series.name, series.known)

    def source(self, name: str, *, known_after: Duration | None = None) -> Source:
        """A series, or all of a namespace, as the source of feature views, with a column for each series.

        Args:
            name: ``"energy:price"`` or ``"energy"``.
            known_after: every value, corrections included, was known so long after its time, ``"0s"`` for at once: for
                history that was written long after. By default a value counts from when it was known: when
                ``known_at`` said so, else when it was written.

        Raises:
            NotFound: there is no such series.
            Invalid: the series of the namespace have different keys.
        """
        namespace, only = _split(name)
        found = [self._get(name)] if only else self._all(namespace)
        if not found:
            raise NotFound("series", f"{namespace}:*", self._names())
        _common_keys(found)
        leaves = [self._tables.source(each.table) for each in found]
        if len(found) == 1 and known_after is None and not found[0].info.rules.known_at:
            return leaves[0]
        parts = [Part(each.name, each.by, each.known, leaf) for each, leaf in zip(found, leaves, strict=True)]
        return source_of(name.replace(":", "_"), parts, known_after)

    # -- within -----------------------------------------------------------------------------------------------

    def _all(self, namespace: str | None = None) -> Sequence[_Series]:
        parts = [(name, name.split(".")) for name in self._tables.names() if "." in name]
        mine = [(name, part) for name, part in parts if namespace in (None, part[0])]
        found = [_Series(part[0], part[1], self._tables.describe(name)) for name, part in mine]
        return [each for each in found if each.info.rules.event_time == TIME]

    def _exists(self, table: str) -> bool:
        return (self._context.root / self._context.settings.serving.records / table / "_delta_log").is_dir()

    def _names(self) -> Sequence[str]:
        return [each.reference for each in self._all()]

    def _hint(self) -> str:
        return "" if self._names() else "Write one: project.series.write('energy', frame)."

    def _get(self, reference: str) -> _Series:
        namespace, name = _split(reference)
        table = f"{namespace}.{name}"
        if name is None or not self._exists(table):
            raise NotFound("series", reference, self._names(), hint=self._hint())
        return _Series(namespace, name, self._tables.describe(table))

    def _reference(self, name: str) -> str:
        """``name`` if it is that of a series, written or computed."""
        return name if name in kept(self._context) else self._get(name).reference

    def _asked(self, series: Wanted) -> dict[str, Asked]:
        """The columns of the answer by name."""
        if isinstance(series, Mapping):
            return self._named(series)
        if not isinstance(series, str | Sequence):
            raise Invalid(f"{series!r} names no series. Write 'energy:price'.")
        asked: dict[str, Asked] = {}
        for reference in columns_of(series):
            if not isinstance(reference, str):
                raise Invalid(
                    f"{reference!r} has no name here. Give columns by name: {{'mean_1d': tv.mean('energy:price', '1d')}}."
                )
            for namespace, name, one in self._matching(reference):
                if name in asked and asked[name].of != one:
                    raise Invalid(
                        f"{asked[name].of!r} and {one!r} would both be called {name!r}. Give columns by name: "
                        f"{{'{namespace}_{name}': {one!r}, ...}}."
                    )
                asked[name] = Asked(one)
        if not asked:
            raise Invalid("No series is asked for. Name at least one, for example 'energy:price'.")
        return asked

    def _matching(self, reference: str) -> Sequence[tuple[str, str, str]]:
        """Namespace, name and reference of what a reference means."""
        namespace, name = _split(reference.removesuffix(":*"))
        if name is not None:
            return [(namespace, name, self._reference(reference))]
        found = [(each.namespace, each.name, each.reference) for each in self._all(namespace)]
        if not found:
            raise NotFound("series", reference, self._names(), hint=self._hint())
        return found

    def _named(self, columns: Mapping[str, str | Feature]) -> dict[str, Asked]:
        asked: dict[str, Asked] = {}
        for name, wanted in columns.items():
            if isinstance(wanted, str):
                asked[name] = Asked(self._reference(wanted))
                continue
            if not isinstance(wanted, Aggregate | Several):
                raise Invalid(
                    f"{name!r} is {wanted!r}. Give a series, 'energy:price', or tv.mean('energy:price', '1d')."
                )
            for full, each in expand({name: wanted}).items():
                if each.column is None:
                    raise Invalid(f"{each} counts rows of no series. Say of which: tv.count('energy:price', '3h').")
                asked[full] = Asked(self._get(each.column).reference, each)
        if not asked:
            raise Invalid("No series is asked for. Name at least one, for example {'price': 'energy:price'}.")
        return asked

    def _known(
        self, series: _Series, *, until: Micros | None, travel: Micros | None, at: Micros | None, of: Mapping[str, Any]
    ) -> Known:
        """What was known: for each key and time the content that was known last."""
        rows = self._tables.scan(series.table, history=True, ordered=False)
        if series.name not in rows.collect_schema().names():
            rows = rows.with_columns(pl.lit(None, pl.Float64).alias(series.name))
        by, known = series.by, pl.col(series.known).to_physical()
        rows = rows.with_columns(pl.lit(None, pl.String).alias(key) for key in by if key not in rows.collect_schema())
        conditions = [] if at is None else [known <= at]
        _check_members(series, of)
        conditions += [] if travel is None else [known <= pl.col(TIME).to_physical() + travel]
        conditions += [] if until is None else [pl.col(TIME).to_physical() < until]
        for key, values in of.items():
            if key not in by:
                raise NotFound(f"key of {series.reference!r} called", key, by, hint="" if by else "It has none.")
            conditions.append(_is_member(key, values, rows.collect_schema()[key]))
        order = [*by, TIME, *dict.fromkeys([series.known, CREATED])]
        kept = rows.filter(conditions) if conditions else rows
        frame = kept.select(*order, series.name).collect()
        if by or not _ascending(frame[TIME]):
            frame = frame.sort(order, maintain_order=True)
            following = pl.all_horizontal(pl.col(each).eq_missing(pl.col(each).shift(-1)) for each in (*by, TIME))
            frame = frame.filter(~following | (pl.int_range(pl.len()) == pl.len() - 1))
        return Known(series.name, by, frame.select(*by, TIME, series.name))

    def _info(self, series: _Series) -> SeriesInfo:
        rows, info = self._tables.scan(series.table, history=True, ordered=False), series.info
        key = [each for each in (*series.by, TIME) if each in info.columns]
        told = rows.select(
            rows=pl.struct(key).n_unique() if info.rows else pl.lit(0),
            first=pl.col(TIME).min(),
            last=pl.col(TIME).max(),
            updated=pl.col(CREATED).max(),
        )
        one = told.collect().row(0, named=True)
        return SeriesInfo(
            name=series.reference,
            type=info.columns.get(series.name, "Null"),
            by=series.by,
            revised=info.rows - one["rows"],
            known_at=info.rules.known_at is not None,
            timezone=series.zone,
            **one,
        )


def _split(name: str) -> tuple[str, str | None]:
    """Namespace and series of ``"energy:price"``; no series for ``"energy"``."""
    if not isinstance(name, str):
        raise Invalid(f"{name!r} names no series. Write 'energy:price'.")
    namespace, colon, series = name.partition(":")
    return check_series_name(namespace), check_series_name(series) if colon else None


def _ascending(times: pl.Series) -> bool:
    """Whether each time is later than the one before, as in most series that were never corrected."""
    return bool((times.to_physical().diff().drop_nulls() > 0).all())


def _is_member(key: str, values: Any, kind: pl.DataType) -> pl.Expr:
    members = list(values) if isinstance(values, list | tuple | set) else [values]
    try:
        return pl.col(key).is_in(pl.Series(members, strict=False).cast(kind).implode())
    except (pl.exceptions.PolarsError, TypeError) as exc:
        raise Invalid(f"The key {key!r} holds {kind}, and {members!r} is asked for. Give values of that type.") from exc


def _check_members(series: _Series, of: object) -> None:
    if not isinstance(of, Mapping):
        key = series.by[0] if series.by else None
        what = f"Give them by key: of={{{key!r}: {of!r}}}." if key else f"{series.reference!r} has none. Leave of= out."
        raise Invalid(f"of={of!r} does not say which members of a panel. {what}")


def _base(
    wanted: Mapping[str, Asked], computed: Mapping[str, Transform], below: tuple[str, ...] = ()
) -> dict[str, Asked]:
    """The columns of written series that are needed: those wanted, and ``REFERENCE PARAMETER`` for computed ones."""
    columns: dict[str, Asked] = {}
    for name, each in wanted.items():
        if each.aggregate is not None or each.of not in computed:
            columns[name] = each
            continue
        if each.of in below:
            raise Invalid(f"The transform {each.of!r} would be computed from itself, through {', '.join(below)}.")
        columns |= _base(_inputs(computed[each.of]), computed, (*below, each.of))
    return columns


def _inputs(transform: Transform) -> dict[str, Asked]:
    return {f"{transform.name} {name}": _asked_of(each) for name, each in transform.inputs.items()}


def _asked_of(each: str | Aggregate) -> Asked:
    return Asked(each) if isinstance(each, str) else Asked(each.column or "", each)


def _value(table: pl.DataFrame, name: str, asked: Asked, computed: Mapping[str, Transform]) -> pl.Series:
    if name in table.columns and (asked.aggregate is not None or asked.of not in computed):
        return table[name]
    transform = computed[asked.of]
    columns = {
        parameter: _value(table, full, each, computed)
        for parameter, (full, each) in zip(transform.inputs, _inputs(transform).items(), strict=True)
    }
    return transform.compute(columns, table.height).alias(name)


def _check_alike(there: _Series | None, rows: Incoming) -> None:
    if there is None:
        return
    if there.by != rows.by:
        told = ", ".join(there.by) or "no key"
        raise Invalid(
            f"Series {there.reference!r} was made by {told}, and now by {', '.join(rows.by) or 'none'} is asked for."
        )
    if rows.known != (there.info.rules.known_at is not None):
        what = "with known_at=" if not rows.known else "without known_at="
        raise Invalid(f"Series {there.reference!r} was made {what}. Write it so, or another series.")


def _common_keys(found: Sequence[_Series]) -> tuple[str, ...]:
    one = found[0]
    for other in found[1:]:
        if other.by != one.by:
            told = [f"{each.reference!r} is by {', '.join(each.by) or 'no key'}" for each in (one, other)]
            raise Invalid(f"{' and '.join(told)}, so they do not make one table. Read them apart.")
    return one.by


def _zone(found: Sequence[_Series]) -> str | None:
    """The zone that all have; None where they differ."""
    zones = {each.zone for each in found}
    return zones.pop() if len(zones) == 1 else None


def _named_zone(zone: str | None) -> str | None:
    """A zone that has a name elsewhere too: not an offset."""
    try:
        return None if zone is None else _check_zone(zone)
    except Invalid:
        return None


def _check_zone(zone: str) -> str:
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        return ZoneInfo(zone).key
    except (ZoneInfoNotFoundError, ValueError, OSError) as exc:
        raise Invalid(f"{zone!r} is not a time zone. Write it as 'UTC' or 'Europe/Vienna'.") from exc


def _check_fill(fill: Fill, max_gap: Duration | None) -> Fill:
    if fill not in get_args(Fill):
        raise NotFound("rule of filling", str(fill), get_args(Fill))
    if max_gap is not None and fill in ("none", "zero"):
        raise Invalid(f"fill={fill!r} carries nothing on, so max_gap={max_gap!r} has no meaning. Leave it out.")
    if max_gap is not None and as_duration(max_gap) == 0:
        raise Invalid(
            "max_gap must be longer than nothing, for example max_gap='3h'. To carry nothing on: fill='none'."
        )
    return fill


def _check_numbers(fill: Fill, known: Mapping[str, Known], asked: Mapping[str, Asked]) -> None:
    for each in asked.values():
        one = known[each.of]
        kind = one.rows.schema[one.series]
        if each.aggregate is None and fill in ("linear", "zero") and not kind.is_numeric():
            raise Invalid(f"{each.of!r} holds {kind}, and fill={fill!r} needs numbers. Use 'previous' or 'none'.")


def _micros(moment: Moment, zone: str | None) -> Micros:
    value = moment.isoformat() if isinstance(moment, date) else moment
    if not isinstance(value, str):
        raise Invalid(
            f"{moment!r} is not a time. Give a datetime, or text such as '2026-11-20' or '2026-11-20T10:00Z'."
        )
    return int(instants(pl.Series("start or end", [value]), zone).to_physical()[0])


def _shift(travel: str | timedelta | None) -> Micros | None:
    """``"-1d"`` and ``"2h"`` in microseconds."""
    if travel is None:
        return None
    if isinstance(travel, timedelta):
        return travel // timedelta(microseconds=1)
    text = travel.strip()
    length = as_duration(text.lstrip("+-"))
    return -length if text.startswith("-") else length


def _pandas(table: pl.DataFrame, by: tuple[str, ...]) -> Any:
    return table.to_pandas().set_index([*by, TIME])
