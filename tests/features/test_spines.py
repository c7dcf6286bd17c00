from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trivet.errors import Invalid, NotFound
from trivet.features import Entity, FeatureView, Source
from trivet.features.catalogue import Catalogue
from trivet.features.spines import spine
from trivet.features.training_set import training_set

NOON = datetime(2013, 1, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
PLANE, ROUTE = Entity("plane", key="tail"), Entity("route", keys=("tail", "dest"))
ROWS = pl.DataFrame(
    {
        "tail": ["B", "A", "A", None, "C"],
        "dest": ["LGA", "JFK", "LGA", "JFK", "EWR"],
        "dep": [NOON + 2 * HOUR, NOON, NOON + HOUR, NOON, None],
        "arr": [NOON + 5 * HOUR, NOON + 3 * HOUR, NOON + 4 * HOUR, NOON, NOON],
        "delay": [1.0, 30.0, 40.0, 2.0, 3.0],
    }
)
FLIGHTS = Source("flights", ROWS, event_time="dep", known_after="1h", column_times={"delay": "arr"})


def asked(frame):
    return [(*row[:-1], (row[-1] - NOON) // HOUR) for row in frame.rows()]


def test_at_a_moment_only_entities_that_were_known_are_asked_about(context):
    assert asked(spine(context, FLIGHTS, PLANE, at=NOON)) == []
    assert asked(spine(context, FLIGHTS, PLANE, at=NOON + HOUR)) == [("A", 1)]
    assert asked(spine(context, FLIGHTS, PLANE, at=[NOON + 9 * HOUR, NOON + HOUR])) == [("A", 1), ("A", 9), ("B", 9)]


def test_created_is_when_a_row_reached_us(context):
    rows = ROWS.with_columns(created=pl.col("dep") + timedelta(days=1))
    late = Source("flights", rows, event_time="dep", created="created")
    assert asked(spine(context, late, PLANE, at=NOON + 24 * HOUR)) == [("A", 24)]
    assert spine(context, late, PLANE, at=NOON + 23 * HOUR).height == 0


def test_every_so_often_between_two_moments(context):
    frame = spine(context, FLIGHTS, ROUTE, every="2h", start=NOON, end=NOON + 6 * HOUR, time="when")
    assert frame.columns == ["tail", "dest", "when"]
    assert asked(frame) == [("A", "JFK", 2), ("A", "LGA", 2), ("A", "JFK", 4), ("A", "LGA", 4), ("B", "LGA", 4)]


def test_days_are_days_of_the_zone_however_long(context):
    options = {"every": "1d", "start": "2013-03-09", "end": date(2013, 3, 13), "timezone": "America/New_York"}
    hours = spine(context, FLIGHTS, PLANE, **options).filter(tail="A")["t"].diff().drop_nulls().dt.total_hours()
    assert hours.to_list() == [24, 23, 24]


def test_at_the_events_with_their_labels(context):
    frame = spine(context, FLIGHTS, PLANE, columns=["delay"])
    assert frame.columns == ["tail", "delay", "t"]
    assert asked(frame) == [("A", 30.0, 0), ("A", 40.0, 1), ("B", 1.0, 2)]
    assert asked(spine(context, FLIGHTS, PLANE, start=NOON + HOUR, end=NOON + 2 * HOUR)) == [("A", 1)]
    assert asked(spine(context, FLIGHTS, [PLANE, ROUTE], where="delay > 30")) == [("A", "LGA", 1)]


def test_a_condition_counts_from_when_it_could_be_answered(context):
    assert asked(spine(context, FLIGHTS, PLANE, at=NOON + 3 * HOUR, where="delay >= 30")) == [("A", 3)]
    assert asked(spine(context, FLIGHTS, PLANE, at=NOON + 2 * HOUR, where="delay >= 30")) == []


def test_a_view_or_its_name_says_it_all_and_the_frame_is_a_spine(context):
    view = FeatureView("last", entity=PLANE, source=FLIGHTS, features=["delay"])
    Catalogue(context).apply(view)
    frame = spine(context, "last", at=NOON + 4 * HOUR)
    assert frame.equals(spine(context, view, at=NOON + 4 * HOUR))
    train = training_set(context, frame, ["last:delay"], time="t")
    assert train.to_polars().rows() == [("A", NOON + 4 * HOUR, 40.0), ("B", NOON + 4 * HOUR, None)]


def test_entities_without_times_are_always_known(context):
    planes = Source("planes", pl.DataFrame({"tail": ["B", "A", "B"]}))
    assert spine(context, planes, PLANE, at=NOON)["tail"].to_list() == ["A", "B"]
    with pytest.raises(Invalid, match="has no events"):
        spine(context, planes, PLANE)


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"at": "2013-06-01"}, Invalid, r"has no time zone. Write 2013-06-01T00:00:00Z, or give timezone='UTC'"),
        ({"at": "June"}, Invalid, "'June' is not a time"),
        ({"at": NOON, "every": "1d"}, Invalid, "not both"),
        ({"every": "1d", "start": NOON}, Invalid, "both start= and end="),
        ({"at": NOON, "columns": ["delay"]}, Invalid, "taken from events"),
        ({"time": "tail"}, Invalid, "cannot be called 'tail'"),
        ({"where": "delay >"}, Invalid, "delay >"),
        ({"where": "delai > 3"}, NotFound, "Did you mean 'delay'"),
        ({"where": "delay = 'a'"}, Invalid, "delay = 'a'"),
        ({"columns": ["late"]}, NotFound, "'late'"),
        (
            {"every": "1d", "start": "2013-03-09T02:30", "end": "2013-03-12", "timezone": "America/New_York"},
            Invalid,
            "neve",
        ),
    ],
)
def test_bad_input_gets_a_sentence(context, options, error, said):
    with pytest.raises(error, match=said):
        spine(context, FLIGHTS, PLANE, **options)


def test_a_source_alone_does_not_say_whom_to_ask_about(context):
    with pytest.raises(Invalid, match=r"entity=tv.Entity"):
        spine(context, FLIGHTS, at=NOON)
    with pytest.raises(Invalid, match="neither"):
        spine(context, PLANE, at=NOON)


HOURS = st.integers(0, 6)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.sampled_from("abc"), HOURS, st.none() | HOURS, HOURS), max_size=8),
    st.lists(HOURS, min_size=1),
)
def test_nobody_is_asked_about_before_they_were_known(context, rows, moments):
    """The plain loop: known by then means some row with all its times, known and created by then."""
    frame = pl.DataFrame(
        [(tail, *(None if hour is None else NOON + hour * HOUR for hour in hours)) for tail, *hours in rows],
        {"tail": pl.String, **dict.fromkeys(("event", "known", "created"), pl.Datetime("us", "UTC"))},
        orient="row",
    )
    source = Source("rows", frame, event_time="event", known_at="known", created="created")
    found = asked(spine(context, source, PLANE, at=[NOON + hour * HOUR for hour in moments]))
    expected = [
        (tail, hour)
        for hour in sorted(set(moments))
        for tail in "abc"
        if any(t == tail and known is not None and max(known, created) <= hour for t, _, known, created in rows)
    ]
    assert found == expected
