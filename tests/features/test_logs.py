"""Views as sources, against the plain loop over the plain loop's answers."""

from __future__ import annotations

from datetime import timedelta

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trivet.errors import Invalid
from trivet.features import Entity, FeatureView, Source, aggregates, select_all
from trivet.features.engines.local import LocalEngine
from trivet.features.materialize import Materializer
from trivet.features.online.memory import MemoryStore
from trivet.features.point_in_time import _times, feature_value, recompute
from trivet.features.reader import FeatureReader
from trivet.features.sources import snapshots_of
from trivet.features.training_set import training_set
from trivet.testing.engines import SCHEMA, SPINE, assert_same, moments, tables, views
from trivet.types import as_utc, from_micros, to_micros

NOON = as_utc("2013-01-01T12:00:00Z")
CITY = Entity("city")


def slow_log(view, rows):
    """For each key and each moment at which a row becomes known, what is known: in plain Python."""
    names = view.entity.keys
    moments_of = set()
    for row in rows:
        key = tuple(row[name] for name in names)
        columns = {column for feature in view.features.values() for column in feature.columns or (None,)}
        for column in columns:
            times = _times(row, view.source, aggregates.count("1h") if column is None else aggregates.latest(column))
            if times is not None and None not in key:
                moments_of.add((max(times), key))
    return [
        dict(zip(names, key, strict=True))
        | {"e": from_micros(at)}
        | {name: feature_value(rows, view, name, key, at) for name in view.features}
        for at, key in sorted(moments_of)
    ]


_outer = st.fixed_dictionaries(
    {
        "n": st.integers(1, 6).map(lambda hours: aggregates.count(f"{hours}h")),
        "f": st.one_of(
            st.builds(lambda ttl: aggregates.latest("f0", ttl=ttl), st.sampled_from([None, "2h"])),
            st.integers(1, 8).map(lambda hours: aggregates.last("f0", f"{hours}h")),
            st.integers(1, 8).map(lambda hours: aggregates.nunique("f0", f"{hours}h")),
        ),
    }
)
_spine = st.lists(
    st.fixed_dictionaries({"a": st.sampled_from([1, 2, 11]), "b": st.sampled_from([1, 12]), "t": moments}), max_size=6
)


@settings(max_examples=80, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
@given(views().filter(lambda view: "f0" in view.features), _outer, tables(12), _spine)
def test_a_view_on_a_view_agrees_with_the_plain_loop(inner, features, rows, spine):
    outer = FeatureView("outer", entity=inner.entity, source=inner, features=features)
    frame = pl.DataFrame(rows, SCHEMA)
    answer = (
        LocalEngine().point_in_time(pl.DataFrame(spine, SPINE), select_all([outer]), {"events": frame}, time="t").frame
    )
    expected = recompute(spine, select_all([outer]), {outer.source.name: slow_log(inner, rows)}, time="t")
    if inner.features["f0"].operation != "std":
        assert_same(select_all([outer]), answer, expected)


@settings(max_examples=40, deadline=None, database=None)
@given(tables(10), _spine)
def test_a_view_on_a_view_on_a_view(rows, spine):
    one = FeatureView(
        "one",
        entity=Entity("plain", key="a"),
        source=Source("events", event_time="e", known_at="k", created="c"),
        features={"m": aggregates.last("i", "6h")},
    )
    two = FeatureView("two", entity=one.entity, source=one, features={"g": aggregates.count("m", "9h")})
    three = FeatureView("three", entity=one.entity, source=two, features={"h": aggregates.max("g", "12h")})
    answer = (
        LocalEngine()
        .point_in_time(
            pl.DataFrame(spine, SPINE), select_all([three]), {"events": pl.DataFrame(rows, SCHEMA)}, time="t"
        )
        .frame
    )
    log = slow_log(two, slow_log(one, rows))
    assert_same(select_all([three]), answer, recompute(spine, select_all([three]), {"two": log}, time="t"))


def weather(**options):
    hours = [NOON + timedelta(hours=n) for n in range(4)]
    rows = pl.DataFrame({"city": ["NYC"] * 4, "hour": hours, "temp": [1.0, 2.0, 3.0, 4.0]})
    source = Source("w", rows, event_time="hour", known_after="1h", **options)
    return FeatureView("w", entity=CITY, source=source, features={"mean": aggregates.mean("temp", "3h")})


def test_the_log_is_called_like_its_source_and_told_when_it_is_known():
    view = weather()
    source = Source.of_view(view)
    assert (source.name, source.times.event, source.leaves) == ("w", "hour", (view.source,))
    last = FeatureView("last", entity=CITY, source=view, features=["mean"])
    spine = pl.DataFrame({"city": ["NYC"], "t": [NOON + timedelta(hours=2)]})
    frame = LocalEngine().point_in_time(spine, select_all([last]), snapshots_of([last.source]), time="t").frame
    assert frame["mean"].to_list() == [1.5]  # at 14:00 the reports of 12:00 and 13:00 are known


def test_queries_may_read_the_log_of_a_view():
    query = Source("q", sql="SELECT city, hour, mean * 2 AS double FROM w", inputs=weather(), event_time="hour")
    view = FeatureView("v", entity=CITY, source=query, features=["double"])
    spine = pl.DataFrame({"city": ["NYC"], "t": [NOON + timedelta(hours=2)]})
    frame = LocalEngine().point_in_time(spine, select_all([view]), snapshots_of([query]), time="t").frame
    assert frame["double"].to_list() == [3.0]


def test_of_a_static_source_the_log_is_one_row_for_each_key():
    planes = pl.DataFrame({"city": ["a", "b", "a", None], "seats": [1, 2, 3, 4]})
    inner = FeatureView("inner", entity=CITY, source=Source("p", planes), features=["seats"])
    outer = FeatureView("outer", entity=CITY, source=inner, features=["seats"])
    spine = pl.DataFrame({"city": ["a", "b", "c"], "t": [NOON] * 3})
    frame = LocalEngine().point_in_time(spine, select_all([outer]), {"p": planes}, time="t").frame
    assert frame["seats"].to_list() == [3, 2, None]
    with pytest.raises(Invalid, match="has no event_time"):
        FeatureView("outer", entity=CITY, source=inner, features={"n": aggregates.count("1h")})


def test_it_comes_back_from_json_and_the_words_of_the_inner_view_do_not_count():
    def outer(**words):
        inner = FeatureView("inner", entity=CITY, source=Source("p", "p.csv"), features=["seats"], **words)
        return FeatureView("outer", entity=CITY, source=inner, features=["seats"])

    assert FeatureView.from_spec(outer().to_spec()) == outer()
    assert outer(description="words", owner="ada", tags=["x"]).digest == outer().digest


def test_names_that_would_collide_in_the_log_are_refused():
    inner = FeatureView("v", entity=CITY, source=Source("s", event_time="at"), features=["at"])
    with pytest.raises(Invalid, match="'at' of view 'v' is called like a key or the time"):
        FeatureView("outer", entity=CITY, source=inner, features=["at"])


def test_training_and_serving_agree_on_it(context):
    last = FeatureView(
        "last", entity=CITY, source=weather(), features={"n": aggregates.count("2h"), "m": aggregates.latest("mean")}
    )
    at = NOON + timedelta(hours=3)
    made = training_set(context, pl.DataFrame({"city": ["NYC"], "t": [at]}), [last], time="t")
    store = MemoryStore()
    Materializer([last], snapshots_of([last.source]), store).advance(at)
    (vector,) = FeatureReader(select_all([last]), store)([{"city": "NYC"}], to_micros(at))
    assert list(vector.values.values()) == list(made.to_polars().select("n", "m").row(0))
    assert made.run.inputs.keys() == {"spine", "sources.w", "views.last"}
