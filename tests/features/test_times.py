from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import polars as pl
import pytest

from trivet.errors import Invalid
from trivet.features.times import Rules, to_micros

NEW_YORK = Rules("source 'flights'", timezone="America/New_York")
NOON = datetime(2013, 7, 1, 12, tzinfo=UTC)
MICROS = int(NOON.timestamp()) * 1_000_000


@pytest.mark.parametrize("unit", ["ns", "us", "ms"])
@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata"])
def test_times_with_a_zone_need_no_rule(unit, zone):
    column = pl.Series("t", [NOON, None]).dt.convert_time_zone(zone).cast(pl.Datetime(unit, zone))
    assert to_micros(column, Rules("x")).to_list() == [MICROS, None]


def test_nanoseconds_are_cut():
    column = pl.Series("t", [1_999], dtype=pl.Int64).cast(pl.Datetime("ns", "UTC"))
    assert to_micros(column, Rules("x")).to_list() == [1]


def test_naive_times_are_local_to_the_declared_zone():
    for values in ([datetime(2013, 7, 1, 8)], ["2013-07-01T08:00:00"], ["2013-07-01 08:00"]):
        assert to_micros(pl.Series("t", values), NEW_YORK).to_list() == [MICROS]
    assert to_micros(pl.Series("t", [date(2013, 7, 1)]), NEW_YORK).to_list() == [MICROS - 8 * 3_600_000_000]


def test_text_may_carry_its_zone():
    texts = [
        "2013-07-01T12:00:00Z",
        "2013-07-01T17:30:00+05:30",
        "2013-07-01T08:00:00",
        None,
        "2013-07-01T12:00:00.000001Z",
    ]
    assert to_micros(pl.Series("t", texts), NEW_YORK).to_list() == [MICROS, MICROS, MICROS, None, MICROS + 1]


@pytest.mark.parametrize("values", [[datetime(2013, 7, 1)], ["2013-07-01T08:00:00"], [date(2013, 7, 1)]])
def test_naive_times_without_a_zone_name_source_and_column(values):
    with pytest.raises(Invalid, match=r"Column 'dep' of source 'flights' has times without a zone. Declare it"):
        to_micros(pl.Series("dep", values), Rules("source 'flights'"))


FALL_BACK = [datetime(2013, 11, 3, 0, 30), datetime(2013, 11, 3, 1, 30), datetime(2013, 11, 3, 1, 45)]
SPRING = [datetime(2013, 3, 10, 2, 30), datetime(2013, 3, 10, 3, 30)]


def test_times_that_happen_twice_are_an_error_unless_a_rule_is_given():
    with pytest.raises(Invalid, match=r"2 of 3 times .* happened twice in America/New_York, first 2013-11-03T01:30:00"):
        to_micros(pl.Series("t", FALL_BACK), NEW_YORK)
    zone = {"earliest": -4, "latest": -5}
    for rule, hours in zone.items():
        rules = Rules("x", timezone="America/New_York", ambiguous=rule)
        expected = datetime(2013, 11, 3, 1, 30, tzinfo=timezone(timedelta(hours=hours)))
        assert to_micros(pl.Series("t", FALL_BACK), rules)[1] == int(expected.timestamp()) * 1_000_000
    rules = Rules("x", timezone="America/New_York", ambiguous="null")
    assert to_micros(pl.Series("t", FALL_BACK), rules).is_null().to_list() == [False, True, True]


def test_times_that_never_happen_are_an_error_unless_a_rule_is_given():
    with pytest.raises(Invalid, match=r"1 of 2 times .* never happened .* first 2013-03-10T02:30:00"):
        to_micros(pl.Series("t", SPRING), NEW_YORK)
    rules = Rules("x", timezone="America/New_York", nonexistent="null")
    assert to_micros(pl.Series("t", SPRING), rules).is_null().to_list() == [True, False]


def test_what_is_no_time_is_refused():
    with pytest.raises(Invalid, match="has type Int64, which is no time"):
        to_micros(pl.Series("t", [20130701]), NEW_YORK)
    with pytest.raises(Invalid, match="holds 'noon', which is no time"):
        to_micros(pl.Series("t", ["noon"]), NEW_YORK)


def test_a_column_of_nulls_is_never_known():
    assert to_micros(pl.Series("t", [None, None]), Rules("x")).to_list() == [None, None]
    assert to_micros(pl.Series("t", [None], dtype=pl.Datetime("us")), Rules("x")).to_list() == [None]
