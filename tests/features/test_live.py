from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trivet.features import Entity, FeatureView, Source, count, latest, mean, std
from trivet.features.live import Arrived, LiveView, decode_state, leaders, why_not
from trivet.features.online.contract import Batch
from trivet.features.online.encoding import encode_key
from trivet.features.online.memory import MemoryStore
from trivet.features.push import states
from trivet.features.tiles import Event, Nodes

events = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9)), max_size=12).map(
    lambda times: [Event(*each, order, (order,)) for order, each in enumerate(times)]
)
KEY = b"\x91\xa3JFK"
TABLE = Source("flights", "tables/flights", event_time="dep", created="created", column_times={"arr": "arrived"})


def winner(candidates, moment):
    return max((each for each in candidates if max(each[:3]) <= moment), default=None)


@settings(max_examples=200, deadline=None, database=None)
@given(events, events, st.integers(0, 12), st.integers(0, 3))
def test_who_is_kept_wins_whenever_it_is_asked_later(first, more, settled, ahead):
    more = [each._replace(created=each.created + 20, order=each.order + 100) for each in more]
    kept = leaders([*leaders(first, settled), *more], settled + ahead)
    for moment in range(settled + ahead, 40):
        assert winner(kept, moment) == winner([*first, *more], moment)


def test_features_share_events_where_they_have_the_same_times_and_condition():
    features = {
        "n": count(["1h", "1d"]),
        "m": mean("delay", "1h", lag="1d"),
        "s": std("arr", "1h"),
        "d": latest("delay"),
    }
    features |= {"late": count("1h", where="delay > 15"), "c": latest("carrier"), "a": latest("arr", skip_nulls=True)}
    live = LiveView(FeatureView("v", entity=Entity("origin"), source=TABLE, features=features))
    assert [(each.columns, each.where, each.reach // 3_600_000_000) for each in live.series] == [
        (("delay",), None, 25),
        (("arr",), None, 1),
        ((), "delay > 15", 1),
    ]
    assert [(each.columns, each.only) for each in live.contests] == [(("delay", "carrier"), None), (("arr",), "arr")]


def test_only_what_is_asked_for_is_worked_out():
    view = FeatureView("v", entity=Entity("origin"), source=TABLE, features={"n": count("1h"), "d": latest("delay")})
    live, event = LiveView(view), Event(5, 5, 5, 0, ())
    arrived = Arrived([[event]], [[event._replace(values=(1.5,))]], set())
    [(_, data)] = live.folded(KEY, None, arrived, 5, Nodes()).rows
    assert live.row(data, 10).values == [1, 1.5]
    assert live.row(data, 10, [1]).values == [None, 1.5]
    [(_, again)] = live.folded(KEY, data, arrived, 7, Nodes()).rows
    assert (decode_state(again).as_of, live.row(again, 10)) == (7, live.row(data, 10))


def test_nodes_of_tiles_that_no_window_reaches_are_removed_by_the_next_push():
    view = FeatureView("v", entity=Entity("origin"), source=TABLE, features={"n": count("1h")})
    live, store, hour = LiveView(view), MemoryStore(), 3_600_000_000
    sizes = []
    for number in range(40):
        now = number * hour // 4
        events = [Event(now - i * 10**6, now - i * 10**6, now, i, ()) for i in range(600)]
        for made in states(live, {KEY: Arrived([events], [], set())}, now, store):
            sizes.append(len(made.rows))
            if made.gone:
                assert store.erase(live.name, made.gone) == len(made.gone)
            store.put([Batch(live.name, made.rows, now, now, watermark=now)])
    left = live.beside(store, [KEY])
    [found] = store.get([(live.name, [encode_key(key) for key in left])])
    assert all(found.rows)
    assert 0 < len(left) < 70 < 400 < sum(sizes)
    assert store.erase(live.name, left) == len(left)
    assert live.beside(MemoryStore(), [KEY]) == []


@pytest.mark.parametrize(
    ("source", "entity", "match"),
    [
        (
            Source("q", sql="SELECT * FROM flights", inputs=[TABLE], event_time="dep", known_after="0s"),
            "origin",
            "made by a query",
        ),
        (Source("flights", "flights.parquet", event_time="dep"), "origin", "no table of the project"),
        (FeatureView("w", entity=Entity("dest"), source=TABLE, features=["delay"]), "origin", "other keys"),
        (FeatureView("w", entity=Entity("origin"), source=TABLE, features=["air"]), "origin", "reads 'delay'"),
    ],
)
def test_why_a_view_waits_for_materialize(source, entity, match):
    assert match in why_not(FeatureView("v", entity=Entity(entity), source=source, features=["delay"]))
    assert why_not(FeatureView("v", entity=Entity("origin"), source=TABLE, features=["delay"])) is None
