from __future__ import annotations

from datetime import timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trivet.features import Entity, FeatureView, Source, select_all
from trivet.features.batch import read_frame
from trivet.features.engines.local import LocalEngine
from trivet.features.live import SLACK, LiveView
from trivet.features.materialize import Materializer
from trivet.features.online.contract import Batch
from trivet.features.online.memory import MemoryStore
from trivet.features.point_in_time import agree, recompute
from trivet.features.push import states
from trivet.features.reader import FeatureReader
from trivet.testing.engines import SCHEMA, START, moments, tables, views
from trivet.types import to_micros

KEYS = [{"a": a, "b": b} for a in (1, 2, 11, 7) for b in (1, 12)]


def of_a_table(view: FeatureView) -> FeatureView:
    """The view, over a table of the project's own: rows have a moment of arrival."""
    own = view.source
    source = Source(
        "events",
        "tables/events",
        event_time="e",
        known_at=own.times.known,
        known_after=timedelta(microseconds=own.times.after),
        created="c",
        column_times=own.column_times,
    )
    ttl = None if view.ttl is None else timedelta(microseconds=view.ttl)
    return FeatureView(view.name, entity=view.entity, source=source, features=view.features, ttl=ttl)


@st.composite
def arrivals(draw) -> list[tuple[int, list[dict]]]:
    """Pushes: moments of arrival, ascending, and the rows that arrived then."""
    rows = draw(tables())
    cuts = sorted(draw(st.lists(st.integers(0, len(rows)), max_size=4)))
    pieces = [rows[a:b] for a, b in zip([0, *cuts], [*cuts, len(rows)], strict=True)]
    hours = sorted(draw(st.lists(st.integers(0, 40), min_size=len(pieces), max_size=len(pieces), unique=True)))
    return [(hour, [{**row, "c": START + timedelta(minutes=30 * hour)} for row in piece]) for hour, piece in zip(hours, pieces, strict=True)]


def push(store, view, everything):
    """What ``Push`` does with the rows of a table."""
    live = LiveView(view)
    mark = store.watermark(live.name)
    rows = pl.DataFrame(everything, SCHEMA).sort("c", maintain_order=True)
    if rows.is_empty():
        return
    arrived = rows["c"].to_physical()
    position = arrived.max()
    fresh = rows if mark is None else rows.filter(arrived > mark)
    store.put([Batch(live.name, states(live, fresh, position, store), position, position, watermark=position)])


def assert_exact(store, view, rows, at):
    spine = [{**key, "t": at} for key in KEYS]
    schema = {"a": pl.Int64, "b": pl.Int64, "t": pl.Datetime("us", "UTC")}
    selected = select_all([view])
    joined = LocalEngine().point_in_time(
        pl.DataFrame(spine, schema), selected, {"events": pl.DataFrame(rows, SCHEMA)}, time="t"
    )
    engine = joined.frame.select(list(view.features)).to_dicts()
    loop = recompute(spine, selected, {"events": rows}, time="t")
    vectors = FeatureReader(selected, store)(KEYS, to_micros(at))
    frame = read_frame(FeatureReader(selected, store), pl.DataFrame(KEYS), to_micros(at))
    for place, vector in enumerate(vectors):
        for name, feature in view.features.items():
            value = vector.values[f"view:{name}"]
            said = (KEYS[place], name, str(feature), vector, engine[place], loop[place], rows)
            assert agree(value, engine[place][name]), said
            assert agree(value, loop[place][name], digits=9 if feature.operation in ("std", "quantile") else None), said
            assert agree(value, frame[name][place]), said


@settings(max_examples=250, deadline=None, database=None)
@given(views().map(of_a_table), arrivals(), st.lists(st.integers(0, 60), max_size=3), st.integers(0, 5))
def test_pushed_is_offline_at_every_moment(view, pushes, later, until):
    store, known = MemoryStore(), []
    for number, (half_hours, rows) in enumerate(pushes):
        known += rows
        push(store, view, known)
        if number == until:  # a materialization in between changes nothing
            Materializer([view], {"events": pl.DataFrame(known, SCHEMA)}, store).advance(START + timedelta(hours=12))
        if store.watermark(LiveView(view).name) is None:
            continue
        for ahead in (0, *later):
            assert_exact(store, view, known, START + timedelta(minutes=30 * half_hours + 30 * ahead))
