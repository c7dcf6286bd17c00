from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trivet.errors import Invalid
from trivet.features import Entity, FeatureView, Source, count, latest, mean, select_all
from trivet.features.engines.local import LocalEngine
from trivet.features.materialize import Materializer
from trivet.features.online.memory import MemoryStore
from trivet.features.point_in_time import agree
from trivet.features.reader import FeatureReader
from trivet.testing.engines import SCHEMA, START, moments, tables, views
from trivet.types import to_micros


def offline(view, rows, keys, at):
    spine = pl.DataFrame(
        [{**key, "t": at} for key in keys], {"a": pl.Int64, "b": pl.Int64, "t": pl.Datetime("us", "UTC")}
    )
    joined = LocalEngine().point_in_time(spine, select_all([view]), {"events": pl.DataFrame(rows, SCHEMA)}, time="t")
    return joined.frame.select(list(view.features)).to_dicts()


def assert_online_is_offline(store, view, rows, at):
    keys = [{"a": a, "b": b} for a in (1, 2, 11, 12, 7) for b in (1, 2, 11, 12)]
    vectors = FeatureReader(select_all([view]), store)(keys, to_micros(at))
    for key, vector, expected in zip(keys, vectors, offline(view, rows, keys, at), strict=True):
        for name, want in expected.items():
            assert agree(vector.values[f"view:{name}"], want), (key, name, vector, want)


@settings(max_examples=120, deadline=None, database=None)
@given(views(), tables(), st.lists(moments, min_size=1, max_size=5))
def test_online_is_offline_after_any_advances(view, rows, steps):
    store = MemoryStore()
    materializer = Materializer([view], {"events": pl.DataFrame(rows, SCHEMA)}, store)
    reached = START - timedelta(days=1)
    for step in steps:
        materializer.advance(step)
        reached = max(reached, step)
        assert_online_is_offline(store, view, rows, reached)


@settings(max_examples=40, deadline=None, database=None)
@given(views(), tables(), tables(), st.lists(moments, min_size=2, max_size=4))
def test_rows_that_come_late_are_found_by_the_next_materializer(view, rows, late, steps):
    store = MemoryStore()
    Materializer([view], {"events": pl.DataFrame(rows, SCHEMA)}, store).advance(min(steps))
    everything = rows + late
    Materializer([view], {"events": pl.DataFrame(everything, SCHEMA)}, store).advance(max(steps))
    assert_online_is_offline(store, view, everything, max(steps))


PLANE = Entity("plane", key="tailnum")
FLIGHTS = Source("flights", event_time="dep")
NOON = datetime(2013, 1, 1, 12, tzinfo=UTC)


def flights(*rows):
    schema = {"tailnum": pl.String, "dep": pl.Datetime("us", "UTC"), "delay": pl.Float64}
    return {"flights": pl.DataFrame(rows, schema, orient="row")}


def test_only_keys_that_changed_are_written_again():
    view = FeatureView("planes", entity=PLANE, source=FLIGHTS, features=["delay"])
    data = flights(
        *[(f"N{i}", NOON - timedelta(hours=1), 1.0) for i in range(50)], ("N1", NOON + timedelta(hours=1), 5.0)
    )
    materializer = Materializer([view], data, MemoryStore())
    assert materializer.advance(NOON) == {"planes": 50}
    assert materializer.advance(NOON + timedelta(minutes=30)) == {"planes": 0}
    assert materializer.advance(NOON + timedelta(hours=1)) == {"planes": 1}


def test_going_back_changes_nothing():
    view = FeatureView("planes", entity=PLANE, source=FLIGHTS, features=["delay"])
    store, data = MemoryStore(), flights(("N1", NOON, 1.0), ("N1", NOON + timedelta(hours=1), 2.0))
    Materializer([view], data, store).advance(NOON + timedelta(hours=1))
    assert Materializer([view], data, store).advance(NOON) == {"planes": 0}
    assert store.watermark(view.online_name) == to_micros(NOON + timedelta(hours=1))


def test_a_store_that_was_emptied_is_filled_again():
    view = FeatureView("planes", entity=PLANE, source=FLIGHTS, features=["delay"])
    store = MemoryStore()
    materializer = Materializer([view], flights(("N1", NOON, 1.0)), store)
    materializer.advance(NOON)
    store.drop(view.online_name)
    assert materializer.advance(NOON + timedelta(hours=1)) == {"planes": 1}


def test_a_changed_computation_never_reads_rows_of_the_old_one():
    store, data = MemoryStore(), flights(("N1", NOON, 1.0))
    old = FeatureView("planes", entity=PLANE, source=FLIGHTS, features={"f": latest("delay")})
    new = FeatureView("planes", entity=PLANE, source=FLIGHTS, features={"f": count("1d")})
    Materializer([old], data, store).advance(NOON)
    (vector,) = FeatureReader(select_all([new]), store)([{"tailnum": "N1"}], to_micros(NOON))
    assert (vector.values, vector.status) == ({"planes:f": None}, {"planes:f": "missing"})


def test_what_has_no_online_form_is_refused_at_once():
    view = FeatureView("planes", entity=PLANE, source=FLIGHTS, features=["dep"])
    with pytest.raises(Invalid, match="'planes:dep' has type Datetime"):
        Materializer([view], flights(("N1", NOON, 1.0)), MemoryStore())


def test_aggregates_forget_what_left_the_window():
    view = FeatureView("planes", entity=PLANE, source=FLIGHTS, features={"n": count("2h"), "m": mean("delay", "2h")})
    store = MemoryStore()
    materializer, reader = (
        Materializer([view], flights(("N1", NOON, 3.0)), store),
        FeatureReader(select_all([view]), store),
    )
    seen = []
    for hours in (0, 1, 2, 3):
        at = NOON + timedelta(hours=hours)
        materializer.advance(at)
        seen.append(tuple(reader([{"tailnum": "N1"}], to_micros(at))[0].values.values()))
    assert seen == [(0, None), (1, 3.0), (1, 3.0), (0, None)]


def test_a_value_that_was_too_old_already_is_kept_as_expired():
    view = FeatureView("planes", entity=PLANE, source=FLIGHTS, features=["delay"], ttl="1h")
    store = MemoryStore()
    Materializer([view], flights(("N1", NOON, 1.0)), store).advance(NOON + timedelta(days=1))
    (vector,) = FeatureReader(select_all([view]), store)([{"tailnum": "N1"}], to_micros(NOON + timedelta(days=1)))
    assert (vector.values, vector.status) == ({"planes:delay": None}, {"planes:delay": "expired"})
    assert vector.times == {"planes:delay": to_micros(NOON)}
