from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivet.errors import Invalid
from trivet.types import as_duration, as_utc, duration_text, from_micros, to_micros

HOUR = 3_600_000_000
aware = st.datetimes(
    min_value=datetime(2, 1, 1), max_value=datetime(9998, 1, 1), timezones=st.timezones() | st.just(UTC)
)


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("1us", 1),
        ("1ms", 1_000),
        ("1s", 1_000_000),
        ("1m", 60_000_000),
        ("1h", HOUR),
        ("1d", 24 * HOUR),
        ("1w", 7 * 24 * HOUR),
        ("1h30m", HOUR * 3 // 2),
        ("1.5h", HOUR * 3 // 2),
        (" 1 h 30 m ", HOUR * 3 // 2),
        ("0s", 0),
        ("9007199254740993us", 2**53 + 1),  # a float would say 9007199254740992
        (timedelta(hours=1), HOUR),
        (timedelta(0), 0),
    ],
)
def test_durations(text, micros):
    assert as_duration(text) == micros


@pytest.mark.parametrize(
    "value",
    ["", " ", "3", "h", "3 hours", "3H", "-1h", "1h-", "1..5h", "1e3s", "٣h", "1h;", timedelta(-1), 5, None, 1.5],
)
def test_what_is_no_duration(value):
    with pytest.raises(Invalid, match="not a duration"):
        as_duration(value)


@given(st.integers(0, 10**20))
def test_durations_read_back(micros):
    assert as_duration(duration_text(micros)) == micros


def test_a_negative_length_has_no_text():
    with pytest.raises(Invalid, match="negative"):
        duration_text(-1)


@given(aware)
def test_times_in_microseconds_and_back(time):
    back = from_micros(to_micros(time))
    assert back == time.astimezone(UTC)  # across zones, Python calls no time in a gap of the clock equal
    assert back.tzinfo is UTC


@given(aware, aware)
def test_microseconds_sort_as_times_do(one, other):
    assert (to_micros(one) < to_micros(other)) == (one.astimezone(UTC) < other.astimezone(UTC))


@given(aware)
def test_text_in_iso_8601_is_read(time):
    if time.utcoffset() % timedelta(minutes=1):  # a zone of long ago, with seconds
        return
    assert as_utc(time.isoformat()) == time.astimezone(UTC)
    assert as_utc(time).tzinfo is UTC


def test_both_hours_of_the_night_when_clocks_go_back():
    zone = ZoneInfo("America/New_York")
    first, second = (datetime(2013, 11, 3, 1, 30, fold=fold, tzinfo=zone) for fold in (0, 1))
    assert to_micros(second) - to_micros(first) == HOUR


def test_before_1970():
    assert to_micros(datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)) == -1
    assert from_micros(-1) == datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)


@pytest.mark.parametrize("value", [datetime(2013, 1, 1), "2013-01-01T00:00:00", "2013-01-01"])
def test_a_time_without_a_zone_is_refused(value):
    with pytest.raises(Invalid, match=r"no time zone.*Z"):
        as_utc(value)


@pytest.mark.parametrize(
    "value", ["", "yesterday", "2013-13-01T00:00:00Z", "2013-01-01T25:00:00Z", 5, None, date(2013, 1, 1)]
)
def test_what_is_no_time(value):
    with pytest.raises(Invalid, match="not a time"):
        as_utc(value)


def test_times_outside_of_the_calendar():
    with pytest.raises(Invalid, match="1 to 9999"):
        as_utc(datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=5))))
    for micros in (10**18, -(10**18), 10**30):
        with pytest.raises(Invalid, match="1 to 9999"):
            from_micros(micros)
