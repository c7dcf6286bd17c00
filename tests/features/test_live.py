from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from trivet.features import Entity, FeatureView, Source, count, latest, mean, std
from trivet.features.live import LiveView, decode_state, leaders
from trivet.features.tiles import Event

events = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9)), max_size=12).map(
    lambda times: [Event(*each, order, (order,)) for order, each in enumerate(times)]
)
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
    data = live.folded(None, [[event], [event._replace(values=(1.5,))]], 5)
    assert live.row(data, 10).values == [1, 1.5]
    assert live.row(data, 10, [1]).values == [None, 1.5]
    again = live.folded(data, [[event], [event._replace(values=(1.5,))]], 7)
    assert (decode_state(again).as_of, live.row(again, 10)) == (7, live.row(data, 10))
