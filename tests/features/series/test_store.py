from __future__ import annotations

import tempfile
from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.features.projects import NOON, opened
from trivet.clock import FixedClock
from trivet.errors import Invalid, NotFound, Refused
from trivet.features.aggregates import count, latest, mean
from trivet.features.definitions import Entity, FeatureView
from trivet.features.engines.local import LocalEngine
from trivet.features.point_in_time import agree
from trivet.features.references import select_all
from trivet.features.series import TimeSeries
from trivet.features.sources import snapshots_of
from trivet.features.tables import EventTables
from trivet.types import as_duration

START = datetime(2026, 11, 18, tzinfo=UTC)
HOUR = timedelta(hours=1)


def at(hours):
    return START + hours * HOUR


def frame(*rows, name="price"):
    """Values at so many hours after the start."""
    values = [value for _, value in rows]
    return pl.DataFrame({"time": [at(hours) for hours, _ in rows], name: values}, strict=False)


def values(table, column="price"):
    return table[column].to_list()


def twice(p):
    """Both."""
    return 2 * p


class TestWrite:
    @pytest.mark.parametrize("kind", ["frame", "series", "named", "polars", "arrow", "dicts", "csv", "columns"])
    def test_whatever_people_have_at_hand(self, series, kind, tmp_path):
        index = pd.date_range(START, periods=3, freq="h")
        table = frame((0, 1.5), (1, None), (2, 3.0))
        table.write_csv(tmp_path / "prices.csv")
        data = {
            "frame": pd.DataFrame({"price": [1.5, None, 3.0]}, index=index),
            "series": pd.Series([1.5, None, 3.0], index=index, name="price"),
            "named": pd.DataFrame({"when": index, "price": [1.5, None, 3.0]}),
            "polars": table,
            "arrow": table.to_arrow(),
            "dicts": [{"time": each["time"].isoformat(), "price": each["price"]} for each in table.rows(named=True)],
            "csv": "prices.csv",
            "columns": {"time": table["time"], "price": table["price"]},
        }[kind]
        assert series.write("energy", data).new == 3
        read = series.read("energy:price")
        assert read.columns == ["time", "price"]
        assert read.rows() == [(at(0), 1.5), (at(1), None), (at(2), 3.0)]

    def test_one_series_takes_its_name_from_the_reference(self, series):
        index = pd.date_range(START, periods=2, freq="h")
        series.write("energy:price", pd.Series([1, 2], index=index))
        series.write("energy:load", pd.DataFrame({"time": index, "value": [3, 4]}))
        assert series.read("energy").columns == ["time", "load", "price"]
        with pytest.raises(Invalid, match="are to become the one series 'price'"):
            series.write("energy:price", pd.DataFrame({"time": index, "a": 1, "b": 2}))

    def test_writing_again_changes_nothing_in_whatever_order(self, series):
        rows = frame((0, 1.0), (1, 2.0), (2, None))
        assert series.write("energy", rows).new == 3
        again = series.write("energy", rows.reverse())
        assert (again.new, again.changed) == (0, 0)
        assert again.series["energy:price"].repeated == 3
        assert series.describe("energy:price").rows == 3

    def test_the_last_word_holds_even_if_it_was_said_before(self, series):
        for value in (1.0, 2.0, 1.0, None, 1.0):
            series.write("energy", frame((0, value)))
            assert values(series.read("energy:price")) == [value]
        info = series.describe("energy:price")
        assert (info.rows, info.revised) == (1, 4)

    def test_out_of_order_and_duplicate_rows(self, series):
        rows = frame((0, 1.0), (2, 6.0), (1, 3.0), (2, 6.0), (0, 1.0))
        first = series.write("machine", rows)
        assert (first.new, first.changed) == (3, 0)
        assert values(series.read("machine:price")) == [1.0, 3.0, 6.0]
        assert series.write("machine", rows).changed == 0

    def test_members_that_nothing_tells_apart_are_refused(self, series):
        rows = pl.DataFrame({"time": [at(0), at(0), at(1)], "sensor": ["a", "b", "a"], "v": [1, 2, 3]})
        with pytest.raises(Invalid, match=r"1 times come with several values, .* by='sensor' \(--by sensor\)"):
            series.write("pm2", rows)
        assert series.list() == []
        assert series.write("pm2", rows, by="sensor").new == 3
        with pytest.raises(Invalid, match=r"of=\{'sensor': 'a'\}"):
            series.read("pm2:v", of="a")

    def test_an_hour_that_happens_twice(self, series):
        rows = [{"time": f"2026-11-01T0{hour}:30", "x": hour} for hour in (0, 1, 2)]
        with pytest.raises(Invalid, match="declare ambiguous='earliest'"):
            series.write("a", rows, timezone="America/New_York")
        series.write("a", rows, timezone="America/New_York", ambiguous="latest")
        assert [each.hour for each in series.read("a:x", timezone="UTC")["time"]] == [4, 6, 7]
        with pytest.raises(NotFound, match="ambiguous times called 'first'"):
            series.write("b", rows, timezone="America/New_York", ambiguous="first")
        never = [{"time": "2026-03-08T02:30", "x": 1}, {"time": "2026-03-08T03:30", "x": 2}]
        done = series.write("c", never, timezone="America/New_York", nonexistent="null")
        assert (done.new, done.refused) == (1, 1)

    def test_a_day_is_a_moment_of_knowledge(self, series):
        series.write("a", [{"time": "2026-11-10T00:00", "x": 1}], timezone="UTC")
        assert series.read("a:x", as_known_at="2026-11-01").is_empty()
        assert series.read("a:x", as_known_at=date(2126, 1, 1)).height == 1
        assert series.last("a:x", as_known_at="2126-01-01")["x"].item() == 1

    def test_dropped_series_begin_anew(self, series):
        series.write("a", frame((0, 1.0)))
        series.transform("a:twice", {"p": "a:price"})(twice)
        with pytest.raises(Refused, match="a:twice is computed from it"):
            series.drop("a:price", why="a trial")
        with pytest.raises(Invalid, match="Say why"):
            series.drop("a:price", why=" ")
        series.drop("a:twice", why="a trial")
        series.drop("a:price", why="a trial")
        assert (series.list(), series.transforms()) == ([], {})
        with pytest.raises(NotFound):
            series.drop("a:price", why="a trial")
        assert series.write("a", frame((0, 1.0))).new == 1

    def test_nanoseconds_strings_and_mixed_zones(self, series):
        nanoseconds = pd.DataFrame({"x": [1]}, index=pd.DatetimeIndex(["2026-11-18T00:00:00.123456789Z"]))
        series.write("a", nanoseconds)
        assert series.read("a:x")["time"].to_list() == [START + timedelta(microseconds=123456)]
        zones = [at(1).astimezone(timezone(timedelta(hours=hours))) for hours in (0, 5)]
        mixed = pd.DataFrame({"time": pd.Series([zones[0], zones[1] + HOUR], dtype=object), "x": [1, 2]})
        series.write("b", mixed)
        assert series.read("b:x")["time"].to_list() == [at(1), at(2)]
        series.write("c", [{"time": "2026-11-18T02:00+02:00", "x": 1}, {"time": "2026-11-18T01:00Z", "x": 2}])
        assert series.read("c:x")["time"].to_list() == [at(0), at(1)]
        with pytest.raises(Invalid, match="times without a zone"):
            series.read("c:x", start="2026-11-18")

    def test_times_without_a_zone_need_one_and_are_read_in_it(self, series):
        naive = pd.DataFrame({"x": [1, 2]}, index=pd.DatetimeIndex(["2026-07-01", "2026-07-02"]))
        with pytest.raises(Invalid, match="timezone='UTC'"):
            series.write("a", naive)
        series.write("a", naive, timezone="Europe/Vienna")
        series.write("a", naive)
        assert series.describe("a:x").timezone == "Europe/Vienna"
        read = series.read("a:x", freq="1d", start="2026-07-01", end="2026-07-03")
        assert read["time"].dtype == pl.Datetime("us", "Europe/Vienna")
        assert [each.isoformat() for each in read["time"]] == ["2026-07-01T00:00:00+02:00", "2026-07-02T00:00:00+02:00"]
        assert values(series.read("a:x", freq="1d", timezone="UTC"), "x") == [1, 2]

    def test_a_frame_of_a_zone_is_read_in_it(self, series):
        index = pd.date_range("2026-07-01", periods=2, freq="D", tz="Europe/Vienna")
        series.write("a", pd.Series([1, 2], index=index, name="x"))
        back = series.read("a:x", to="pandas")
        assert str(back.index.tz) == "Europe/Vienna"
        assert (back.index == index).all()

    def test_rows_without_time_or_key_are_set_aside(self, series):
        rows = pl.DataFrame({"time": [at(0), None, at(1)], "sensor": ["a", "a", None], "x": [1, 2, 3]})
        done = series.write("plant", rows, by="sensor")
        assert (done.new, done.refused) == (1, 2)
        assert sorted(done.series["plant:x"].reasons) == [
            "the key 'sensor' is empty",
            "there is no event time in 'time'",
        ]

    def test_whole_numbers_that_meet_fractions(self, series):
        series.write("energy", frame((0, 1), (1, 2)))
        series.write("energy", frame((1, 2), (2, 2.5)))
        assert values(series.read("energy:price")) == [1.0, 2.0, 2.5]
        with pytest.raises(Invalid, match="another name"):
            series.write("energy", frame((2, "high")))
        series.write("words", frame((0, "high"), name="x"))
        series.write("words", frame((0, None), name="x"))
        assert values(series.read("words:x"), "x") == [None]

    def test_what_cannot_be_written(self, series):
        for data, told in (
            (pl.DataFrame({"time": [at(0)], "PM2.5": [1]}), "Call it 'pm2_5'"),
            (pl.DataFrame({"time": [at(0)], "created": [1]}), "Call it 'created_value'"),
            (pl.DataFrame({"a": [at(0)], "b": [at(0)], "x": [1]}), "Several hold times: a, b"),
            (pl.DataFrame({"x": [1]}), "None is called 'time' or holds times: x"),
            (pl.DataFrame({"time": [at(0)]}), "no values"),
            (pl.Series([1]), "has no times"),
            (pl.DataFrame({"time": ["soon"], "x": [1]}), "is no time"),
        ):
            with pytest.raises(Invalid, match=told):
                series.write("energy", data)
        with pytest.raises(NotFound, match="sensor"):
            series.write("energy", frame((0, 1)), by="sensor")
        assert series.list() == []

    def test_a_panel_stays_one(self, series):
        rows = pl.DataFrame({"time": [at(0)], "sensor": ["a"], "x": [1]})
        series.write("plant", rows, by="sensor")
        assert series.write("plant", rows).new == 0
        with pytest.raises(Invalid, match="was made by sensor"):
            series.write("plant", rows.rename({"sensor": "machine"}), by="machine")
        with pytest.raises(Invalid, match="without known_at"):
            series.write("plant", rows.with_columns(k="time"), known_at="k")


@st.composite
def stories(draw):
    """Writes one after the other: of each the hour at which it came, and rows of different times, in any order."""
    row = st.tuples(st.integers(0, 8), st.none() | st.integers(0, 3))
    rows = st.lists(row, min_size=1, max_size=5, unique_by=lambda each: each[0])
    return draw(
        st.lists(
            st.tuples(st.integers(1, 5), rows),
            min_size=1,
            max_size=4,
        )
    )


@settings(max_examples=25, deadline=None)
@given(
    stories(), st.none() | st.integers(-1, 20), st.none() | st.integers(-12, 12), st.integers(0, 9), st.integers(0, 9)
)
def test_what_was_known_is_what_the_story_says(story, known_at, travel, start, length):
    """Any writes, corrections and duplicates; any moment of knowledge; the answer as a loop over the story gives it."""
    told, now = [], at(0)
    with tempfile.TemporaryDirectory() as folder:
        clock = FixedClock(NOON)
        context = opened(Path(folder), clock)
        series = TimeSeries(context, EventTables(context))
        for wait, rows in story:
            now += wait * HOUR
            clock.set(now)
            series.write("s", frame(*rows, name="x").cast({"x": pl.Int64}))
            told += [(now, at(hour), x) for hour, x in rows]
        options = {"freq": "1h", "start": at(start), "end": at(start + length)}
        instant = None if known_at is None else at(known_at) + HOUR / 2
        shift = None if travel is None else travel * HOUR + HOUR / 2
        found = series.read("s:x", **options, as_known_at=instant, time_travel=shift)
        context.ledger.close()
    content: dict[datetime, list[tuple[datetime, int | None]]] = {}
    for came, time, x in told:
        content.setdefault(time, []).append((came, x))
    # of one write the last row of a time holds; the same again keeps the moment at which it came first
    known = {}
    for time, words in content.items():
        said = []
        for came in sorted({came for came, _ in words}):
            x = [value for moment, value in words if moment == came][-1]
            if not said or said[-1][1] != x:
                said.append((came, x))
        said = [each for each in said if instant is None or each[0] <= instant]
        said = [each for each in said if shift is None or each[0] <= time + shift]
        if said:
            known[time] = said[-1][1]
    wanted = []
    for hour in range(start, start + length):
        before = [time for time in known if time <= at(hour)]
        wanted.append((at(hour), known[max(before)] if before else None))
    assert found.rows() == wanted


class TestRead:
    def test_several_series_of_different_frequency_on_one_grid(self, series):
        series.write("energy", frame((0, 1.0), (2, 2.0)))
        series.write("energy", frame((0.5, 10), (1, 11), (1.5, 12), (3, 13), name="load"))
        read = series.read(["energy:price", "energy:load"], freq="1h")
        assert read.rows() == [(at(0), 1.0, None), (at(1), 1.0, 11), (at(2), 2.0, 12), (at(3), 2.0, 13)]
        raw = series.read(["energy:price", "energy:load"])
        assert raw.height == 6
        assert values(raw, "load") == [None, 10, 11, 12, None, 13]

    def test_values_before_the_start_are_carried_in(self, series):
        series.write("energy", frame((0, 1.0), (30, 2.0)))
        read = series.read("energy:price", freq="1h", start=at(10), end=at(12))
        assert values(read) == [1.0, 1.0]
        assert values(series.read("energy:price", freq="1h", start=at(1), end=at(5), max_gap="3h")) == [
            1.0,
            1.0,
            None,
            None,
        ]
        line = series.read("energy:price", freq="15h", start=at(0), end=at(30), fill="linear", timezone="UTC")
        assert None not in values(line)

    def test_columns_by_name_with_windows_and_lags(self, series):
        series.write("energy", frame(*((hour, float(hour)) for hour in range(6))))
        columns = {
            "now": "energy:price",
            "mean": mean("energy:price", ["2h", "4h"]),
            "n": count("energy:price", "1h", where="price > 2"),
            "before": latest("energy:price", lag="3h"),
        }
        read = series.read(columns, freq="1h")
        assert read.columns == ["time", "now", "mean_2h", "mean_4h", "n", "before"]
        assert read.row(5) == (at(5), 5.0, 3.5, 2.5, 1, 2.0)

    def test_an_empty_answer_has_its_columns_and_types(self, series):
        series.write("energy", frame((0, 1)))
        series.write("plant", pl.DataFrame({"time": [at(0)], "sensor": ["a"], "x": [True]}), by="sensor")
        for table in (
            series.read({"price": "energy:price", "m": mean("energy:price", "1h")}, as_known_at=at(-1), freq="1h"),
            series.read({"price": "energy:price", "m": mean("energy:price", "1h")}, start=at(5)),
        ):
            assert table.schema == {"time": pl.Datetime("us", "UTC"), "price": pl.Int64, "m": pl.Float64}
            assert table.is_empty()
        panel = series.read("plant:x", of={"sensor": "b"}, freq="1h", start=at(0), end=at(3))
        assert panel.schema == {"sensor": pl.String, "time": pl.Datetime("us", "UTC"), "x": pl.Boolean}
        assert panel.is_empty()
        assert values(series.read("energy:price", as_known_at=at(-1), freq="1h", start=at(0), end=at(2))) == [
            None,
            None,
        ]

    def test_series_of_no_rows_at_all(self, series):
        assert series.write("energy", frame((0, 1.5)).clear()).new == 0
        assert series.read("energy:price", freq="1h").is_empty()
        assert series.last("energy:price").row(0) == (None, None)
        series.write("energy", frame((0, 1.5)))
        assert values(series.read("energy:price")) == [1.5]

    def test_a_panel(self, series):
        rows = pl.DataFrame(
            {"time": [at(0), at(2), at(1)], "sensor": ["a", "a", "b"], "line": [1, 1, 2], "x": [1.0, 2.0, 3.0]}
        )
        series.write("plant", rows, by=["sensor", "line"])
        read = series.read({"x": "plant:x", "m": mean("plant:x", "5h")}, freq="1h")
        assert read.rows() == [
            ("a", 1, at(0), 1.0, None),
            ("a", 1, at(1), 1.0, 1.0),
            ("a", 1, at(2), 2.0, 1.0),
            ("b", 2, at(0), None, None),
            ("b", 2, at(1), 3.0, None),
            ("b", 2, at(2), 3.0, 3.0),
        ]
        assert values(series.read("plant:x", of={"sensor": ["b", "c"]}), "x") == [3.0]
        assert series.last("plant:x").select("sensor", "x").rows() == [("a", 2.0), ("b", 3.0)]
        assert series.read("plant:x", to="pandas").index.names == ["sensor", "line", "time"]
        with pytest.raises(NotFound, match="sensor"):
            series.read("plant:x", of={"place": "a"})
        with pytest.raises(Invalid, match="holds Int64"):
            series.read("plant:x", of={"line": "first"})
        assert values(series.read("plant:x", of={"line": "2"}), "x") == [3.0]
        series.write("energy", frame((0, 1)))
        with pytest.raises(Invalid, match="do not make one table"):
            series.read(["plant:x", "energy:price"])

    def test_forecasts_know_when_they_were_made(self, series):
        rows = [(0, 10, 5.0), (6, 10, 6.0), (9, 10, 7.0), (0, 11, 8.0)]
        made = pl.DataFrame([(at(k), at(e), x) for k, e, x in rows], schema=["made", "time", "temp"], orient="row")
        series.write("weather", made, known_at="made")
        assert values(series.read("weather:temp"), "temp") == [7.0, 8.0]
        assert values(series.read("weather:temp", time_travel="-3h"), "temp") == [6.0, 8.0]
        assert values(series.read("weather:temp", time_travel=-4 * HOUR), "temp") == [6.0, 8.0]
        assert values(series.read("weather:temp", time_travel="-11h"), "temp") == [8.0]
        assert values(series.read("weather:temp", as_known_at=at(6)), "temp") == [6.0, 8.0]
        series.write("weather", made.head(1).with_columns(temp=5.5), known_at="made")
        assert values(series.read("weather:temp", as_known_at=at(1)), "temp") == [5.5, 8.0]

    def test_last(self, series):
        series.write("energy", frame((0, 1.0), (2, 2.0), (1, 9.0)))
        series.write("energy", frame((3, None), (1, 4), name="load"))
        assert series.last("energy:*").row(0, named=True) == {
            "load": None,
            "load__time": at(3),
            "price": 2.0,
            "price__time": at(2),
        }
        assert series.last("energy:load", skip_nulls=True)["load"].item() == 4

    def test_words_zero_and_lines(self, series):
        series.write("a", frame((0, "x"), (2, "y"), name="word"))
        assert values(series.read("a:word", freq="1h"), "word") == ["x", "x", "y"]
        with pytest.raises(Invalid, match="needs numbers"):
            series.read("a:word", freq="1h", fill="linear")
        series.write("b", frame((0, 1), (2, 4)))
        assert values(series.read("b:price", freq="1h", fill="zero")) == [1, 0, 4]
        assert values(series.read("b:price", freq="1h", fill="linear")) == [1.0, 2.5, 4.0]
        assert values(series.read("b:price", freq="1h", fill="linear", max_gap="1h")) == [1.0, None, 4.0]

    def test_calls_that_are_wrong(self, series):
        series.write("energy", frame((0, 1)))
        series.write("gas", frame((0, 1)))
        for asked, told in (
            (["energy:price", "gas:price"], "would both be called 'price'"),
            ([], "No series is asked for"),
            ({}, "No series is asked for"),
            ([mean("energy:price", "1h")], "has no name here"),
            ({"n": count("1h")}, "counts rows of no series"),
            ({"n": 5}, "Give a series"),
            ({"time": "energy:price"}, "would be called 'time'"),
            (5, "names no series"),
        ):
            with pytest.raises(Invalid, match=told):
                series.read(asked)
        for options, told in (
            ({"fill": "mean"}, "previous"),
            ({"freq": "1h", "fill": "zero", "max_gap": "1h"}, "has no meaning"),
            ({"freq": "1h", "max_gap": "0s"}, "longer than nothing"),
            ({"timezone": "Europe/Wien"}, "is not a time zone"),
            ({"time_travel": "yesterday"}, "is not a duration"),
            ({"as_known_at": "soon"}, "no time"),
            ({"to": "arrow"}, "polars"),
        ):
            with pytest.raises((Invalid, NotFound), match=told):
                series.read("energy:price", **options)
        with pytest.raises(NotFound, match="Did you mean 'energy:price'"):
            series.read("energy:prices")
        with pytest.raises(NotFound, match="oil"):
            series.read("oil:*")


class TestSource:
    @staticmethod
    def joined(series, source, features, hours):
        view = FeatureView("v", entity=Entity("sensor"), source=source, features=features)
        spine = pl.DataFrame({"sensor": ["a"] * len(hours), "t": [at(each) for each in hours]})
        data = snapshots_of([source], series._context.root)
        return LocalEngine().point_in_time(spine, select_all([view]), data, time="t").frame.drop("sensor", "t")

    def test_a_value_counts_from_when_it_was_written(self, series, clock):
        clock.set(at(10))
        series.write("plant", frame((0, 1.0), (20, 2.0)).with_columns(sensor=pl.lit("a")), by="sensor")
        source = series.source("plant:price")
        assert (source.created, source.times.event) == ("created", "time")
        assert values(self.joined(series, source, {"price": latest("price")}, [5, 11, 21])) == [None, 1.0, 2.0]

    def test_history_that_was_written_long_after(self, series, clock):
        clock.set(at(50))
        series.write("plant", frame((0, 1.0), (20, 2.0)).with_columns(sensor=pl.lit("a")), by="sensor")
        series.write("plant", frame((0, 3.0)).with_columns(sensor=pl.lit("a")))
        source = series.source("plant:price", known_after="1h")
        features = {"price": latest("price"), "n": count("price", "1d")}
        assert self.joined(series, source, features, [0.5, 1, 22]).rows() == [(None, 0), (3.0, 1), (2.0, 2)]

    def test_all_series_of_a_namespace_with_times_of_their_own(self, series, clock):
        clock.set(at(-1))
        series.write("plant", frame((0, 1.0), (3, None)).with_columns(sensor=pl.lit("a")), by="sensor")
        series.write("plant", frame((1, 7), (2, 8), name="order").with_columns(sensor=pl.lit("a")))
        features = {"price": latest("price"), "orders": latest("order")}
        found = self.joined(series, series.source("plant"), features, [0, 2, 3])
        assert found.rows() == [(1.0, None), (1.0, 8), (None, 8)]

    def test_forecasts_count_from_when_they_were_made(self, series):
        made = pl.DataFrame({"time": [at(9), at(9)], "made": [at(2), at(6)], "sensor": "a", "temp": [1.0, 2.0]})
        series.write("weather", made, by="sensor", known_at="made")
        source = series.source("weather:temp")
        assert values(self.joined(series, source, {"temp": latest("temp")}, [9]), "temp") == [2.0]
        with pytest.raises(NotFound, match="weather:temp"):
            series.source("oil")


def test_lists_say_what_there_is(series, clock):
    assert series.list() == []
    clock.set(at(5))
    series.write("energy", frame((0, 1.0), (3, 2.0)))
    series.write("gas", frame((0, 1)))
    [info] = series.list("energy")
    assert (info.name, info.type, info.rows, info.first, info.last) == ("energy:price", "Float64", 2, at(0), at(3))
    assert [each.name for each in series.list()] == ["energy:price", "gas:price"]


def test_the_machine_of_nab_has_rows_out_of_order_and_twice(series):
    index = pd.date_range("2013-12-02", periods=400, freq="5min")
    rows = pd.DataFrame({"timestamp": index.astype(str), "value": range(400)})
    shuffled = pd.concat([rows.iloc[200:], rows.iloc[:210], rows.iloc[10:12]])
    done = series.write("machine:temperature", shuffled, time="timestamp", timezone="UTC")
    assert done.new == 400
    assert done.series["machine:temperature"].repeated == 12
    hourly = series.read("machine:temperature", freq="1h", to="pandas")["temperature"]
    plain = rows.set_index(index.tz_localize("UTC"))["value"].asfreq("1h", method="ffill")
    assert (hourly.loc[plain.index] == plain).all()
    assert as_duration("5m") * 399 // as_duration("1h") + 2 == len(hourly)


def test_pandas_resampling_agrees(series):
    """An independent implementation: the newest value at or before each moment is a forward fill."""
    index = pd.DatetimeIndex(pd.to_datetime(["2026-01-01T00:07Z", "2026-01-01T00:50Z", "2026-01-01T03:00Z"]))
    plain = pd.Series([1.0, 2.0, 3.0], index=index, name="x")
    series.write("a", plain)
    grid = pd.date_range("2026-01-01T00:30Z", "2026-01-01T03:00Z", freq="30min")
    found = series.read("a:x", freq="30m", to="pandas")["x"]
    assert all(agree(a, b) for a, b in zip(found, plain.reindex(grid, method="ffill"), strict=True))


def test_arrow_tables_of_no_columns(series):
    with pytest.raises(Invalid, match="Which column says when"):
        series.write("a", pa.table({}))
