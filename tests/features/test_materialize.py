from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trivet.errors import Invalid
from trivet.features import Entity, FeatureView, Source, count, latest, mean, select_all
from trivet.features.engines.local import LocalEngine
from trivet.features.materialize import Materializer, record_materialization
from trivet.features.online.memory import MemoryStore
from trivet.features.point_in_time import agree
from trivet.features.reader import FeatureReader
from trivet.features.snapshots import record_source
from trivet.features.sources import snapshots_of
from trivet.testing.engines import SCHEMA, START, moments, tables, views
from trivet.types import as_utc, to_micros


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


@settings(max_examples=60, deadline=None, database=None)
@given(views(), tables(), tables(), st.lists(moments, min_size=1, max_size=2))
def test_what_is_no_longer_in_the_source_is_no_longer_online(view, before, after, steps):
    store = MemoryStore()
    Materializer([view], {"events": pl.DataFrame(before, SCHEMA)}, store).advance(min(steps))
    Materializer([view], {"events": pl.DataFrame(after, SCHEMA)}, store).advance(max(steps))
    assert_online_is_offline(store, view, after, max(steps))


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
    assert (vector.values, vector.status) == ({"planes:f": None}, {"planes:f": "unmaterialized"})


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


def test_personal_data_never_reach_the_store():
    source = Source("w", event_time="at", personal={"temp": "do not serve"})
    declared = FeatureView("weather", entity=Entity("city"), source=source, features=["temp", "wind"])
    rows = pl.DataFrame({"city": ["NYC"], "at": [as_utc("2013-01-01T00:00:00Z")], "temp": [12345.0], "wind": [2.0]})
    store = MemoryStore()
    Materializer([declared], {"w": rows}, store).advance(as_utc("2013-01-02T00:00:00Z"))
    (row,) = store.read(declared.online_name, [("NYC",)])
    assert row.values == [None, 2.0]
    moment = to_micros(as_utc("2013-01-02T00:00:00Z"))
    served = [each for each in select_all([declared]) if each.feature == "wind"]
    assert FeatureReader(served, store)([{"city": "NYC"}], moment)[0].values == {"weather:wind": 2.0}
    with pytest.raises(Invalid, match="'weather:temp' is made from personal data of source 'w' marked 'do not serve'"):
        FeatureReader(select_all([declared]), store)
    alone = FeatureView("alone", entity=Entity("city"), source=source, features=["temp"])
    with pytest.raises(Invalid, match="'alone' is made from personal data"):
        Materializer([alone], {"w": rows}, store)


def load_once():
    place = Path(os.environ["TALLY"])
    with place.open("a") as file:
        file.write("x")
    return pl.DataFrame({"city": ["NYC"], "temp": [float(place.stat().st_size)]})


def test_the_data_that_were_read_are_the_data_that_are_recorded(context, tmp_path, monkeypatch):
    monkeypatch.setenv("TALLY", str(tmp_path / "tally"))
    declared = FeatureView("weather", entity=Entity("city"), source=Source("w", load_once), features=["temp"])
    sources = snapshots_of([declared.source])
    run = record_materialization(context, [declared], sources)
    assert (tmp_path / "tally").read_text() == "x"
    assert run.inputs["sources.w"] == record_source(declared.source.bound(sources), context).digest


class Counting(MemoryStore):
    """Remembers how many rows it was handed."""

    def put(self, batches):
        self.handed = sum(len(batch.rows) for batch in batches)
        return super().put(batches)


def test_a_fresh_process_hands_over_only_what_changed():
    view = FeatureView("planes", entity=PLANE, source=FLIGHTS, features=["delay"])
    rows = [(f"N{i}", NOON - timedelta(hours=1), 1.0) for i in range(50)]
    store = Counting()
    Materializer([view], flights(*rows), store).advance(NOON)
    appended = flights(*rows, ("N1", NOON + timedelta(minutes=1), 5.0))
    assert Materializer([view], appended, store).advance(NOON + timedelta(hours=1)) == {"planes": 1}
    assert store.handed == 2  # the row, and what the past was
    assert Materializer([view], flights(*reversed(rows)), store).advance(NOON + timedelta(hours=2)) == {"planes": 50}


@pytest.mark.parametrize("change", ["added", "removed", "edited", "swapped"])
def test_a_rewritten_past_computes_every_key_again(change):
    view = FeatureView("planes", entity=PLANE, source=FLIGHTS, features={"delay": latest("delay"), "n": count("3h")})
    first, tied = ("N1", NOON - timedelta(hours=1), 1.0), ("N1", NOON - timedelta(hours=1), 2.0)
    before = [first, tied, ("N2", NOON - timedelta(hours=1), 3.0)]
    after = {
        "added": [*before, ("N2", NOON - timedelta(minutes=30), 4.0)],
        "removed": [first, before[2]],
        "edited": [first, ("N1", NOON - timedelta(hours=1), 9.0), before[2]],
        "swapped": [tied, first, before[2]],
    }[change]
    store, fresh = MemoryStore(), MemoryStore()
    at = NOON + timedelta(minutes=5)
    Materializer([view], flights(*before), store).advance(NOON)
    assert Materializer([view], flights(*after), store).advance(at) == {"planes": 2}
    Materializer([view], flights(*after), fresh).advance(at)
    keys = [("N1",), ("N2",)]
    assert store.read(view.online_name, keys) == fresh.read(view.online_name, keys)


@settings(max_examples=60, deadline=None, database=None)
@given(tables(), st.integers(1, 8), st.data())
def test_a_latest_value_expires_online_when_it_does_in_training(rows, ttl, data):
    view = FeatureView(
        "view",
        entity=Entity("key", keys=("a", "b")),
        source=Source("events", event_time="e", known_at="k"),
        features={"own": latest("x", ttl=timedelta(minutes=ttl)), "plain": latest("x")},
        ttl=timedelta(hours=ttl),
    )
    known = [row[name] for row in rows for name in ("e", "k") if row[name] is not None]
    until = max([START, *known])
    store = MemoryStore()
    Materializer([view], {"events": pl.DataFrame(rows, SCHEMA)}, store).advance(until)
    lives = (timedelta(minutes=ttl), timedelta(hours=ttl))
    edges = [row["e"] + life for row in rows if row["e"] for life in lives]
    edge = data.draw(st.sampled_from([until, *edges])) + timedelta(microseconds=data.draw(st.integers(-1, 1)))
    assert_online_is_offline(store, view, rows, max(edge, until))


def test_a_static_source_never_expires():
    planes = Source("planes")
    view = FeatureView("planes", entity=PLANE, source=planes, features=["seats"])
    store = MemoryStore()
    Materializer([view], {"planes": pl.DataFrame({"tailnum": ["N1"], "seats": [7]})}, store).advance(NOON)
    (vector,) = FeatureReader(select_all([view]), store)([{"tailnum": "N1"}], to_micros(NOON + timedelta(days=9999)))
    assert (vector.values, vector.status) == ({"planes:seats": 7}, {"planes:seats": "present"})
