"""Spines built from a source: whom a training set asks about, and when.

Three ways to say when: at some moments, every so often between two moments, or at the events of the source themselves.
Invariant: asked at a moment, an entity appears only if one of its rows was known by then, so that a spine tells
nothing of entities that were still to come; and the order of the rows is a function of the data, never of threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import TypeAlias
from zoneinfo import ZoneInfo

import polars as pl

from trivet.errors import Invalid
from trivet.features.catalogue import Catalogue
from trivet.features.definitions import Entity, FeatureView, Source
from trivet.features.engines.filters import satisfied
from trivet.features.engines.keys import key_columns
from trivet.features.predicates import parse
from trivet.features.sources import read, snapshots_of
from trivet.features.times import Rules, to_micros
from trivet.pipelines.context import Context
from trivet.types import Duration, Micros, as_duration, from_micros
from trivet.types import to_micros as micros_of

__all__ = ["Moment", "spine"]

Moment: TypeAlias = str | date | datetime
"""A time as people write it: ``2013-06-01T00:00:00Z``, or without a zone where one is declared."""

_DAY = 86_400_000_000
_MOST_MOMENTS = 1_000_000  # for each entity: a slip of a unit, and not a question
_UTC = pl.Datetime("us", "UTC")
_KNOWN = "__known"


def spine(
    context: Context,
    of: FeatureView | Source | str,
    entity: Entity | Sequence[Entity] | None = None,
    *,
    at: Moment | Sequence[Moment] | None = None,
    every: Duration | None = None,
    start: Moment | None = None,
    end: Moment | None = None,
    where: str | None = None,
    columns: Sequence[str] = (),
    time: str = "t",
    timezone: str | None = None,
) -> pl.DataFrame:
    """Entities and moments to ask about: a frame for ``training_set(spine, ..., time="t")``.

    With ``at`` or ``every`` each row is an entity that was known at that moment, by time and key; with neither, each
    row is an event of the source at its event time, in that order, ties in the order of the source.

    Args:
        context: the project.
        of: a feature view or its name, or a source, whose rows say which entities there are.
        entity: whom to ask about, one or several; the view's by default.
        at: a moment, or several.
        every: the step between ``start`` and ``end``; whole days are days of ``timezone``, however long.
        start: the first moment; may be left out for events.
        end: the moment before which it ends; may be left out for events.
        where: a condition on the rows: ``"carrier in ('AA', 'UA')"``. Where moments are given, a row
            counts from when what the condition looks at was known.
        columns: of events, what else to take along, such as the label.
        time: how to call the column of moments.
        timezone: the zone of moments and days without one; the source's by default.

    Raises:
        Invalid: the times do not fit together or have no zone, or a static source has no events.
        NotFound: a column or view does not exist; the nearest are named.
    """
    source, entities = _subject(context, of, entity)
    keys = list(dict.fromkeys(key for each in entities for key in each.keys))
    events = at is None and every is None
    _check(source, keys, columns, time, events=events)
    condition = None if where is None else parse(where)
    looked_at = () if condition is None else condition.columns
    wanted = [*keys, *source.time_columns, *columns, *looked_at]
    rows = read(source, wanted, snapshots_of([source], context.root))
    rows = rows.with_columns(key_columns(rows, keys, f"source {source.name!r}")).drop_nulls(keys)
    if condition is not None:
        rows = rows.filter(pl.Series(satisfied(condition, rows)))
    zone = timezone or source.timezone
    if events:
        return _at_events(rows, source, [*keys, *columns], time, _micros(start, zone), _micros(end, zone))
    moments = _steps(every, start, end, zone) if at is None else _points(at, every, start, end, zone)
    return _at_moments(rows, source, keys, looked_at, time, moments)


def _subject(
    context: Context, of: FeatureView | Source | str, entity: Entity | Sequence[Entity] | None
) -> tuple[Source, list[Entity]]:
    """The source that says which entities there are, and the entities asked about."""
    found = Catalogue(context).get(of) if isinstance(of, str) else of
    if isinstance(found, FeatureView):
        source, entities = found.source, [found.entity]
    elif isinstance(found, Source):
        source, entities = found, []
    else:
        raise Invalid(f"A spine is built from a feature view or a source, and {found!r} is neither.")
    if entity is not None:
        entities = [entity] if isinstance(entity, Entity) else list(entity)
    if not entities:
        raise Invalid(f"Source {source.name!r} does not say what to ask about. Add entity=tv.Entity(...).")
    return source, entities


def _check(source: Source, keys: Sequence[str], columns: Sequence[str], time: str, *, events: bool) -> None:
    if events and source.static:
        raise Invalid(f"Source {source.name!r} has no event_time, so it has no events. Say when: at=... or every=...")
    if columns and not events:
        raise Invalid(
            f"columns={list(columns)!r} are taken from events, and at a moment there is none. Leave at= and every= out, "
            "or add the columns afterwards."
        )
    if time in [*keys, *columns]:
        raise Invalid(f"The moments cannot be called {time!r}, which is a column already. Give another time=.")


def _at_events(
    rows: pl.DataFrame, source: Source, kept: Sequence[str], time: str, start: Micros | None, end: Micros | None
) -> pl.DataFrame:
    """One row for each event, in the order of time."""
    assert source.times is not None
    asked = rows.select(*dict.fromkeys(kept)).with_columns(_instants(rows, source, source.times.event).alias(time))
    asked = asked.drop_nulls(time).sort(time, maintain_order=True)
    moment = pl.col(time).to_physical()
    if start is not None:
        asked = asked.filter(moment >= start)
    return asked if end is None else asked.filter(moment < end)


def _at_moments(
    rows: pl.DataFrame,
    source: Source,
    keys: Sequence[str],
    looked_at: Sequence[str],
    time: str,
    moments: Sequence[Micros],
) -> pl.DataFrame:
    """Each entity at each moment by which one of its rows was known."""
    known = rows.select(*keys, _known(rows, source, looked_at).alias(_KNOWN)).drop_nulls(_KNOWN)
    first = known.group_by(keys).agg(pl.col(_KNOWN).min())
    asked = pl.DataFrame({time: pl.Series(sorted(set(moments)), dtype=pl.Int64)}).join(first, how="cross")
    asked = asked.filter(pl.col(_KNOWN) <= pl.col(time)).sort(time, *keys)
    return asked.select(*keys, pl.col(time).cast(_UTC))


def _known(rows: pl.DataFrame, source: Source, looked_at: Sequence[str]) -> pl.Series:
    """From when each row could be known, as far as its times, ``created`` and the condition's columns say; or null."""
    if source.static:
        return pl.repeat(-(2**62), rows.height, dtype=pl.Int64, eager=True)
    parts = []
    for times in dict.fromkeys(source.times_of(column) for column in (None, *looked_at)):
        assert times is not None
        happened = _instants(rows, source, times.event).to_physical()
        known = _instants(rows, source, times.known or times.event).to_physical() + times.after
        parts.append(known.zip_with(happened.is_not_null(), pl.Series([None], dtype=pl.Int64)))
    if source.created:
        parts.append(_instants(rows, source, source.created).to_physical())
    found = pl.DataFrame([part.alias(str(place)) for place, part in enumerate(parts)])
    whole = ~pl.any_horizontal(pl.all().is_null())
    return found.select(pl.when(whole).then(pl.max_horizontal(pl.all()))).to_series()


def _instants(rows: pl.DataFrame, source: Source, column: str) -> pl.Series:
    rules = Rules(
        f"source {source.name!r}",
        timezone=source.timezone,
        ambiguous=source.ambiguous,
        nonexistent=source.nonexistent,
    )
    return to_micros(rows[column], rules).cast(_UTC)


def _points(at: Moment | Sequence[Moment], every: object, start: object, end: object, zone: str | None) -> list[Micros]:
    if not (every is None and start is None and end is None):
        raise Invalid("Give at=, or every= with start= and end=, not both.")
    moments = [at] if isinstance(at, str | date) else list(at)
    return [_moment(each, zone) for each in moments]


def _steps(every: Duration | None, start: Moment | None, end: Moment | None, zone: str | None) -> list[Micros]:
    """From ``start`` on, before ``end``. Whole days are days of the zone, of 23 or 25 hours where they are."""
    step = as_duration(every or "0s")
    if step <= 0 or start is None or end is None:
        raise Invalid(f"every={every!r} needs a length, and both start= and end=.")
    first, last = _moment(start, zone), _moment(end, zone)
    if last <= first:
        raise Invalid(f"start={start!r} is not before end={end!r}, so there is no moment between them.")
    if (count := (last - first) // step) > _MOST_MOMENTS:
        raise Invalid(
            f"every={every!r} from {start!r} to {end!r} is {count:,} moments for each entity. Take longer steps."
        )
    if step % _DAY or zone is None:
        return list(range(first, last, step))
    local = from_micros(first).astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    days = [local + timedelta(microseconds=step * number) for number in range((last - first) // step + 2)]
    found = to_micros(pl.Series("every", days, pl.Datetime("us")), Rules("the spine", timezone=zone)).to_list()
    return [moment for moment in found if moment < last]


def _micros(moment: Moment | None, zone: str | None) -> Micros | None:
    return None if moment is None else _moment(moment, zone)


def _moment(moment: Moment, zone: str | None) -> Micros:
    if isinstance(moment, str):
        try:
            moment = datetime.fromisoformat(moment)
        except ValueError as exc:
            raise Invalid(f"{moment!r} is not a time. Write it as 2013-11-03T01:30:00Z.") from exc
    elif not isinstance(moment, datetime):
        moment = datetime.combine(moment, datetime.min.time())
    if moment.tzinfo is not None:
        return micros_of(moment)
    if zone is None:
        raise Invalid(f"{moment.isoformat()} has no time zone. Write {moment.isoformat()}Z, or give timezone='UTC'.")
    return int(to_micros(pl.Series("the moment", [moment], pl.Datetime("us")), Rules("the spine", timezone=zone))[0])
