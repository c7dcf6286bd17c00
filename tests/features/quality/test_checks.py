"""A project's expectations from end to end: versions, checks, guards, quarantine, learning."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import msgspec
import polars as pl
import pytest

import trivet as tv
from trivet.clock import FixedClock
from trivet.errors import Ambiguous, Invalid, NotFound, Refused
from trivet.features.catalogue import Catalogue
from trivet.features.materialize import Materializer
from trivet.features.online.memory import MemoryStore
from trivet.features.quality.checks import Quality
from trivet.features.quality.expectation import expect, expect_fresh, expect_rows
from trivet.features.quality.expectations import Expectations
from trivet.features.sources import snapshots_of
from trivet.features.training_set import training_set
from trivet.ledger import RunQuery
from trivet.ledger.tables import Tables
from trivet.pipelines.replay import run_that_made
from trivet.pipelines.values import load

NOON = datetime(2026, 1, 10, 12, tzinfo=UTC)


def rows(delays=(5.0, 900.0, None, 20.0), late=timedelta()):
    origins = ["JFK", "JFK", "EWR", "LGA"]
    at = [NOON - late - timedelta(hours=hour) for hour in (4, 3, 2, 1)]
    return pl.DataFrame({"origin": origins, "at": at, "delay": delays, "id": [1, 2, 3, 3]})


@pytest.fixture
def context(context):
    return replace(context, clock=FixedClock(NOON))


@pytest.fixture
def flights(tmp_path):
    rows().write_parquet(tmp_path / "flights.parquet")
    return tv.Source("flights", "flights.parquet", event_time="at")


@pytest.fixture
def congestion(flights):
    features = {"delay": tv.latest("delay"), "departures": tv.count("6h")}
    return tv.FeatureView("congestion", entity=tv.Entity("origin"), source=flights, features=features)


def materialized(context, view, quality, **options):
    store = MemoryStore()
    guarded = quality.guard([view], snapshots_of([view.source], context.root), **options)
    Materializer([view], guarded.sources, store).advance(context.clock())
    return store.read(view.online_name, [("JFK",), ("EWR",), ("LGA",)]), guarded


def test_definitions_have_versions(context, flights):
    quality = Quality(context)
    first = quality.define(Expectations(flights, [expect("delay").between(0, 60)]), why="a start")
    again = quality.define(Expectations(flights, [expect("delay").between(0, 60)]))
    edited = quality.define(Expectations(flights, [expect("delay").between(0, 90)]))
    assert (first.version, again.version, edited.version) == (1, 1, 2)
    assert first.why == "a start"
    assert quality.find("source.flights").expectations == edited.expectations
    assert [each.version for each in quality.all()] == [2]


def test_a_check_is_recorded_and_told(context, flights):
    told = []
    quality = Quality(context, told.append)
    quality.define(Expectations(flights, [expect("delay").between(0, 60), expect("id").unique(), expect_fresh("2h")]))
    report = quality.check("flights")
    assert (report.passed, report.rows, report.refused) == (False, 4, 2)
    assert [(each.failing, each.consequence) for each in report.findings] == [(1, "rows"), (1, "rows"), (0, "nothing")]
    assert told == [report]
    [artifact] = context.ledger.artifacts(kind="quality_report", limit=2)
    run = run_that_made(context.ledger, artifact)
    assert (run.kind, run.name, run.recipe is not None) == ("check", "source.flights", True)
    assert set(run.inputs) == {"expectations", "sources.flights"}


def test_a_check_as_of_a_moment(context, flights):
    told = []
    quality = Quality(context, told.append)
    quality.define(Expectations(flights, [expect_fresh("2h"), expect_rows(4)]))
    assert [each.passed for each in quality.check(flights, at=NOON).findings] == [True, True]
    assert [each.passed for each in quality.check(flights, at=NOON + timedelta(hours=2)).findings] == [False, True]
    earlier = quality.check(flights, at="2026-01-10T09:30:00Z")
    assert [each.found for each in earlier.findings] == ["", "there are 2"]
    assert told == []


def test_views_are_judged_by_their_values(context, congestion):
    quality = Quality(context)
    quality.define(
        Expectations(congestion, [expect("departures").between(0, 1), expect("delay").not_null(at_most=0.5)])
    )
    report = quality.check(congestion)
    assert (report.subject, report.rows) == ("view.congestion", 3)
    assert [(each.failing, each.passed, each.consequence) for each in report.findings] == [
        (1, False, "stop"),
        (1, True, "nothing"),
    ]
    assert report.findings[0].examples == [{"row": 1, "origin": "JFK", "departures": 2}]


def test_refused_rows_are_left_out_and_kept(context, congestion, flights):
    quality = Quality(context)
    quality.define(Expectations(flights, [expect("delay").between(0, 60), expect("id").unique()]))
    found, guarded = materialized(context, congestion, quality)
    assert [row and row.values for row in found] == [[5.0, 1], [None, 1], None]
    assert guarded.left_out == {"flights": 2}
    kept = Tables(context.root / context.settings.serving.records).read("flights__refused").to_pylist()
    assert [each["reason"] for each in kept] == ["expected: delay between 0 and 60", "expected: id is unique"]
    assert {each["run"] for each in kept} == {guarded.runs["source.flights"].id}
    assert [msgspec.json.decode(each["row"])["id"] for each in kept] == [2, 3]
    materialized(context, congestion, quality)
    assert Tables(context.root / context.settings.serving.records).read("flights__refused").num_rows == 2


def test_what_is_not_refused_is_read_as_it_was(context, congestion, flights):
    quality = Quality(context)
    quality.define(Expectations(flights, [expect("delay").between(0, 60, severity="warn")]))
    sources = snapshots_of([flights], context.root)
    guarded = quality.guard([congestion], sources, at=NOON)
    assert guarded.sources["flights"] is sources["flights"]
    assert [each.passed for each in guarded.reports] == [True]


@pytest.mark.parametrize(
    ("expected", "words"),
    [
        (expect_fresh("30m"), "the newest row is at most 30m old; the newest is of 2026-01-10 11:00:00 UTC, 1h ago"),
        (expect_rows(5), "there are 4"),
        (expect("delay").not_null(at_most=0.1), "1 of 4 rows are otherwise"),
        (expect("gone").not_null(), "There is no column 'gone'"),
    ],
)
def test_what_is_broken_as_a_whole_stops_unless_someone_says_why(context, congestion, flights, expected, words):
    told = []
    quality = Quality(context, told.append)
    quality.define(Expectations(flights, [expected]))
    with pytest.raises(Refused, match="keeps what it had") as caught:
        materialized(context, congestion, quality)
    assert words in str(caught.value)
    assert [each.passed for each in told] == [False]
    found, guarded = materialized(context, congestion, quality, why="the airport was closed")
    assert [row.values[1] for row in found] == [2, 1, 1]
    assert guarded.runs["source.flights"].tags["quality.override"] == "the airport was closed"


def test_values_of_a_view_stop_and_see_only_what_stays(context, congestion, flights):
    quality = Quality(context)
    quality.define(Expectations(congestion, [expect("delay").between(0, 60)]))
    with pytest.raises(Refused, match="view congestion: delay between 0 and 60; 1 of 3"):
        materialized(context, congestion, quality)
    quality.define(Expectations(flights, [expect("delay").between(0, 60)]))
    _, guarded = materialized(context, congestion, quality)
    assert [each.passed for each in guarded.reports] == [False, True]


def test_rows_of_a_query_stop(context, flights):
    late = tv.Source("late", sql="SELECT * FROM flights WHERE delay > 10", inputs=[flights], event_time="at")
    view = tv.FeatureView("late", entity=tv.Entity("origin"), source=late, features=["delay"])
    quality = Quality(context)
    quality.define(Expectations(late, [expect("delay").between(0, 60)]))
    with pytest.raises(Refused, match="source late"):
        materialized(context, view, quality)
    quality.define(Expectations(flights, [expect("delay").between(0, 60)]))
    found, guarded = materialized(context, view, quality)
    assert [row and row.values for row in found] == [None, None, [20.0]]
    assert guarded.left_out == {"flights": 1}


def test_frames_are_kept_with_what_is_expected_of_them(context):
    source = tv.Source("frame", rows(), event_time="at")
    Quality(context).define(Expectations(source, [expect("id").unique()]))
    assert Quality(context).check("frame").findings[0].failing == 1


def test_a_static_source_has_rows_and_no_times(context):
    planes = tv.Source("planes", pl.DataFrame({"tail": ["N1", "N1"]}))
    quality = Quality(context)
    quality.define(Expectations(planes, [expect_rows(at_least=2)]))
    assert quality.check("planes").passed
    quality.define(Expectations(planes, [expect_rows(at_most=1), expect("tail").unique()]))
    assert [each.passed for each in quality.check("planes").findings] == [False, False]


def test_names_that_two_things_have_are_told_apart(context):
    source = tv.Source("weather", rows(), event_time="at")
    view = tv.FeatureView("weather", entity=tv.Entity("origin"), source=source, features=["delay"])
    quality = Quality(context)
    Catalogue(context).apply(view)
    quality.define(Expectations(source, [expect("id").not_null()]))
    quality.define(Expectations(view, [expect("delay").between(0, None)]))
    with pytest.raises(Ambiguous, match=r"source\.weather"):
        quality.check("weather")
    assert quality.check("source.weather").rows == 4
    assert quality.check("view.weather").rows == 3
    with pytest.raises(NotFound, match="Did you mean 'weather'"):
        quality.check("wether")


def test_nothing_is_expected_yet(context, flights):
    with pytest.raises(NotFound, match="learn_expectations"):
        Quality(context).check(flights)


def test_learning_by_name_and_by_object(context, congestion, flights):
    quality = Quality(context)
    Catalogue(context).apply(congestion)
    learned = quality.learn("flights", before=NOON)
    assert learned == quality.learn(flights)
    assert {column for each in learned if hasattr(each, "columns") for column in each.columns} == {
        "origin",
        "delay",
        "id",
    }
    quality.define(learned)
    assert quality.check("flights").failed == []
    assert quality.learn("congestion").subject == "view.congestion"
    assert len(quality.learn(flights, since="2026-01-10T10:30:00Z", before="2026-01-10T11:30:00Z")) > 0
    with pytest.raises(Invalid, match="nothing to learn from"):
        quality.learn(flights, before="2020-01-01T00:00:00Z")
    with pytest.raises(NotFound, match="Did you mean 'flights'"):
        quality.learn("flihgts")


def test_ingestion_is_given_a_check_of_rows(context, flights):
    quality = Quality(context)
    assert quality.row_check("flights") is None
    quality.define(Expectations(flights, [expect("delay").between(0, 60)]))
    assert quality.row_check("flights")(rows()).null_count() == 3


def test_a_training_set_has_reports_and_all_its_rows(context, congestion, flights):
    quality = Quality(context)
    quality.define(Expectations(flights, [expect("delay").between(0, 60)]))
    spine = pl.DataFrame({"origin": ["JFK"], "t": [NOON]})
    train = training_set(context, spine, [congestion], time="t")
    [report] = quality.reports_of(train.run)
    assert (report.subject, report.refused) == ("source.flights", 1)
    assert train.to_polars()["delay"].to_list() == [900.0]


def test_profiles_over_time(context, congestion, flights):
    Catalogue(context).apply(congestion)
    found = Quality(context).profile("flights", per="1h")
    assert found.filter(pl.col("column") == "delay")["mean"].to_list() == [5.0, 900.0, None, 20.0]
    with pytest.raises(Invalid, match="no periods"):
        Quality(context).profile(tv.Source("planes", rows()))


def test_a_view_is_a_source_of_which_something_is_expected(context, congestion):
    quality = Quality(context)
    log = tv.Source.of_view(congestion)
    quality.define(Expectations(log, [expect("departures").between(1, None)]))
    report = quality.check(log)
    assert (report.rows, report.findings[0].failing, report.findings[0].consequence) == (4, 3, "stop")


def test_personal_values_are_neither_shown_nor_learned(context, tmp_path):
    rows().write_parquet(tmp_path / "flights.parquet")
    personal = {"delay": "do not serve", "id": "do not store"}
    source = tv.Source("flights", "flights.parquet", event_time="at", personal=personal)
    quality = Quality(context)
    quality.define(Expectations(source, [expect("delay").between(0, 60), expect("id").not_null(severity="warn")]))
    shown, cut = quality.check(source).findings
    assert shown.examples == [{"row": 1}]
    assert "no column 'id'" in cut.found
    assert {name for each in quality.learn(source) if hasattr(each, "columns") for name in each.columns} == {"origin"}
    guarded = quality.guard(
        [tv.FeatureView("v", entity=tv.Entity("origin"), source=source, features={"n": tv.count("6h")})]
    )
    kept = Tables(context.root / context.settings.serving.records).read("flights__refused").to_pylist()
    assert guarded.left_out == {"flights": 1}
    assert "id" not in msgspec.json.decode(kept[0]["row"])


@pytest.mark.parametrize("handed", [True, False])
def test_what_is_not_stored_is_not_asked_for_again_where_rows_are_refused(tmp_path, handed):
    (tmp_path / "trivet.toml").touch()
    rows().write_parquet(tmp_path / "flights.parquet")
    data = rows() if handed else "flights.parquet"
    source = tv.Source("flights", data, event_time="at", personal={"id": "do not store"})
    with tv.open(tmp_path, clock=FixedClock(NOON)) as project:
        project.define(tv.FeatureView("v", entity=tv.Entity("origin"), source=source, features=["delay"]))
        project.define(Expectations(source, [expect("delay").between(0, 60)]))
        assert project.materialize() == {"v": 3}
        run = project.context.ledger.runs(RunQuery(kind="materialize"))[0]
        recorded = load(project.context.ledger.artifact(run.inputs["sources.flights"]), project.context.blobs)
        assert set(recorded.scan().collect().columns) == {"origin", "at", "delay"}


def test_paths_are_told_from_the_folder_of_the_project(context, tmp_path):
    rows().write_parquet(tmp_path / "flights.parquet")
    expected, quality = [expect("id").not_null()], Quality(context)
    near = quality.define(Expectations(tv.Source("flights", "flights.parquet", event_time="at"), expected))
    whole = tv.Source("flights", str(tmp_path / "flights.parquet"), event_time="at")
    assert quality.define(Expectations(whole, expected)).digest == near.digest
