from __future__ import annotations

import math
import multiprocessing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import trivet as tv
from tests.servers import redis_server
from trivet.errors import Corrupt, Invalid, NotFound
from trivet.features import Entity, FeatureView, Source, select_all
from trivet.features.batch import read_frame
from trivet.features.catalogue import Catalogue
from trivet.features.engines.local import LocalEngine
from trivet.features.live import LiveView, decode_state, live_name, why_not
from trivet.features.materialize import Materializer
from trivet.features.online.contract import Batch
from trivet.features.online.encoding import as_of, encode_key
from trivet.features.online.memory import MemoryStore
from trivet.features.online.redis import RedisStore
from trivet.features.point_in_time import agree, recompute
from trivet.features.push import Push, news, seeds, states
from trivet.features.reader import FeatureReader
from trivet.features.tables import EventTables
from trivet.features.training_set import training_set
from trivet.testing.engines import SCHEMA, START, tables, views
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
    return [
        (hour, [{**row, "c": START + timedelta(minutes=30 * hour)} for row in piece])
        for hour, piece in zip(hours, pieces, strict=True)
    ]


def push(store, view, everything):
    """What ``Push`` does with the rows of a table."""
    live = LiveView(view)
    mark = store.watermark(live.name)
    rows = pl.DataFrame(everything, SCHEMA).sort("c", maintain_order=True)
    if rows.is_empty():
        return
    arrived = rows["c"].to_physical()
    position = arrived.max()
    found = seeds(live, rows, position) if mark is None else news(live, rows.filter(arrived > mark), position)
    for made in states(live, found, position, store):
        store.erase(live.name, made.gone)
        oldest = min(as_of(data) for _, data in made.rows)
        store.put([Batch(live.name, made.rows, oldest, position)])
    store.put([Batch(live.name, [], watermark=position)])


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


_over = st.fixed_dictionaries(
    {
        "n": st.sampled_from([tv.count("3h"), tv.count("9h", where="f0 is not null")]),
        "f": st.one_of(
            st.builds(
                lambda ttl, skip: tv.latest("f0", ttl=ttl, skip_nulls=skip),
                st.sampled_from([None, "2h"]),
                st.booleans(),
            ),
            st.integers(1, 8).map(lambda hours: tv.last("f0", f"{hours}h")),
            st.integers(1, 8).map(lambda hours: tv.nunique("f0", f"{hours}h", lag="1h")),
        ),
    }
)


@settings(max_examples=60, deadline=None, database=None)
@given(
    views().map(of_a_table).filter(lambda view: "f0" in view.features and view.features["f0"].operation != "std"),
    _over,
    st.booleans(),
    arrivals(),
    st.lists(st.integers(0, 60), max_size=2),
)
def test_a_view_on_a_pushed_view_is_offline_at_every_moment(inner, features, deeper, pushes, later):
    """Also of what is still to come, and of a view on the view on the view."""
    view = FeatureView("view", entity=inner.entity, source=inner, features=features)
    if deeper:
        view = FeatureView(
            "view", entity=inner.entity, source=view, features={"m": tv.count("5h"), "g": tv.latest("f")}
        )
    if why_not(view) is not None:
        return
    store, known = MemoryStore(), []
    for half_hours, rows in pushes:
        known += rows
        push(store, view, known)
        if store.watermark(LiveView(view).name) is None:
            continue
        for ahead in (0, *later):
            at, frame = START + timedelta(minutes=30 * (half_hours + ahead)), pl.DataFrame(known, SCHEMA)
            spine = pl.DataFrame(
                [{**key, "t": at} for key in KEYS], {"a": pl.Int64, "b": pl.Int64, "t": pl.Datetime("us", "UTC")}
            )
            joined = LocalEngine().point_in_time(spine, select_all([view]), {"events": frame}, time="t").frame
            vectors = FeatureReader(select_all([view]), store)(KEYS, to_micros(at))
            for row, vector in zip(joined.to_dicts(), vectors, strict=True):
                for name in view.features:
                    assert agree(vector.values[f"view:{name}"], row[name]), (row, vector, known, at)


# --- with a table, as a project has it --------------------------------------------------------------------------------

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
ORIGIN = Entity("origin")
FEATURES = {
    "n": tv.count(["10m", "2h"]),
    "late": tv.count("2h", where="delay > 15"),
    "delay": tv.mean("delay", ["10m", "2h"]),
    "total": tv.sum("delay", "2h", lag="30m"),
    "spread": tv.std("delay", "2h"),
    "half": tv.quantile("delay", 0.5, "2h"),
    "least": tv.min("delay", "1h"),
    "carriers": tv.nunique("carrier", "2h"),
    "by": tv.count("1h", by="carrier", values=["AA", "UA"]),
    "newest": tv.latest("delay", ttl="20m"),
    "before": tv.latest("carrier", lag="15m"),
}


class Airport:
    """A project whose clock is told what time it is."""

    def __init__(self, context, store):
        self.now = NOON
        self.context = replace(context, clock=lambda: self.now)
        self.store = store
        self.tables = EventTables(self.context, lambda: store)
        self.tables.create("flights", key="flight", event_time="dep", keep="first")
        self.push = Push(self.context, self.tables, store)

    def define(self, features=FEATURES, name="congestion"):
        view = FeatureView(name, entity=ORIGIN, source=self.tables.source("flights"), features=features)
        Catalogue(self.context).apply(view)
        return view.anchored(self.context.root)

    def online(self, view, origin="JFK", at=None):
        [vector] = FeatureReader(select_all([view]), self.store)([{"origin": origin}], to_micros(at or self.now))
        return {name.partition(":")[2]: value for name, value in vector.values.items()}


def flight(number, dep, delay=1.0, origin="JFK", carrier="AA"):
    return {"flight": number, "origin": origin, "dep": dep, "delay": delay, "carrier": carrier}


@pytest.fixture
def airport(context):
    return Airport(context, MemoryStore())


def test_a_replay_of_single_pushes_is_the_training_set(airport):
    chance = Random(1)
    airport.push("flights", flight(-1, NOON - timedelta(hours=1)))
    view, asked, seen = airport.define(), [], []
    for number in range(60):
        airport.now += timedelta(seconds=chance.randrange(1, 400))
        dep = airport.now - timedelta(seconds=chance.choice([0, 0, 0, 5, 600, 4000]))
        delay = chance.choice([None, 0.1, chance.gauss(10, 20), 1e16])
        airport.push("flights", flight(number, dep, delay, chance.choice(["JFK", "LGA"]), chance.choice(["AA", "UA"])))
        for ahead in (0, 1, 777):
            at = airport.now + timedelta(seconds=ahead)
            for origin in ("JFK", "LGA", "EWR"):
                if ahead < 2:  # what arrives within the 777 seconds is in the training set as well
                    asked.append({"origin": origin, "t": at})
                    seen.append(airport.online(view, origin, at))
    offline = training_set(airport.context, pl.DataFrame(asked), [view], time="t").to_polars()
    for row, values in zip(offline.to_dicts(), seen, strict=True):
        assert all(agree(values[name], row[name]) for name in values), (values, row)


def test_a_push_that_died_before_the_store_is_completed_by_the_next(airport, monkeypatch):
    airport.push("flights", flight(0, NOON))
    view = airport.define({"n": tv.count("1d"), "total": tv.sum("delay", "1d")})
    airport.push("flights", [])
    airport.now += timedelta(seconds=10)
    with monkeypatch.context() as broken:
        broken.setattr(airport.store, "put", lambda batches: (_ for _ in ()).throw(OSError("killed")))
        with pytest.raises(OSError, match="killed"):
            airport.push("flights", flight(1, NOON))
    assert airport.online(view) == {"n": 1, "total": 1.0}
    again = airport.push("flights", flight(1, NOON))
    assert (again.table.new, again.table.repeated, again.updated) == (0, 1, {"congestion": 1})
    assert airport.online(view) == {"n": 2, "total": 2.0}
    assert airport.push("flights", flight(1, NOON)).updated == {"congestion": 0}


def test_a_pusher_that_comes_late_with_less_changes_nothing(airport):
    airport.push("flights", flight(0, NOON))
    view = airport.define({"n": tv.count("1d")})
    live, key = LiveView(view), b"\x91\xa3JFK"
    airport.push("flights", [])
    [old] = airport.store.get([(live.name, [key])])
    airport.now += timedelta(seconds=10)
    airport.push("flights", flight(1, NOON))
    before = to_micros(NOON)
    assert airport.store.put([Batch(live.name, [(key, old.rows[0])], before, before, watermark=before)]) == [0]
    assert airport.online(view) == {"n": 2}


def test_reading_tells_when_it_is_asked_about_the_past(airport):
    airport.push("flights", flight(0, NOON))
    view = airport.define({"n": tv.count("1d")})
    airport.push("flights", [])
    assert airport.online(view, at=NOON - timedelta(seconds=59)) == {"n": 0}
    with pytest.raises(Invalid, match="cannot say what was known at"):
        airport.online(view, at=NOON - timedelta(seconds=61))


def test_what_no_window_reaches_is_forgotten_and_what_may_lead_is_kept(airport):
    airport.push("flights", flight(0, NOON))
    view = airport.define({"n": tv.count("10m"), "next": tv.latest("delay")})
    for number in range(1, 100):
        airport.now += timedelta(minutes=1)
        airport.push("flights", flight(number, airport.now, float(number)))
    airport.push("flights", flight(100, airport.now + timedelta(hours=1), 100.0))
    [found] = airport.store.get([(live_name(view), [b"\x91\xa3JFK"])])
    state = decode_state(found.rows[0])
    assert sum(tile.rows for tile in state.series[0]) <= 14
    assert airport.online(view) == {"n": 10, "next": 99.0}
    assert airport.online(view, at=airport.now + timedelta(hours=1)) == {"n": 0, "next": 100.0}


def test_older_versions_and_views_by_other_keys_are_kept_up_too(airport):
    airport.push("flights", flight(0, NOON))
    old = airport.define({"n": tv.count("1d")})
    airport.push("flights", [])
    new = airport.define({"n": tv.count("1d"), "m": tv.count("2d")})
    carriers = FeatureView(
        "carriers", entity=Entity("carrier"), source=airport.tables.source("flights"), features=["delay"]
    )
    Catalogue(airport.context).apply(carriers)
    airport.now += timedelta(seconds=10)
    assert airport.push("flights", flight(1, NOON)).updated == {"congestion": 1, "carriers": 1}
    assert (airport.online(old), airport.online(new)) == ({"n": 2}, {"n": 2, "m": 2})


def test_erasure_takes_the_events_out_of_all_states(airport):
    airport.push("flights", [flight(0, NOON), flight(1, NOON, carrier="UA"), flight(2, NOON, origin="LGA")])
    view = airport.define({"n": tv.count("1d")})
    carriers = FeatureView(
        "carriers", entity=Entity("carrier"), source=airport.tables.source("flights"), features={"n": tv.count("1d")}
    ).anchored(airport.context.root)
    Catalogue(airport.context).apply(carriers)
    airport.push("flights", [])
    airport.tables.erase("flights", {"origin": "JFK"}, why="asked")
    airport.now += timedelta(seconds=10)
    airport.push("flights", flight(3, NOON))
    assert [airport.online(view, origin) for origin in ("JFK", "LGA")] == [{"n": 1}, {"n": 1}]
    [vector] = FeatureReader(select_all([carriers]), airport.store)([{"carrier": "AA"}], to_micros(airport.now))
    assert vector.values == {"carriers:n": 2}


def test_erasure_takes_the_rows_beside_a_state_as_well(airport):
    airport.push("flights", [flight(n, NOON - timedelta(seconds=n % 300), origin="JFK") for n in range(900)])
    view = airport.define({"n": tv.count("1d")})
    airport.push("flights", [])
    live, key = LiveView(view), b"\x91\xa3JFK"
    beside = [encode_key(each) for each in live.beside(airport.store, [key])]
    assert beside
    airport.tables.erase("flights", {"origin": "JFK"}, why="asked")
    [left] = airport.store.get([(live.name, [key, *beside])])
    assert not any(left.rows)


def test_only_tables_are_pushed_to(airport):
    with pytest.raises(NotFound, match="orders"):
        airport.push("orders", {"order": 1})
    with pytest.raises(Invalid, match="is not the table of that name"):
        airport.push(Source("flights", "flights.parquet"), flight(0, NOON))
    airport.push(airport.tables.source("flights"), flight(0, NOON))
    assert airport.tables.read("flights").height == 1


def test_bytes_that_are_no_state_are_told(airport):
    with pytest.raises(Corrupt, match="no state"):
        decode_state(b"\x93\x01")


def test_a_key_of_another_type_is_told(airport):
    airport.push("flights", flight(0, NOON))
    view = FeatureView(
        "odd", entity=Entity("flight", type="string"), source=airport.tables.source("flights"), features=["delay"]
    )
    Catalogue(airport.context).apply(view)
    with pytest.raises(Invalid, match="flight"):
        airport.push("flights", flight(1, NOON))
    assert airport.tables.read("flights").height == 2


def test_redis_keeps_states_as_well(context):
    with redis_server() as server:
        airport = Airport(context, RedisStore(f"redis://127.0.0.1:{server.port}/0", project="push"))
        airport.push("flights", flight(0, NOON))
        view = airport.define()
        for number in range(1, 20):
            airport.now += timedelta(seconds=30)
            airport.push("flights", flight(number, airport.now, math.sqrt(number)))
        spine = pl.DataFrame({"origin": ["JFK"], "t": [airport.now]})
        [row] = training_set(airport.context, spine, [view], time="t").to_polars().to_dicts()
        online = airport.online(view)
        assert all(agree(online[name], row[name]) for name in online)
        airport.store.close()


# --- as a project ---------------------------------------------------------------------------------------------------


def push_some(folder, start):
    with tv.open(folder) as project:
        for number in range(start, start + 8):
            project.push("flights", flight(number, datetime.now(UTC), float(number)))


def a_project(folder):
    project = tv.open(folder)
    project.tables.create("flights", key="flight", event_time="dep", keep="first")
    project.push("flights", flight(-1, datetime.now(UTC), 0.0))
    view = FeatureView("congestion", entity=ORIGIN, source=project.tables.source("flights"), features=FEATURES)
    project.define(view)
    return project, view


def test_several_processes_push_at_once_and_nothing_is_lost(tmp_path):
    project, view = a_project(tmp_path)
    spawn = multiprocessing.get_context("spawn")
    pushers = [spawn.Process(target=push_some, args=(tmp_path, start)) for start in (0, 100, 200)]
    for each in pushers:
        each.start()
    for each in pushers:
        each.join()
    [vector] = project.online_features([view], {"origin": "JFK"})
    assert vector.values["congestion:n_2h"] == 25
    assert project.tables.read("flights").height == 25
    project.close()


def test_materialize_goes_on_where_pushes_stopped_and_counts_nothing_twice(tmp_path):
    project, view = a_project(tmp_path)
    project.push("flights", flight(0, datetime.now(UTC), 2.0))
    project.tables.ingest("flights", [flight(1, datetime.now(UTC), 4.0)])
    assert project.online_features([view], {"origin": "JFK"})[0].values["congestion:n_2h"] == 2
    project.materialize([view])
    values = project.online_features([view], {"origin": "JFK"})[0].values
    assert (values["congestion:n_2h"], values["congestion:delay_2h"]) == (3, 2.0)
    project.materializer([view], afresh=True)
    [vector] = project.online_features([view], {"origin": "JFK"})
    assert vector.status["congestion:n_2h"] == "unmaterialized"
    project.close()


def test_rows_that_materialization_leaves_out_count_in_no_push_and_stand_aside_once(tmp_path):
    project, view = a_project(tmp_path)
    source, now = project.tables.source("flights"), datetime.now(UTC)
    rules = [tv.expect("delay").between(-120, 3000), tv.expect("carrier", "dep").unique()]
    project.define(tv.Expectations(source, rules))
    good, bad = flight(0, now, 2.0), [flight(1, now, 9999.0, carrier="UA"), flight(2, now, 3.0)]
    project.tables.ingest("flights", [good, *bad], checks=lambda rows: None)  # let in unexamined
    assert project.push("flights", []).updated == {"congestion": 1}
    assert project.online_features([view], {"origin": "JFK"})[0].values["congestion:n_2h"] == 2
    reasons = project.tables.read("flights__refused").select(
        "reason", number=pl.col("row").str.json_path_match("$.flight")
    )
    assert sorted(reasons.rows()) == [
        ("expected: carrier, dep are together unique", "2"),
        ("expected: delay between -120 and 3000", "1"),
    ]
    project.materialize([view])
    assert project.tables.read("flights__refused").height == 2
    store = MemoryStore()
    guarded = project.quality.guard([view], None)
    Materializer([view], guarded.sources, store).advance(datetime.now(UTC))
    [batch] = FeatureReader(select_all([view]), store)([{"origin": "JFK"}], to_micros(datetime.now(UTC)))
    [pushed] = project.online_features([view], {"origin": "JFK"})
    assert batch.values == pushed.values
    project.close()


def test_the_answer_says_which_views_wait_for_materialize_and_why(tmp_path):
    project, view = a_project(tmp_path)
    query = tv.Source(
        "late", sql="SELECT * FROM flights WHERE delay > 15", inputs=view.source, event_time="dep", known_after="0s"
    )
    project.define(
        FeatureView("above", entity=ORIGIN, source=view, features={"most": tv.max("n_10m", "1h")}),
        FeatureView("queried", entity=ORIGIN, source=query, features={"n": tv.count("1h")}),
    )
    done = project.push("flights", flight(0, datetime.now(UTC), 20.0))
    assert done.updated == {"congestion": 1, "above": 1}
    assert done.waiting == {"queried": "its source 'late' is made by a query, which has to see all rows"}
    assert "queried waits for materialize: its source" in str(done)
    project.push("flights", flight(1, datetime.now(UTC), 2.0))
    spine = pl.DataFrame({"origin": ["JFK"], "t": [datetime.now(UTC)]})
    [row] = project.training_set(spine, ["above"], time="t").to_polars().to_dicts()
    assert project.online_features(["above"], {"origin": "JFK"})[0].values == {"above:most": row["most"]}
    project.tables.erase("flights", {"origin": "JFK"}, why="asked")
    assert project.online_features(["above"], {"origin": "JFK"})[0].values == {"above:most": None}
    project.close()
