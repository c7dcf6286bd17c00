from __future__ import annotations

from datetime import UTC, datetime, timedelta

import narwhals as nw
import polars as pl
import pytest

import trivet as tv
from trivet.errors import Invalid, NotFound
from trivet.features.declare import described
from trivet.features.sources import read, snapshots_of

NOON = datetime(2013, 1, 1, 12, tzinfo=UTC)
ORIGIN = tv.Entity("origin")
ROWS = pl.DataFrame(
    {"origin": ["JFK", "EWR", "JFK"], "dep": [NOON, NOON, NOON + timedelta(hours=1)], "delay": [5, 30, 20]}
)
FLIGHTS = tv.Source("flights", ROWS, event_time="dep")
PLANES = tv.Source("planes", pl.DataFrame({"origin": ["JFK"], "seats": [100]}))
WORST = 15


@tv.feature_view(entity=ORIGIN, source=FLIGHTS, event_time="dep", features={"late": tv.count("2h")})
def late(flights):
    """Flights that left late.

    Owner: ada
    Tags: delay
    """
    return flights.filter(nw.col("delay") > WORST).select("origin", "dep")


@tv.feature_view(entity=ORIGIN, source=[FLIGHTS, PLANES], event_time="dep", features=["worst"])
def worst():
    return "SELECT origin, dep, max(delay) AS worst FROM flights JOIN planes USING (origin) GROUP BY ALL"


def rows_of(view):
    return read(view.source, ["origin", "dep"], snapshots_of([view.source])).rows()


def test_a_function_over_frames_makes_the_rows():
    assert rows_of(late) == [("EWR", NOON), ("JFK", NOON + timedelta(hours=1))]
    assert (late.description, late.owner, late.tags) == ("Flights that left late.", "ada", {"delay": ""})


def test_text_is_a_query_over_the_sources():
    assert rows_of(worst) == [("JFK", NOON), ("JFK", NOON + timedelta(hours=1))]
    assert [leaf.name for leaf in worst.source.leaves] == ["flights", "planes"]


def test_a_function_comes_back_from_its_declaration_without_the_code():
    again = tv.FeatureView.from_spec(late.to_spec())
    assert again.digest == late.digest
    assert rows_of(again.bound({"flights": ROWS})) == rows_of(late)
    assert "WORST = 15" in again.source.transform.text


def test_both_sides_of_time_are_known_in_a_training_set(tmp_path):
    spine = pl.DataFrame({"origin": ["JFK", "JFK", "EWR"], "t": [NOON, NOON + timedelta(hours=2), NOON]})
    with tv.open(tmp_path) as project:
        made = project.training_set(spine, [late, worst], time="t")
        assert made.to_polars()["late"].to_list() == [0, 1, 0]
        assert made.to_polars()["worst"].to_list() == [5, 20, None]
        assert project.reproduce(made.artifact.id, environment="current").level == "bytes"


def test_edits_of_what_a_function_reaches_are_edits_of_the_view():
    spec = late.to_spec()
    [module] = spec["source"]["transform"]["modules"]
    module["text"] = module["text"].replace("15", "16")
    assert tv.FeatureView.from_spec(spec).digest != late.digest


def declare(function, **options):
    chosen = {"entity": ORIGIN, "source": FLIGHTS, "event_time": "dep", "features": ["delay"], **options}
    return tv.feature_view(**chosen)(function)


def wrong(flights):
    return flights.filter(nw.col("dely") > 3)


def native(flights):
    return flights.to_native()


def other(planes):
    return planes


def number():
    return 3


def one_of_two(flights):
    return flights


@pytest.mark.parametrize(
    ("function", "options", "sentence"),
    [
        (other, {}, r"no source of view 'other' called 'planes'"),
        (number, {}, "answers 3. Return SQL text"),
        (number, {"event_time": None}, "Say event_time="),
        (number, {"features": None, "event_time": None}, "Return a dict"),
        (number, {"features": None}, "is given event_time="),
        (number, {"features": None, "event_time": None, "source": [FLIGHTS]}, "several sources"),
        (one_of_two, {"source": [FLIGHTS, PLANES]}, "does not take its source 'planes'"),
    ],
)
def test_bad_declarations_get_a_sentence(function, options, sentence):
    with pytest.raises((Invalid, NotFound), match=sentence):
        declare(function, **options)


@pytest.mark.parametrize(
    ("function", "sentence"),
    [(wrong, "fails: ColumnNotFoundError.*dely"), (native, "answers a LazyFrame. Return a Narwhals frame")],
)
def test_functions_that_fail_on_data_get_a_sentence(function, sentence):
    with pytest.raises(Invalid, match=sentence):
        rows_of(declare(function))


def test_docstrings_say_who_and_what():
    assert described(None) == ("", "", {})
    assert described("A.\n\n    B: c.\n    Tags: x , y=z\n") == ("A.\n\nB: c.", "", {"x": "", "y": "z"})


LATER = tv.Source("reports", event_time="at", known_after="1h")
STAFF = tv.Source("staff", event_time="at", personal={"name": "do not serve", "ssn": "do not store"})


@pytest.mark.parametrize("stated", [{"known_after": "0s"}, {"known_after": "1h"}, {"known_at": "k"}, {"created": "c"}])
def test_rows_made_of_rows_that_are_known_later_say_when_they_are_known(stated):
    options = {"entity": tv.Entity("place"), "source": LATER, "event_time": "at", "features": ["worst"]}

    def query():
        return "SELECT place, at, max(wind) AS worst FROM reports GROUP BY ALL"

    with pytest.raises(Invalid, match="'reports', whose rows are known later than they happen"):
        tv.feature_view(**options)(query)
    made = tv.feature_view(**options, **stated)(query)
    assert tv.FeatureView.from_spec(made.to_spec()) == made


def test_rows_made_of_personal_data_say_what_is_personal():
    """A query may rename: only its author knows which of its columns is the name."""
    options = {"entity": tv.Entity("place"), "source": STAFF, "event_time": "at", "features": ["who"]}

    def query():
        return "SELECT place, at, name AS who FROM staff"

    with pytest.raises(Invalid, match="'staff', in which 'name' is personal"):
        tv.feature_view(**options)(query)
    assert tv.feature_view(**options, personal={"who": "do not serve"})(query).served_features == ()
    nothing = tv.feature_view(**options, personal={})(query)
    assert nothing.served_features == ("who",)
    assert tv.FeatureView.from_spec(nothing.to_spec()) == nothing
