from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from trivet.features.aggregates import expand, latest, mean, quantile
from trivet.features.point_in_time import agree
from trivet.features.series.answers import Asked, Known, aligned, moments
from trivet.features.series.grid import Grid
from trivet.types import as_duration, to_micros

START = datetime(2026, 11, 20, tzinfo=UTC)
VALUES = st.none() | st.floats(-100, 100, allow_subnormal=False) | st.just(float("nan"))
TIME = pl.Datetime("us", "UTC")


def minute(number):
    return START + timedelta(minutes=number)


@st.composite
def panels(draw):
    """Values of two sensors at different minutes, each once."""
    rows = draw(st.dictionaries(st.tuples(st.sampled_from("ab"), st.integers(0, 300)), VALUES, max_size=12))
    ordered = sorted(rows.items())
    return [(sensor, minute(at), value) for (sensor, at), value in ordered]


def known(rows, series="x"):
    schema = {"sensor": pl.String, "time": TIME, series: pl.Float64}
    return Known(series, ("sensor",), pl.DataFrame(rows, schema=schema, orient="row"))


def value(rows, sensor, at, fill, gap, skip_nulls):
    """A series at a moment, by looking at all of its rows."""
    own = [(time, x) for who, time, x in rows if who == sensor and not (skip_nulls and x is None)]
    here = [x for time, x in own if time == at]
    before, after = [each for each in own if each[0] <= at], [each for each in own if each[0] >= at]
    match fill:
        case "none":
            return here[0] if here else None
        case "zero":
            return here[0] if here else 0.0
        case "previous":
            return before[-1][1] if before and (gap is None or before[-1][0] > at - gap) else None
        case _:
            if not before or not after:
                return None
            (low, left), (high, right) = before[-1], after[0]
            if left is None or right is None or (gap is not None and high - low > gap):
                return None
            return left if low == high else left + (right - left) * ((at - low) / (high - low))


@settings(max_examples=80, deadline=None)
@given(
    panels(),
    panels(),
    st.sampled_from(["previous", "none", "zero", "linear"]),
    st.sampled_from([None, "1m", "30m", "2h"]),
    st.booleans(),
    st.integers(-60, 200),
    st.integers(0, 200),
)
def test_each_rule_of_filling_is_what_a_look_at_all_rows_says(one, other, fill, gap, skip_nulls, start, length):
    both = {"p:x": known(one), "p:y": known(other, "y")}
    low, high = to_micros(minute(start)), to_micros(minute(start + length))
    spine = moments(both, Grid(as_duration("10m")), low, high)
    asked = {"x": Asked("p:x"), "y": Asked("p:y")}
    length = None if gap is None else as_duration(gap)
    found = aligned(spine, both, asked, fill=fill, max_gap=length, skip_nulls=skip_nulls)
    sensors = sorted({sensor for sensor, at, _ in [*one, *other] if at < minute(start + length_of(low, high))})
    grid = [minute(10 * k) for k in range(-20, 60) if low <= to_micros(minute(10 * k)) < high]
    assert found.select("sensor", "time").rows() == [(sensor, at) for sensor in sensors for at in grid]
    apart = None if gap is None else timedelta(microseconds=length)
    for row in found.rows(named=True):
        for name, rows in (("x", one), ("y", other)):
            wanted = value(rows, row["sensor"], row["time"], fill, apart, skip_nulls)
            assert agree(row[name], wanted, digits=9), (row, name, wanted)


def length_of(low, high):
    return (high - low) // 60_000_000


@settings(max_examples=30, deadline=None)
@given(panels(), st.sampled_from([None, "25m"]))
def test_windows_and_lags_are_those_of_features(rows, freq):
    features = expand(
        {"m": mean("x", ["1h", "3h"]), "top": quantile("x", 1, "2h", lag="30m"), "old": latest("x", lag="1h")}
    )
    asked = {name: Asked("p:x", each) for name, each in features.items()}
    own = {"p:x": known(rows)}
    spine = moments(own, None if freq is None else Grid(as_duration(freq)), None, None)
    found = aligned(spine, own, asked, fill="none", max_gap=None, skip_nulls=False)

    def inside(row, hours, lag=0):
        at = row["time"] - timedelta(hours=lag)
        return [
            x for who, e, x in rows if who == row["sensor"] and at - timedelta(hours=hours) <= e < at and x is not None
        ]

    for row in found.rows(named=True):
        for hours in (1, 3):
            values = inside(row, hours)
            assert agree(row[f"m_{hours}h"], sum(values) / len(values) if values else None, digits=9)
        values = inside(row, 2, 0.5)
        top = None if not values else float("nan") if any(x != x for x in values) else sorted(values)[-1]
        assert agree(row["top"], top)
        assert agree(row["old"], value(rows, row["sensor"], row["time"] - timedelta(hours=1), "previous", None, False))


@given(panels())
def test_without_a_grid_the_moments_are_those_at_which_anything_happened(rows):
    spine = moments({"p:x": known(rows), "p:y": known(rows[:2], "y")}, None, None, None)
    assert spine.rows() == [(sensor, at) for sensor, at, _ in rows]


@given(panels())
def test_without_bounds_the_grid_shows_every_last_value(rows):
    own = {"p:x": known(rows)}
    spine = moments(own, Grid(as_duration("7m")), None, None)
    found = aligned(spine, own, {"x": Asked("p:x")}, fill="previous", max_gap=None, skip_nulls=False)
    last = {sensor: x for sensor, _, x in rows}
    shown = {row["sensor"]: row["x"] for row in found.rows(named=True)}
    assert shown.keys() == last.keys()
    assert all(agree(shown[sensor], last[sensor]) for sensor in last)
    assert found.is_empty() or found["time"][0] >= min(at for _, at, _ in rows)
