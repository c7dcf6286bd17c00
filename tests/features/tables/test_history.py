"""History in tables: rows that count from when they happened, whenever they came."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import trivet as tv
from tests.features.projects import opened
from trivet.clock import FixedClock
from trivet.errors import Invalid
from trivet.features import Entity, FeatureView, select_all
from trivet.features.catalogue import Catalogue
from trivet.features.materialize import Materializer
from trivet.features.online.memory import MemoryStore
from trivet.features.point_in_time import agree, recompute
from trivet.features.push import Push
from trivet.features.reader import FeatureReader
from trivet.features.sources import snapshot_of
from trivet.features.tables import EventTables
from trivet.features.training_set import training_set
from trivet.types import to_micros

JANUARY, NOW = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 11, 21, tzinfo=UTC)
DRIVER = Entity("driver")
FEATURES = {
    "n": tv.count(["3d", "400d"]),
    "total": tv.sum("x", "400d"),
    "half": tv.quantile("x", 0.5, "30d", lag="1d"),
    "newest": tv.latest("x"),
    "lagged": tv.latest("x", lag="2d"),
}


def day(number, row, driver=7, x=1.0):
    return {"row": row, "driver": driver, "at": JANUARY + timedelta(days=number), "x": x}


class World:
    """A project whose clock is told what time it is, with a table ``trips`` and views over it."""

    def __init__(self, context):
        self.now = NOW
        self.context = replace(context, clock=lambda: self.now)
        self.store = MemoryStore()
        self.tables = EventTables(self.context, lambda: self.store)
        self.tables.create("trips", key="row", event_time="at")
        self.push = Push(self.context, self.tables, self.store)
        view = FeatureView("trips", entity=DRIVER, source=self.tables.source("trips"), features=FEATURES)
        deep = {"most": tv.max("newest", "100d"), "seen": tv.count("100d"), "now": tv.latest("n_400d")}
        over = FeatureView("over", entity=DRIVER, source=view, features=deep)
        self.views = [each.anchored(self.context.root) for each in (view, over)]
        Catalogue(self.context).apply(*self.views)

    def take(self, rows, *, history):
        self.tables.ingest("trips", pl.DataFrame(rows), history=history)
        self.push("trips", [])

    def online(self, at, drivers=(7, 8)):
        selected = select_all(self.views)
        return [
            each.values for each in FeatureReader(selected, self.store)([{"driver": d} for d in drivers], to_micros(at))
        ]

    def offline(self, at, drivers=(7, 8)):
        spine = pl.DataFrame({"driver": list(drivers), "t": [at] * len(drivers)})
        made = training_set(self.context, spine, self.views, time="t", full_names=True).to_polars().to_dicts()
        return [{name.replace("__", ":"): value for name, value in row.items()} for row in made]

    def assert_agree(self, at):
        for online, offline in zip(self.online(at), self.offline(at), strict=True):
            assert all(agree(value, offline[name]) for name, value in online.items()), (online, offline)


@pytest.fixture
def world(context):
    return World(context)


def test_daily_rows_of_january_are_there_in_march(tables):
    rows = [day(number, number, x=float(number)) for number in range(100)]
    report = tables.ingest("trips", rows, key="row", event_time="at", history=True)
    assert (report.new, report.late) == (100, 0)
    stored = tables.read("trips")
    assert stored["created"].to_list() == stored["at"].to_list()
    assert "__arrived" not in stored.columns
    assert "__arrived" not in tables.describe("trips").columns
    run = tables._context.ledger.run(report.run)
    assert run.parameters["history"] is True
    view = FeatureView("v", entity=DRIVER, source=tables.source("trips"), features={"n": tv.count("50d")})
    spine = pl.DataFrame({"driver": [7], "t": [JANUARY + timedelta(days=60)]})
    made = training_set(tables._context, spine, [view], time="t")
    assert made.to_polars()["n"].to_list() == [50]
    assert made.report.unreached == {"trips": 0}


def test_without_history_the_report_says_what_had_not_reached_us(tables):
    tables.ingest("trips", [day(number, number) for number in range(100)], key="row", event_time="at")
    view = FeatureView("v", entity=DRIVER, source=tables.source("trips"), features={"n": tv.count("50d")})
    spine = pl.DataFrame({"driver": [7], "t": [JANUARY + timedelta(days=59)]})
    made = training_set(tables._context, spine, [view], time="t")
    assert made.to_polars()["n"].to_list() == [0]
    assert made.report.unreached == {"trips": 60}
    assert "60 rows of trips had not reached us by its last moment" in repr(made)
    in_pieces = training_set(tables._context, spine, [view], time="t", memory="1MB")
    assert in_pieces.report.unreached == {"trips": 60}


def test_live_rows_after_history_and_more_history_after_them(world):
    world.take([day(number, number, x=float(number)) for number in range(40)], history=True)
    before = world.tables.read("trips")
    world.now += timedelta(hours=1)
    world.take([day(324, 1000), day(2, 1001)], history=False)
    assert world.tables.lateness("trips").rows == 2
    world.assert_agree(world.now)
    world.now += timedelta(hours=1)
    world.take([day(number, 2000 + number, driver=8) for number in range(40)], history=True)
    world.assert_agree(world.now)
    world.assert_agree(world.now + timedelta(days=3))
    old = world.tables.history("trips")[-2].version
    assert world.tables.read("trips", version=old).sort("row").equals(before.sort("row"))
    assert world.tables.read("trips", since=NOW + timedelta(minutes=90)).height == 40
    assert world.tables.read("trips", as_known_at=JANUARY + timedelta(days=9)).height == 20
    early = world.offline(JANUARY + timedelta(days=20))
    assert [row["trips:n_400d"] for row in early] == [20, 20]


def test_a_push_that_dies_while_states_are_made_anew_is_completed_by_the_next(world, monkeypatch):
    world.take([day(320, 1)], history=False)
    with monkeypatch.context() as broken:
        broken.setattr(world.store, "put", lambda batches: (_ for _ in ()).throw(OSError("killed")))
        with pytest.raises(OSError, match="killed"):
            world.take([day(number, 10 + number) for number in range(200)], history=True)
    world.now += timedelta(minutes=1)
    world.push("trips", day(324, 5))
    assert world.online(world.now)[0]["trips:n_400d"] == 202
    world.assert_agree(world.now)


def test_materialized_rows_are_those_of_training_sets(world):
    world.take([day(320, 1)], history=False)
    store, view = MemoryStore(), world.views[0]

    def fill():
        source = snapshot_of(view.source, world.context.root)
        Materializer([view], {"trips": source}, store).advance(world.now)
        [vector] = FeatureReader(select_all([view]), store)([{"driver": 7}], to_micros(world.now))
        return vector.values

    assert fill()["trips:n_400d"] == 1
    world.tables.ingest("trips", pl.DataFrame([day(number, 10 + number) for number in range(9)]), history=True)
    world.now += timedelta(minutes=1)
    found, offline = fill(), world.offline(world.now)[0]
    assert found["trips:n_400d"] == 10
    assert all(agree(value, offline[name]) for name, value in found.items())


def test_many_rows_of_a_key_replace_the_nodes_that_stand_beside_its_state(world):
    chance = Random(3)
    world.take([day(chance.uniform(100, 324), n, x=float(n)) for n in range(1500)], history=False)
    world.now += timedelta(minutes=1)
    world.take([day(chance.uniform(0, 324), 5000 + n, x=float(n)) for n in range(1500)], history=True)
    world.assert_agree(world.now)
    world.now += timedelta(minutes=1)
    world.push("trips", [day(chance.uniform(200, 324), 9000 + n) for n in range(50)])
    world.assert_agree(world.now)
    world.assert_agree(world.now + timedelta(days=200))


def test_of_one_moment_the_later_content_of_a_key_counts_last(tables):
    tables.ingest("t", [{"k": 1, "at": JANUARY, "v": 1}], key="k", event_time="at", history=True)
    again = tables.ingest("t", [{"k": 1, "at": JANUARY, "v": 2}, {"k": 1, "at": JANUARY, "v": 3}], history=True)
    assert again.changed == 2
    assert tables.read("t")["v"].to_list() == [3]
    assert tables.read("t", history=True)["v"].to_list() == [1, 2, 3]
    tables.ingest("t", [{"k": 1, "at": JANUARY - timedelta(days=1), "v": 0}], history=True)
    assert tables.read("t")["v"].to_list() == [3]


def test_rows_that_could_be_known_later_count_from_then_on_and_those_to_come_from_now_on(tables):
    later, future = JANUARY + timedelta(days=2), datetime(2126, 1, 1, tzinfo=UTC)
    rows = [{"k": 1, "at": JANUARY, "known": later}, {"k": 2, "at": future, "known": None}]
    tables.ingest("t", rows, key="k", event_time="at", known_at="known", history=True)
    created = dict(tables.read("t").select("k", "created").iter_rows())
    assert created[1] == later
    assert JANUARY < created[2] < future


def test_history_of_a_table_without_times_is_refused(tables):
    with pytest.raises(Invalid, match="no time from which history could count"):
        tables.ingest("t", [{"k": 1}], key="k", history=True)


def test_rows_that_came_before_without_history_are_told(tables):
    rows = [day(1, 1)]
    tables.ingest("t", rows, key="row", event_time="at")
    assert "Drop the table" in str(tables.ingest("t", rows, history=True))


def test_files_that_were_put_together_keep_the_order_in_which_rows_came(world):
    for number in range(30):  # one moment for all: only the order tells which is the latest
        world.take([day(1, number, x=float(number))], history=True)
    world.tables.compact("trips", retention="0s")
    world.assert_agree(world.now)
    assert world.offline(world.now)[0]["trips:newest"] == 29.0


EVENTS = st.lists(
    st.tuples(st.integers(0, 12), st.sampled_from([7, 8]), st.sampled_from([None, 1.0, 2.5, -4.0])), max_size=6
)


@settings(max_examples=10, deadline=None)
@given(
    batches=st.lists(st.tuples(EVENTS, st.booleans(), st.integers(0, 40)), min_size=1, max_size=4),
    compacted=st.booleans(),
)
def test_against_the_oracle(tmp_path_factory, batches, compacted):
    """What counts when, told by loops: history from its time on, all else from its arrival."""
    world = World(opened(tmp_path_factory.mktemp("history"), FixedClock(NOW)))
    world.now, known = JANUARY + timedelta(days=10), []
    for number, (events, history, hours) in enumerate(batches):
        world.now += timedelta(hours=hours, seconds=1)
        rows = [day(event, 100 * number + place, driver, x) for place, (event, driver, x) in enumerate(events)]
        if rows:
            schema = {"row": pl.Int64, "driver": pl.Int64, "at": pl.Datetime("us", "UTC"), "x": pl.Float64}
            world.take(pl.DataFrame(rows, schema), history=history)
        for row in rows:
            counts = row["at"] if history and row["at"] <= world.now else world.now
            known.append({**row, "created": counts})
        if compacted:
            world.tables.compact("trips", retention="0s")
        moments = [world.now, world.now + timedelta(days=2), JANUARY + timedelta(days=6)]
        for place, at in enumerate(moments if known and any(row["x"] is not None for row in known) else []):
            spine = [{"driver": driver, "t": at} for driver in (7, 8)]
            loop = recompute(spine, select_all(world.views[:1]), {"trips": known}, time="t")
            for told, offline in zip(loop, world.offline(at), strict=True):
                for name, value in told.items():
                    if name in FEATURES or name.startswith("n_"):
                        assert agree(value, offline[f"trips:{name}"], digits=9), (name, told, offline, known)
            if place < 2:
                world.assert_agree(at)
    world.context.ledger.close()
