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
from trivet.errors import Invalid
from trivet.features.aggregates import Aggregate, Feature, expand, latest
from trivet.types import Digest, Duration, Micros, as_duration, duration_text

__all__ = ["Entity", "FeatureView", "Frame", "Source", "Times", "feature_view"]

Frame: TypeAlias = Any
"""A pandas or Polars data frame, or an Arrow table."""
Ambiguous: TypeAlias = Literal["raise", "earliest", "latest", "null"]
Nonexistent: TypeAlias = Literal["raise", "null"]

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z")


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

    Example:
        >>> Entity("route", keys=("origin", "dest")).keys
        ('origin', 'dest')
    """

    name: str
    keys: tuple[str, ...]

    def __init__(self, name: str, key: str | None = None, *, keys: Sequence[str] | None = None) -> None:
        check_name("an entity", name)
        if key is not None and keys is not None:
            raise Invalid(f"Entity {name!r} is given both key= and keys=. Give one.")
        columns = tuple(keys) if keys is not None else (key or name,)
        if isinstance(keys, str) or not columns or len(set(columns)) != len(columns):
            raise Invalid(f"Entity {name!r} needs different key columns, for example keys=('origin', 'dest').")
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "keys", columns)

    def to_spec(self) -> dict[str, Any]:
        """The declaration as JSON."""
        return {"name": self.name, "keys": list(self.keys)}

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> Entity:
        """The declaration that ``to_spec`` wrote."""
        return cls(spec["name"], keys=tuple(spec["keys"]))


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
        data: a path (Parquet, CSV or Arrow file), a data frame, or None until bound.
        times: event and known-at time of the columns in general; None for a static source.
        created: the column of the time at which the row reached us; None where rows never come late.
        column_times: columns with times of their own.
        timezone: the zone of times that have none.
        ambiguous, nonexistent: what to do about local times that happen twice or never (default: an error).
        sql, inputs: a query over other sources, run by DuckDB; its rows are ordered by all their columns.

    Example:
        >>> Source("weather", "weather.parquet", event_time="time_hour", known_after="1h").times
        Times(event='time_hour', known=None, after=3600000000)
    """

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

    def __init__(
        self,
        name: str,
        data: str | Path | Frame | None = None,
        *,
        event_time: str | None = None,
        known_at: str | None = None,
        known_after: Duration = "0s",
        created: str | None = None,
        column_times: Mapping[str, str | Times] | None = None,
        timezone: str | None = None,
        ambiguous: Ambiguous = "raise",
        nonexistent: Nonexistent = "raise",
        sql: str | None = None,
        inputs: Sequence[Source] = (),
    ) -> None:
        values: dict[str, Any] = {
            "name": check_name("a source", name),
            "data": str(data) if isinstance(data, Path) else data,
            "times": None if event_time is None else Times(event_time, known_at, known_after),
            "created": created,
            "column_times": {c: Times(t, t) if isinstance(t, str) else t for c, t in (column_times or {}).items()},
            "timezone": timezone,
            "ambiguous": ambiguous,
            "nonexistent": nonexistent,
            "sql": sql,
            "inputs": (inputs,) if isinstance(inputs, Source) else tuple(inputs),
        }
        for attribute, value in values.items():
            object.__setattr__(self, attribute, value)
        self._check(known_at, as_duration(known_after))

    def _check(self, known_at: str | None, known_after: Micros) -> None:
        if self.times is None and (known_at or known_after or self.created or self.column_times):
            raise Invalid(
                f"Source {self.name!r} says when values are known but not when they happened. Add event_time=, "
                "or leave all times out for a source whose rows were always known."
            )
        if (self.sql is None) != (not self.inputs):
            raise Invalid(f"Source {self.name!r} needs both sql= and inputs=[...], or neither.")
        if self.sql is not None and self.data is not None:
            raise Invalid(f"Source {self.name!r} has both data and sql=. A query's data are its inputs=[...].")
        for name, value, known in (
            ("ambiguous", self.ambiguous, ("raise", "earliest", "latest", "null")),
            ("nonexistent", self.nonexistent, ("raise", "null")),
        ):
            if value not in known:
                raise Invalid(f"Source {self.name!r}: {name}={value!r} is not a rule. There are: {', '.join(known)}.")
        _check_zone(self.name, self.timezone)

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
    def leaves(self) -> tuple[Source, ...]:
        """The sources with data of their own that this one reads: itself, or those beneath its query."""
        if self.sql is None:
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
        }
        return {name: value for name, value in spec.items() if value is not None}

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> Source:
        """The declaration that ``to_spec`` wrote."""
        options = dict(spec)
        name, data = options.pop("name"), options.pop("path", None)
        options["column_times"] = {c: Times(**t) for c, t in options.pop("column_times", {}).items()}
        options["inputs"] = [cls.from_spec(source) for source in options.pop("inputs", ())]
        return cls(name, data, **options)

    def bound(self, data: Mapping[str, Any]) -> Source:
        """The same declaration with other data: a path, a frame or a snapshot for some names of its ``leaves``."""
        other = copy.copy(self)
        object.__setattr__(other, "inputs", tuple(source.bound(data) for source in self.inputs))
        if self.sql is None and self.name in data:
            object.__setattr__(other, "data", data[self.name])
        return other

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Source) and self.to_spec() == other.to_spec() and self._frames() == other._frames()

    def __hash__(self) -> int:
        return hash((self.name, self.sql))

    def _frames(self) -> tuple[int, ...]:
        own = () if self.data is None or isinstance(self.data, str) else (id(self.data),)
        return own + tuple(number for source in self.inputs for number in source._frames())


def _check_zone(source: str, zone: str | None) -> None:
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    if zone is None:
        return
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as exc:
        raise Invalid(
            f"Source {source!r}: {zone!r} is not a time zone. Write it as 'UTC' or 'America/New_York'."
        ) from exc


@dataclass(frozen=True)
class FeatureView:
    """A named, versioned set of features of one entity, computed from one source.

    Attributes:
        name: how it is called: ``"weather:*"``, ``"weather:temp"``.
        entity: what the features describe.
        source: where they come from.
        features: feature name to declaration. A list of columns means their latest values.
        ttl: how old a latest value may be, in microseconds, unless the feature says otherwise.
        description, owner, tags: for people.

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
        source: Source,
        features: Sequence[str] | Mapping[str, Feature],
        ttl: Duration | None = None,
        description: str = "",
        owner: str = "",
        tags: Mapping[str, str] | None = None,
    ) -> None:
        values: dict[str, Any] = {
            "name": check_name("a feature view", name),
            "entity": entity,
            "source": source,
            "features": _features(name, features),
            "ttl": None if ttl is None else as_duration(ttl),
            "description": description,
            "owner": owner,
            "tags": dict(tags or {}),
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
        other = copy.copy(self)
        object.__setattr__(other, "source", self.source.bound(data))
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


class Columns:
    """What a view's function is handed: ``t.dep_delay`` is the name of the column, for editors and for eyes."""

    def __getattr__(self, name: str) -> str:
        if name.startswith("__"):
            raise AttributeError(name)
        return name


def feature_view(
    *,
    entity: Entity,
    source: Source,
    ttl: Duration | None = None,
    name: str | None = None,
    owner: str = "",
    tags: Mapping[str, str] | None = None,
) -> Callable[[Callable[..., Mapping[str, Feature]]], FeatureView]:
    """Make a function that answers features into a view; its name and docstring are the view's.

    Raises:
        Invalid: the function takes more than one argument or answers something else than features.

    Example:
        >>> flights = Source("flights", "flights.parquet", event_time="dep_utc")
        >>> @feature_view(entity=Entity("origin"), source=flights)
        ... def congestion(t):
        ...     "How late planes leave this airport at the moment."
        ...     return {"delay_last": latest(t.dep_delay)}
        >>> congestion.description
        'How late planes leave this airport at the moment.'
    """

    def declare(function: Callable[..., Mapping[str, Feature]]) -> FeatureView:
        called = name or function.__name__
        if (arguments := len(inspect.signature(function).parameters)) > 1:
            raise Invalid(f"The function of view {called!r} takes {arguments} arguments. It is given one, the columns.")
        features = function(Columns()) if arguments else function()
        if not isinstance(features, Mapping):
            raise Invalid(f"The function of view {called!r} answers {features!r}. Return a dict of name to feature.")
        return FeatureView(
            called,
            entity=entity,
            source=source,
            features=features,
            ttl=ttl,
            description=inspect.getdoc(function) or "",
            owner=owner,
            tags=tags,
        )

    return declare
