"""What people declare: entities, sources with the times of their values, and feature views.

Declarations are frozen, hold no data but a frame that was handed over, and go to JSON and back (``to_spec``,
``from_spec``), so a stored view comes back in a process that never saw the code that declared it. Whether the
columns exist is asked when data is at hand (``trivet.features.engines``); everything else is checked here.
"""

from __future__ import annotations

import copy
import inspect
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, TypeAlias

from trivet.digest import digest
from trivet.errors import Invalid, NotFound
from trivet.features.aggregates import Aggregate, Feature, expand, latest
from trivet.features.functions import Portable
from trivet.features.keytypes import KEY_TYPES
from trivet.features.places import anchored, check_secrets, check_secrets_of_text, is_database
from trivet.types import Digest, Duration, Micros, as_duration, duration_text

__all__ = ["Entity", "FeatureView", "Frame", "Source", "Times"]

Frame: TypeAlias = Any
"""A pandas or Polars data frame, or an Arrow table."""
Personal: TypeAlias = Literal["do not serve", "do not store"]
"""What may not be done with a column that says something about a person."""
Ambiguous: TypeAlias = Literal["raise", "earliest", "latest", "null"]
Nonexistent: TypeAlias = Literal["raise", "null"]

DO_NOT_SERVE: Personal = "do not serve"
DO_NOT_STORE: Personal = "do not store"
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z")
_SEVERAL = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def check_name(noun: str, name: object) -> str:
    """``name`` if it can name an entity, a source, a view or a feature.

    Raises:
        Invalid: it is not a letter followed by letters, digits and underscores, or holds ``__``.
    """
    if not isinstance(name, str) or not _NAME.match(name) or "__" in name:
        raise Invalid(
            f"{name!r} cannot name {noun}. Use a letter, then letters, digits and single underscores ('delay_3h')."
        )
    return name


@dataclass(frozen=True)
class Entity:
    """What features describe, and the columns whose values name one of it.

    Attributes:
        name: how it is called.
        keys: its key columns.
        types: the declared type of each (``string``, ``int``, ``float``, ``bool``, ``date``), None where none is. A key
            of another type, in a source, a spine or a request, is an error that names both.

    Example:
        >>> Entity("route", keys=("origin", "dest")).keys
        ('origin', 'dest')
        >>> Entity("route", keys={"origin": "string", "dest": "string"}).types
        ('string', 'string')
    """

    name: str
    keys: tuple[str, ...]
    types: tuple[str | None, ...]

    def __init__(
        self,
        name: str,
        key: str | None = None,
        *,
        keys: Sequence[str] | Mapping[str, str | None] | None = None,
        type: str | None = None,  # noqa: A002 - the word that everyone would try
    ) -> None:
        check_name("an entity", name)
        if key is not None and keys is not None:
            raise Invalid(f"Entity {name!r} is given both key= and keys=. Give one.")
        if keys is not None and type is not None:
            raise Invalid(f"Entity {name!r} is given both keys= and type=. Write keys={{'column': {type!r}}}.")
        columns = tuple(keys) if keys is not None else (key or name,)
        if isinstance(keys, str) or not columns or len(set(columns)) != len(columns):
            raise Invalid(f"Entity {name!r} needs different key columns, for example keys=('origin', 'dest').")
        types = tuple(keys.values()) if isinstance(keys, Mapping) else (type,) * len(columns)
        for declared in types:
            if declared is not None and declared not in KEY_TYPES:
                raise NotFound(f"type of key for entity {name!r}", str(declared), KEY_TYPES)
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "keys", columns)
        object.__setattr__(self, "types", types)

    @property
    def typed(self) -> bool:
        """Whether any of its keys has a declared type."""
        return self.types.count(None) < len(self.types)

    def to_spec(self) -> dict[str, Any]:
        """The declaration as JSON."""
        spec: dict[str, Any] = {"name": self.name, "keys": list(self.keys)}
        return spec | {"types": list(self.types)} if self.typed else spec

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> Entity:
        """The declaration that ``to_spec`` wrote."""
        types = spec.get("types") or [None] * len(spec["keys"])
        return cls(spec["name"], keys=dict(zip(spec["keys"], types, strict=True)))


@dataclass(frozen=True)
class Times:
    """When a value happened and from when it could be known.

    Attributes:
        event: the column of the event time.
        known: the column of the known-at time; None for the event time.
        after: how much later than that the value is known, in microseconds.

    Example:
        >>> Times(event="hour", after="1h").after
        3600000000
    """

    event: str
    known: str | None
    after: Micros

    def __init__(self, event: str, known: str | None = None, after: Duration = "0s") -> None:
        if isinstance(after, timedelta) and after < timedelta(0):
            raise Invalid(f"A value cannot be known {-after} before it happens. Give after >= 0.")
        object.__setattr__(self, "event", event)
        object.__setattr__(self, "known", None if known == event else known)
        object.__setattr__(self, "after", as_duration(after))

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns it reads."""
        return (self.event,) if self.known is None else (self.event, self.known)

    def to_spec(self) -> dict[str, Any]:
        """The declaration as JSON."""
        return {"event": self.event, "known": self.known, "after": duration_text(self.after)}


@dataclass(frozen=True, eq=False)
class Source:
    """Where raw rows come from, and when each value is known.

    A source without ``event_time`` is *static*: one row per key, always known; of several the last wins.

    Attributes:
        name: how it is called in references, errors and lineage.
        data: a path or URL (see the page Features for all kinds), a data frame, or None until bound.
        times: event and known-at time of the columns in general; None for a static source.
        created: the column of the time at which the row reached us; None where rows never come late.
        column_times: columns with times of their own.
        timezone: the zone of times that have none.
        ambiguous, nonexistent: what to do about local times that happen twice or never (default: an error).
        sql, inputs: a query over other sources, run by DuckDB; its rows are ordered by all their columns.
        table, query: what to read from a database; rows are ordered by ``order``, then by all other columns.
        nulls: texts of a CSV file that stand for nothing, in all columns: ``["NA"]``.
        personal: columns that are ``"do not serve"`` or ``"do not store"``.
        view: the view whose log of values the rows are, see ``of_view``.
        transform: instead of a query, a function of Narwhals lazy frames of the inputs, each by its name.
        function: instead of data, a function without parameters that answers a frame, given as ``data`` and stored with
            all that it needs of the project: called whenever the rows are read, and the same in any process.
        entry: of sources that were stored before functions travelled, ``module:function``.

    Example:
        >>> Source("weather", "weather.parquet", event_time="time_hour", known_after="1h").times
        Times(event='time_hour', known=None, after=3600000000)
    """

    __trivet_kind__ = "source"

    name: str
    data: str | Frame | None = field(repr=False)
    times: Times | None
    created: str | None
    column_times: Mapping[str, Times]
    timezone: str | None
    ambiguous: Ambiguous
    nonexistent: Nonexistent
    sql: str | None
    inputs: tuple[Source, ...]
    transform: Portable | None
    table: str | None
    query: str | None = field(repr=False)
    order: tuple[str, ...]
    nulls: tuple[str, ...]
    personal: Mapping[str, Personal]
    view: FeatureView | None
    function: Portable | None
    entry: str | None

    def __init__(
        self,
        name: str,
        data: str | Path | Frame | Callable[[], Frame] | None = None,
        *,
        event_time: str | None = None,
        known_at: str | None = None,
        known_after: Duration | None = None,
        created: str | None = None,
        column_times: Mapping[str, str | Times] | None = None,
        timezone: str | None = None,
        ambiguous: Ambiguous = "raise",
        nonexistent: Nonexistent = "raise",
        sql: str | None = None,
        inputs: Source | FeatureView | Sequence[Source | FeatureView] = (),
        table: str | None = None,
        query: str | None = None,
        order: Sequence[str] = (),
        nulls: Sequence[str] = (),
        personal: Mapping[str, Personal] | None = None,
        view: FeatureView | None = None,
        transform: Portable | None = None,
        function: Portable | None = None,
    ) -> None:
        data, function = (None, _travelling(name, data)) if _is_function(data) else (data, function)
        over = (inputs,) if isinstance(inputs, Source | FeatureView) else tuple(inputs)
        values: dict[str, Any] = {
            "name": check_name("a source", name),
            "data": str(data) if isinstance(data, Path) else data,
            "times": None if event_time is None else Times(event_time, known_at, known_after or "0s"),
            "created": created,
            "column_times": {c: _own_times(name, c, t) for c, t in (column_times or {}).items()},
            "timezone": timezone,
            "ambiguous": ambiguous,
            "nonexistent": nonexistent,
            "sql": sql,
            "inputs": tuple(Source.of_view(each) if isinstance(each, FeatureView) else each for each in over),
            "table": table,
            "query": query,
            "order": (order,) if isinstance(order, str) else tuple(order),
            "nulls": (nulls,) if isinstance(nulls, str) else tuple(nulls),
            "personal": dict(personal or {}),
            "view": view,
            "entry": None,
            "transform": transform,
            "function": function,
        }
        for attribute, value in values.items():
            object.__setattr__(self, attribute, value)
        self._check(known_at, as_duration(known_after or "0s"))
        self._check_place()
        self._check_personal()
        if known_at is None and known_after is None and created is None:
            self._check_knowledge_is_stated()
        if personal is None:
            self._check_personal_is_stated()

    @classmethod
    def of_view(cls, view: FeatureView) -> Source:
        """The log of a view's values as a source, which is what a view given as ``source=`` means.

        Its rows have the keys, the features and a time, called as the event time of the view's own source. There is
        one for each key and each moment at which a row of that source becomes known (has happened, is known and has
        reached us), holding what is known at that moment. Of a static source it is one row for each key.
        """
        return cls(view.name, event_time=view.source.times.event if view.source.times else None, view=view)

    def _check(self, known_at: str | None, known_after: Micros) -> None:
        if self.times is None and (known_at or known_after or self.created or self.column_times):
            raise Invalid(
                f"Source {self.name!r} says when values are known but not when they happened. Add event_time=, "
                "or leave all times out for a source whose rows were always known."
            )
        if self.derived != bool(self.inputs) or (self.sql is not None and self.transform is not None):
            raise Invalid(f"Source {self.name!r} needs both sql= and inputs=[...], or neither.")
        if self.derived and (self.data is not None or self.function is not None):
            raise Invalid(f"Source {self.name!r} has both data and sql=. A query's data are its inputs=[...].")
        for name, value, known in (
            ("ambiguous", self.ambiguous, ("raise", "earliest", "latest", "null")),
            ("nonexistent", self.nonexistent, ("raise", "null")),
        ):
            if value not in known:
                raise Invalid(f"Source {self.name!r}: {name}={value!r} is not a rule. There are: {', '.join(known)}.")
        check_zone(f"Source {self.name!r}", self.timezone)

    def _check_place(self) -> None:
        place = self.data if isinstance(self.data, str) else ""
        check_secrets(self.name, place)
        if is_database(place):
            if (self.table is None) == (self.query is None):
                raise Invalid(f"Source {self.name!r} reads a database. Say what: table='orders' or query='SELECT ...'.")
        elif self.table is not None or self.query is not None or self.order:
            raise Invalid(f"Source {self.name!r}: table=, query= and order= belong to the URL of a database.")
        if self.nulls and (self.derived or (place and not place.lower().endswith(".csv"))):
            raise Invalid(
                f"Source {self.name!r}: nulls= says which texts of a CSV file stand for nothing. Leave it out."
            )
        if self.view is not None:
            self._check_log(self.view)

    def _check_log(self, view: FeatureView) -> None:
        if self.data is not None or self.function or self.derived or self.created or self.column_times:
            raise Invalid(
                f"Source {self.name!r} is the log of view {view.name!r}, which has no data and times but its own."
            )
        columns = [*view.entity.keys, *([view.source.times.event] if view.source.times else [])]
        if clash := next((name for name in view.features if name in columns), None):
            raise Invalid(
                f"Feature {clash!r} of view {view.name!r} is called like a key or the time of its log, so the view "
                "cannot be a source. Rename the feature."
            )

    def _check_personal(self) -> None:
        rules = (DO_NOT_SERVE, DO_NOT_STORE)
        for column, rule in self.personal.items():
            if rule not in rules:
                raise Invalid(
                    f"Source {self.name!r}: personal={{{column!r}: {rule!r}}} is not a rule. There are: {', '.join(rules)}."
                )
        when = {*self.time_columns, *self.order}
        if cut := next((column for column in self.cut if column in when), None):
            raise Invalid(
                f"Source {self.name!r} tells time or order by column {cut!r}, which is marked {DO_NOT_STORE!r} and cut "
                "away when the source is read. Use another column, or mark it 'do not serve'."
            )

    def _check_knowledge_is_stated(self) -> None:
        """Rows that are made do not know when those that they are made of were known."""
        late = (each for each in self.inputs if each.created or any(t.known or t.after for t in each._clocks))
        if self.times is not None and (source := next(late, None)) is not None:
            raise Invalid(
                f"Source {self.name!r} is made from {source.name!r}, whose rows are known later than they happen. Say when "
                "its own are known: known_at=, known_after= or created= (known_after='0s' where that is at once)."
            )

    def _check_personal_is_stated(self) -> None:
        """A query may call a column as it likes, so who writes it says what is personal."""
        for source in self.inputs:
            if columns := source._personal_columns:
                raise Invalid(
                    f"Source {self.name!r} is made from {source.name!r}, in which {columns[0]!r} is personal. Say which of "
                    "its own columns are: personal={'name': 'do not serve'}, or personal={} where none is."
                )

    @property
    def _clocks(self) -> list[Times]:
        return [each for each in (self.times, *self.column_times.values()) if each is not None]

    @property
    def _personal_columns(self) -> list[str]:
        """Those of which something must not be done, that can be named in rows made of these."""
        if self.view is not None:
            return [name for name in self.view.features if name not in self.view.served_features]
        inherited = [name for source in self.inputs for name in source._personal_columns]
        return [name for name in dict.fromkeys([*self.personal, *inherited]) if name not in self.cut]

    @property
    def derived(self) -> bool:
        """Whether its rows are made of those of its inputs, by a query or a function."""
        return self.sql is not None or self.transform is not None

    @property
    def static(self) -> bool:
        """Whether its rows have no time and are always known."""
        return self.times is None

    def times_of(self, column: str | None) -> Times | None:
        """When the values of ``column`` happen and are known; of whole rows for None; None where static."""
        return self.times if column is None else self.column_times.get(column, self.times)

    @property
    def time_columns(self) -> tuple[str, ...]:
        """All columns that say when."""
        times = [self.times, *self.column_times.values()]
        names = [name for each in times if each is not None for name in each.columns]
        return tuple(dict.fromkeys([*names, *([self.created] if self.created else [])]))

    @property
    def told(self) -> tuple[str, ...]:
        """The columns of which something of their own is told: their times, or that they are personal."""
        return tuple(dict.fromkeys([*self.column_times, *self.personal]))

    @property
    def cut(self) -> tuple[str, ...]:
        """The columns that are cut away when it is read."""
        return tuple(column for column, rule in self.personal.items() if rule == DO_NOT_STORE)

    def personal_rule(self, column: str) -> Personal | None:
        """What may not be done with a column: as declared here, or for the view or the inputs it comes from.

        A query's column inherits by its name, and a query over personal data says which of its columns hold them.
        """
        if column in self.personal:
            return self.personal[column]
        if self.view is not None:
            if column in self.view.entity.keys:
                return self.view.source.personal_rule(column)
            return DO_NOT_SERVE if column in self.view.features and column not in self.view.served_features else None
        inherited = {source.personal_rule(column) for source in self.inputs}
        return DO_NOT_SERVE if DO_NOT_SERVE in inherited else None

    @property
    def leaves(self) -> tuple[Source, ...]:
        """The sources with data of their own that this one reads: itself, or those beneath its query, function or view."""
        if self.view is not None:
            return self.view.source.leaves
        if not self.derived:
            return (self,)
        return tuple(dict.fromkeys(leaf for source in self.inputs for leaf in source.leaves))

    def to_spec(self) -> dict[str, Any]:
        """The declaration as JSON. A frame that was handed over is data and no part of it."""
        spec: dict[str, Any] = {
            "name": self.name,
            "path": self.data if isinstance(self.data, str) else None,
            "event_time": self.times.event if self.times else None,
            "known_at": self.times.known if self.times else None,
            "known_after": duration_text(self.times.after) if self.times and self.times.after else None,
            "created": self.created,
            "column_times": {c: t.to_spec() for c, t in sorted(self.column_times.items())} or None,
            "timezone": self.timezone,
            "ambiguous": None if self.ambiguous == "raise" else self.ambiguous,
            "nonexistent": None if self.nonexistent == "raise" else self.nonexistent,
            "sql": self.sql,
            "inputs": [source.to_spec() for source in self.inputs] or None,
            "table": self.table,
            "query": self.query,
            "order": list(self.order) or None,
            "nulls": list(self.nulls) or None,
            "personal": dict(sorted(self.personal.items())) or None,
            "view": None if self.view is None else _computed(self.view),
            "entry": self.entry,
            "transform": None if self.transform is None else self.transform.to_spec(),
            "function": None if self.function is None else self.function.to_spec(),
        }
        return {name: value for name, value in spec.items() if value is not None}

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> Source:
        """The declaration that ``to_spec`` wrote."""
        options = {"personal": {}, "known_after": "0s", **spec}  # what is stored was stated
        name, data, entry = options.pop("name"), options.pop("path", None), options.pop("entry", None)
        options["column_times"] = {c: Times(**t) for c, t in options.pop("column_times", {}).items()}
        options["inputs"] = [cls.from_spec(source) for source in options.pop("inputs", ())]
        if "view" in options:
            options["view"] = FeatureView.from_spec(options["view"])
        for part in ("transform", "function"):
            if part in options:
                options[part] = Portable.from_spec(options[part])
        source = cls(name, data, **options)
        object.__setattr__(source, "entry", entry)
        return source

    def bound(self, data: Mapping[str, Any]) -> Source:
        """The same declaration with other data: a path, a frame or a snapshot for some names of its ``leaves``."""
        return self._each(
            lambda source: source.bound(data),
            lambda view: view.bound(data),
            data.get(self.name, self.data) if not self.derived and self.view is None else self.data,
        )

    def anchored(self, root: Path) -> Source:
        """The same declaration with paths inside ``root`` told relative to it, so that all clones agree."""
        own = anchored(self.data, root) if isinstance(self.data, str) else self.data
        return self._each(lambda source: source.anchored(root), lambda view: view.anchored(root), own)

    def _each(
        self, source: Callable[[Source], Source], view: Callable[[FeatureView], FeatureView], data: Any
    ) -> Source:
        other = copy.copy(self)
        object.__setattr__(other, "inputs", tuple(map(source, self.inputs)))
        object.__setattr__(other, "view", None if self.view is None else view(self.view))
        object.__setattr__(other, "data", data)
        return other

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Source) and self.to_spec() == other.to_spec() and self._frames() == other._frames()

    def __hash__(self) -> int:
        return hash((self.name, self.sql))

    def _frames(self) -> tuple[int, ...]:
        own = () if self.data is None or isinstance(self.data, str) else (id(self.data),)
        beneath = (*self.inputs, *([self.view.source] if self.view is not None else []))
        return own + tuple(number for source in beneath for number in source._frames())


def _own_times(source: str, column: str, given: object) -> Times:
    if isinstance(given, str):
        return Times(given, given)
    if not isinstance(given, Times):
        raise Invalid(
            f"Source {source!r}: column_times={{{column!r}: {given!r}}} names no column. Give its name or tv.Times(...)."
        )
    return given


def _is_function(data: object) -> bool:
    """Whatever can be called and is no frame: functions, methods, ``functools.partial``."""
    return inspect.isroutine(data) or (callable(data) and hasattr(data, "func"))


def _travelling(source: str, function: Any) -> Portable:
    """A function that answers rows, with all that it needs of the project."""
    try:
        made = Portable.of(function, reads_the_world=True)
    except Invalid as exc:
        raise Invalid(f"Source {source!r} is read by a function that cannot be stored. {exc}") from exc
    needed = [
        p for p in inspect.signature(function).parameters.values() if p.default is p.empty and p.kind not in _SEVERAL
    ]
    if needed:
        raise Invalid(
            f"The function {made.entry!r} of source {source!r} takes the parameter {needed[0].name!r}. It is called "
            "without any; give a default."
        )
    check_secrets_of_text(source, made.text)
    return made


def _computed(view: FeatureView) -> dict[str, Any]:
    """The part of a view's declaration that its values depend on: an edit of its words changes nothing above it."""
    return {part: value for part, value in view.to_spec().items() if part not in ("description", "owner", "tags")}


def check_zone(owner: str, zone: str | None) -> None:
    """Refuse what is no time zone.

    Raises:
        Invalid: there is none of that name.
    """
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    if zone is None:
        return
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as exc:
        raise Invalid(f"{owner}: {zone!r} is not a time zone. Write it as 'UTC' or 'America/New_York'.") from exc


@dataclass(frozen=True)
class FeatureView:
    """A named, versioned set of features of one entity, computed from one source.

    Attributes:
        name: how it is called: ``"weather:*"``, ``"weather:temp"``.
        entity: what the features describe.
        source: where they come from; a view given as source means the log of its values, see ``Source.of_view``.
        features: feature name to declaration. A list of columns means their latest values.
        ttl: how old a latest value may be, in microseconds, unless the feature says otherwise.
        description, owner, tags: for people. A list of tags is one of names without values.

    Example:
        >>> planes = Source("planes", "planes.parquet")
        >>> view = FeatureView("planes", entity=Entity("plane", key="tailnum"), source=planes, features=["seats"])
        >>> print(view.features["seats"])
        latest('seats')
    """

    __trivet_kind__ = "feature_view"

    name: str
    entity: Entity
    source: Source
    features: Mapping[str, Aggregate]
    ttl: Micros | None
    description: str
    owner: str
    tags: Mapping[str, str]

    def __init__(
        self,
        name: str,
        *,
        entity: Entity,
        source: Source | FeatureView,
        features: Sequence[str] | Mapping[str, Feature],
        ttl: Duration | None = None,
        description: str = "",
        owner: str = "",
        tags: Mapping[str, str] | Sequence[str] | None = None,
    ) -> None:
        values: dict[str, Any] = {
            "name": check_name("a feature view", name),
            "entity": entity,
            "source": Source.of_view(source) if isinstance(source, FeatureView) else source,
            "features": _features(name, features),
            "ttl": None if ttl is None else as_duration(ttl),
            "description": description,
            "owner": owner,
            "tags": _tags(name, tags),
        }
        for attribute, value in values.items():
            object.__setattr__(self, attribute, value)
        self._check()

    def _check(self) -> None:
        for given, wanted in ((self.entity, Entity), (self.source, Source)):
            if not isinstance(given, wanted):
                raise Invalid(f"View {self.name!r} needs entity=tv.Entity(...) and source=tv.Source(...).")
        if not self.features:
            raise Invalid(f"View {self.name!r} has no features. Name at least one.")
        if self.ttl is not None and self.ttl <= 0:
            raise Invalid(f"View {self.name!r} has a ttl of {duration_text(self.ttl)}. It must be longer than nothing.")
        timed = [f for f, each in self.features.items() if each.windowed or each.ttl is not None or each.lag]
        if self.source.static and (timed or self.ttl is not None):
            what = f"feature {timed[0]!r} of view" if timed else "the ttl of view"
            raise Invalid(
                f"Source {self.source.name!r} has no event_time, so {what} {self.name!r} has no meaning. Declare "
                "event_time=, or take latest values without a ttl."
            )
        self._check_stored()

    def _check_stored(self) -> None:
        named = {column: f"feature {f!r}" for f, each in self.features.items() for column in columns_of(each)}
        named |= dict.fromkeys(self.entity.keys, f"entity {self.entity.name!r}")
        for column, what in named.items():
            if self.source.personal_rule(column) == DO_NOT_STORE:
                raise Invalid(
                    f"Column {column!r} of source {self.source.name!r} is personal data marked {DO_NOT_STORE!r}, so "
                    f"{what} of view {self.name!r} cannot use it: it is cut away when the source is read."
                )

    @property
    def served_features(self) -> tuple[str, ...]:
        """The features that may stand in an online store; none at all where a key may not."""
        unserved = {column for column in self._columns() if self.source.personal_rule(column) == DO_NOT_SERVE}
        if unserved & set(self.entity.keys):
            return ()
        return tuple(name for name, each in self.features.items() if not unserved & set(columns_of(each)))

    def _columns(self) -> set[str]:
        return {*self.entity.keys, *(column for each in self.features.values() for column in columns_of(each))}

    def check_served(self, *features: str) -> None:
        """Refuse to serve personal data.

        Args:
            features: what is asked for online; without any, that there is something to serve at all.

        Raises:
            Invalid: a feature, or a key of the entity, reads a column that is marked ``do not serve``.
        """
        served = self.served_features
        refused = next((name for name in features if name not in served), None)
        if refused is None and served:
            return
        what = f"Feature '{self.name}:{refused}'" if refused else f"Feature view {self.name!r}"
        raise Invalid(
            f"{what} is made from personal data of source {self.source.name!r} marked {DO_NOT_SERVE!r}: it may train a "
            f"model and is never served. Ask for {', '.join(map(repr, served)) or 'another view'} instead."
        )

    def __hash__(self) -> int:
        return hash((self.name, self.source, tuple(self.features)))

    def ttl_of(self, feature: str) -> Micros | None:
        """How old the latest value of ``feature`` may be, in microseconds; None for any age."""
        own = self.features[feature]
        return None if own.windowed else own.ttl if own.ttl is not None else self.ttl

    @property
    def digest(self) -> Digest:
        """The digest of its artifact of kind ``feature_view``: the declaration and nothing else."""
        content = digest("files", {})
        return digest("artifact", {"kind": "feature_view", "spec": self.to_spec(), "content": content})

    @property
    def online_name(self) -> str:
        """Under what name its rows stand in an online store: another computation never answers for this one."""
        spec = self.to_spec()
        computed = digest("online", {part: spec[part] for part in ("entity", "source", "features")})
        return f"{self.name}@{computed[:12]}"

    def bound(self, data: Mapping[str, Any]) -> FeatureView:
        """The same view with other data, see ``Source.bound``."""
        return self._with_source(self.source.bound(data))

    def anchored(self, root: Path) -> FeatureView:
        """The same view with paths inside ``root`` told relative to it, see ``Source.anchored``."""
        return self._with_source(self.source.anchored(root))

    def _with_source(self, source: Source) -> FeatureView:
        other = copy.copy(self)
        object.__setattr__(other, "source", source)
        return other

    def to_spec(self) -> dict[str, Any]:
        """The declaration as JSON."""
        return {
            "name": self.name,
            "entity": self.entity.to_spec(),
            "source": self.source.to_spec(),
            "features": [[name, feature.to_spec()] for name, feature in self.features.items()],
            "ttl": None if self.ttl is None else duration_text(self.ttl),
            "description": self.description,
            "owner": self.owner,
            "tags": dict(self.tags),
        }

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> FeatureView:
        """The declaration that ``to_spec`` wrote."""
        options = dict(spec)
        options["entity"] = Entity.from_spec(options["entity"])
        options["source"] = Source.from_spec(options["source"])
        options["features"] = {name: Aggregate.from_spec(each) for name, each in options["features"]}
        return cls(options.pop("name"), **options)


def _features(view: str, features: Sequence[str] | Mapping[str, Feature]) -> dict[str, Aggregate]:
    if isinstance(features, str):
        raise Invalid(f"View {view!r}: features={features!r} is one text. Give a list: features=[{features!r}].")
    if not isinstance(features, Mapping):
        repeated = [name for name, times in Counter(features).items() if times > 1]
        if repeated:
            raise Invalid(f"View {view!r} names feature {repeated[0]!r} twice.")
        features = {name: latest(name) for name in features}
    features = expand(features)
    for name, feature in features.items():
        check_name("a feature", name)
        if not isinstance(feature, Aggregate):
            raise Invalid(
                f"Feature {name!r} of view {view!r} is {feature!r}. Declare it with tv.latest('column'), "
                "tv.mean('column', '3h') and the like."
            )
    return dict(features)


def _tags(view: str, tags: Mapping[str, str] | Sequence[str] | None) -> dict[str, str]:
    if isinstance(tags, str):
        raise Invalid(f"View {view!r}: tags={tags!r} is one text. Give a list: tags=[{tags!r}].")
    return dict(tags) if isinstance(tags, Mapping) else dict.fromkeys(tags or (), "")


def columns_of(feature: Aggregate) -> tuple[str, ...]:
    """The columns of the source that a feature is made from."""
    return feature.columns
