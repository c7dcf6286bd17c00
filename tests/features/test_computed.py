from __future__ import annotations

import math
import struct
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import trivet as tv
from trivet.errors import Invalid, NotFound
from trivet.features import resolve
from trivet.features.computed import Computation
from trivet.features.reader import FeatureVector
from trivet.features.training_set import build
from trivet.types import to_micros

NOON = datetime(2013, 1, 1, 12, tzinfo=UTC)
PLACE = tv.Entity("place", key="place")
WEATHER = tv.FeatureView(
    "weather", entity=PLACE, source=tv.Source("w", event_time="hour"), features=["wind", "rain", "sky", "calm"]
)


@tv.on_demand(inputs=[WEATHER], request={"minute": "int", "note": "string", "since": "time"})
def mixed(wind, rain, sky: str, calm, minute, note, since):
    known = np.array([a is not None for a in sky], bool)
    return {
        "ratio": np.log1p(np.abs(wind)) / rain + np.sin(minute),
        "wet": (rain > 0.5) & known,
        "minutes": np.where(np.isnan(minute), -1, minute).astype(np.int64) + np.where(calm > 0, 1, 0),
        "label": np.array([None if a is None or b is None else a + b for a, b in zip(sky, note, strict=True)], object),
        "hour": since.astype("datetime64[h]"),
    }


@tv.on_demand(inputs=[mixed, "weather:wind"])
def chained(ratio, label, wet, wind):
    return {"sum": ratio + wind * wet, "long": np.array([a is not None and len(a) > 3 for a in label], bool)}


FLOATS = st.none() | st.floats(allow_nan=False, width=64) | st.sampled_from([0.0, -0.0, 1e308, 5e-324])
TEXTS = st.none() | st.text(max_size=5)
ROW = st.fixed_dictionaries(
    {
        "wind": FLOATS,
        "rain": FLOATS,
        "sky": TEXTS,
        "calm": st.none() | st.booleans(),
        "minute": st.none() | st.integers(-(2**50), 2**50),
        "note": TEXTS,
        "since": st.none() | st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),
    }
)
SCHEMA = {
    "wind": pl.Float64,
    "rain": pl.Float64,
    "sky": pl.String,
    "calm": pl.Boolean,
    "minute": pl.Int64,
    "note": pl.String,
    "since": pl.Datetime("us", "UTC"),
}
READ = ("wind", "rain", "sky", "calm")


def trained(selection, rows):
    frame = pl.DataFrame(rows, SCHEMA).rename({name: f"weather:{name}" for name in READ})
    return {name: series.to_list() for name, series in Computation(selection).columns(frame).items()}


def served(selection, rows):
    vectors = [
        FeatureVector(
            {f"weather:{name}": row[name] for name in READ},
            dict.fromkeys(names(selection), 0),
            dict.fromkeys(names(selection), "present"),
        )
        for row in rows
    ]
    Computation(selection).fill(vectors, [{}] * len(rows), rows, 7)
    return {name: [vector.values[name] for vector in vectors] for name in vectors[0].values}


def names(selection):
    return [each.reference for each in selection.read]


def bits(value):
    return struct.pack("d", value) if isinstance(value, float) else (type(value), value)


@settings(max_examples=60, deadline=None)
@given(st.lists(ROW, min_size=1, max_size=9))
def test_training_and_serving_agree_to_the_last_bit(rows):
    selection = resolve([mixed, chained])
    table = trained(selection, rows)
    assert list(table) == [each.reference for each in selection.columns]
    together, alone = served(selection, rows), [served(selection, [row]) for row in rows]
    for name, values in table.items():
        assert [*map(bits, values)] == [*map(bits, together[name])] == [bits(one[name][0]) for one in alone]


def test_values_are_what_plain_python_gives():
    row = {"wind": 3.0, "rain": 2.0, "sky": "blue", "calm": True, "minute": 5, "note": "!", "since": NOON}
    [made] = [served(resolve([mixed, chained]), [row])]
    assert made["mixed:ratio"] == [math.log1p(3.0) / 2.0 + math.sin(5)]
    assert (made["mixed:wet"], made["mixed:minutes"], made["mixed:label"]) == ([True], [6], ["blue!"])
    assert made["mixed:hour"] == [NOON]
    assert made["chained:long"] == [True]


def test_status_and_times_say_when_it_was_computed():
    row = dict.fromkeys(SCHEMA)
    vector = FeatureVector({f"weather:{name}": None for name in READ}, {}, {})
    vector.times, vector.status = dict.fromkeys(vector.values, 0), dict.fromkeys(vector.values, "missing")
    Computation(resolve(["weather:wind", mixed], lambda _: WEATHER)).fill([vector], [{}], [row], 7)
    assert vector.values.keys() == {"weather:wind", *(f"mixed:{name}" for name in mixed.outputs)}
    assert (vector.status["mixed:ratio"], vector.status["mixed:wet"]) == ("missing", "present")
    assert (vector.times["mixed:ratio"], vector.times["weather:wind"]) == (7, 0)


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({"minute": 1, "note": "x"}, "'mixed' needs the request value 'since'"),
        ({"minute": "1", "note": "x", "since": None}, "minute is '1', and a number is expected"),
        ({"minute": 1, "note": 2, "since": None}, "note is 2, and text is expected"),
        ({"minute": 1, "note": None, "since": 3}, "since is 3, and a time is expected"),
        ({"minute": 1, "note": None, "since": "2013-01-01T00:00"}, "has no time zone"),
    ],
)
def test_request_values_that_do_not_fit_are_refused(row, sentence):
    with pytest.raises(Invalid, match=sentence):
        served(resolve([mixed]), [dict.fromkeys(READ) | row])


@tv.on_demand(inputs=["weather:wind"])
def centred(wind):
    return {"off": wind - wind.mean()} if len(wind) else {"off": wind}


@tv.on_demand(inputs=["weather:sky"])
def doubled(sky):
    return {"twice": sky * 2}


def table(view, **columns):
    return Computation(resolve([view], lambda _: WEATHER)).columns(pl.DataFrame(columns))


def test_a_function_that_mixes_rows_is_found_out():
    with pytest.raises(Invalid, match=r"for a row among others and .* for the same row alone"):
        table(centred, **{"weather:wind": [1.0, 2.0, 4.0]})


def test_a_column_of_another_type_says_how_to_annotate():
    with pytest.raises(Invalid, match=r"holds text and .* takes it as number. Annotate its parameter with str"):
        table(doubled, **{"weather:sky": ["a"]})


def test_an_empty_table_has_empty_columns():
    frame = pl.DataFrame(schema={f"weather:{name}": SCHEMA[name] for name in READ} | SCHEMA)
    made = Computation(resolve([mixed])).columns(frame)
    assert [str(series.dtype) for series in made.values()] == [
        "Float64", "Boolean", "Int64", "String", "Datetime(time_unit='us', time_zone='UTC')"
    ]  # fmt: skip


DATA = pl.DataFrame(
    {
        "place": ["Graz", "Linz"],
        "hour": [NOON - timedelta(hours=1)] * 2,
        "wind": [2.0, 0.0],
        "rain": [4.0, 1.0],
        "sky": ["grey", None],
        "calm": [True, None],
    }
)
SPINE = pl.DataFrame({"place": ["Linz", "Graz", "Rome"], "t": [NOON] * 3, "minute": [1, 2, 3]})


@tv.on_demand(inputs=[WEATHER], request={"minute": "int"})
def speed(rain, wind, minute):
    return {"wet_wind": rain / wind, "later": minute + 1}


def test_a_training_set_has_what_was_asked_for_in_that_order():
    views = {"weather": WEATHER, "speed": speed}
    made = build(SPINE, {"w": DATA}, views, features=["speed:later", "weather:rain", "speed:wet_wind"], time="t")
    assert made.to_polars().columns == ["place", "t", "minute", "later", "rain", "wet_wind"]
    assert made.to_polars()["wet_wind"].to_list() == [None, 2.0, None]
    assert made.report.nulls == {"later": 0, "rain": 1, "wet_wind": 2}
    assert (made.features[0].feature, made.features[0].view) == ("speed:later", speed.digest)
    assert made.definitions == {"weather": WEATHER.digest, "speed": speed.digest}


def test_a_spine_without_a_request_value_is_told_so():
    with pytest.raises(NotFound, match=r"called 'minute'.*On-demand view 'speed' asks for it"):
        build(
            SPINE.drop("minute"), {"w": DATA}, {"weather": WEATHER, "speed": speed}, features=["speed:later"], time="t"
        )


def test_the_store_and_the_training_set_agree(tmp_path):
    weather = WEATHER.bound({"w": DATA})
    with tv.open(tmp_path) as project:
        project.define(weather, speed)
        made = project.training_set(SPINE, ["speed", "weather:rain"], time="t").to_polars()
        project.materialize(until=NOON)
        keys, sent = SPINE.select("place").to_dicts(), SPINE.select("minute").to_dicts()
        vectors = project.online_features(["speed", "weather:rain"], keys, at=NOON, request=sent)
        for name in ("wet_wind", "later"):
            assert [vector.values[f"speed:{name}"] for vector in vectors] == made[name].to_list()
        assert vectors[0].values.keys() == {"speed:wet_wind", "speed:later", "weather:rain"}
        [one] = project.online_features([speed], {"place": "Graz"}, at=NOON, request={"minute": 2})
        assert one.values == {"speed:wet_wind": 2.0, "speed:later": 3.0}
        assert one.times["speed:later"] == to_micros(NOON)


def test_what_is_computed_says_which_input_is_why_online_and_in_a_frame(tmp_path):
    place = tv.Entity("place")
    rows = pl.DataFrame({"place": ["A", "B"], "at": ["2026-01-05T10:00Z", "2026-01-04T10:00Z"], "temp": [1.0, 2.0]})
    first = tv.FeatureView(
        "first", entity=place, source=tv.Source("s", rows, event_time="at"), features=["temp"], ttl="6h"
    )
    never = tv.FeatureView(
        "never", entity=place, source=tv.Source("n", rows, event_time="at"), features={"t": tv.latest("temp")}
    )

    @tv.on_demand(inputs=[first])
    def double(temp):
        return {"twice": temp * 2}

    @tv.on_demand(inputs=[double, never])
    def both(twice, t):
        return {"sum": twice + t}

    with tv.open(tmp_path) as project:
        project.define(both)
        project.materialize("first", until="2026-01-05T12:00Z")
        asked, at = pl.DataFrame({"place": ["A", "B", "C"]}), "2026-01-05T12:00Z"
        frame = project.online_frame(["double:twice", "both:sum"], asked, at=at, status=True, times=True)
        assert frame["twice__status"].to_list() == ["present", "expired", "missing"]
        assert frame["sum__status"].to_list() == ["unmaterialized"] * 3
        vectors = project.online_features(["double:twice", "both:sum"], asked, at=at)
        assert [each.status["double:twice"] for each in vectors] == frame["twice__status"].to_list()
        assert [each.status["both:sum"] for each in vectors] == frame["sum__status"].to_list()
        assert frame["sum__time"].to_list() == [tv.types.as_utc(at)] * 3
        project.materialize("never", until=at)
        frame = project.online_frame("both:sum", asked, at=at, status=True)
        assert frame["sum__status"].to_list() == ["present", "expired", "missing"]
