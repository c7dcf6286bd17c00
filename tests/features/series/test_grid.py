from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trivet.errors import Invalid
from trivet.features.series.grid import Grid
from trivet.types import as_duration, from_micros, to_micros

MINUTE = timedelta(minutes=1)
CHANGES = {  # days around which clocks change, some of them at midnight, some by half an hour
    "Europe/Vienna": ["2026-03-29", "2026-10-25", "2026-07-01"],
    "America/New_York": ["2026-03-08", "2026-11-01"],
    "Australia/Lord_Howe": ["2026-04-05", "2026-10-04"],
    "America/Havana": ["2026-03-08", "2026-11-01"],
    "Africa/Cairo": ["2026-04-24", "2026-10-29"],
    "Asia/Kathmandu": ["2026-05-01"],
    "America/St_Johns": ["2026-11-01"],
}
DAYS = [(zone, day) for zone, days in CHANGES.items() for day in days]


def local_grid(step, zone, start, end):
    """By walking through every minute and looking at the clock on the wall."""
    clock, moment = [], start - timedelta(days=3)
    while moment < end + timedelta(days=3):
        clock.append((moment, moment.astimezone(ZoneInfo(zone)).replace(tzinfo=None)))
        moment += MINUTE
    found, wall = set(), datetime.combine(clock[0][1].date() + timedelta(days=1), datetime.min.time())
    while wall <= clock[-1][1] - timedelta(days=1):
        midnight = wall.replace(hour=0, minute=0)
        since = wall - midnight
        whole = (midnight - datetime(1970, 1, 1)).days if step >= timedelta(days=1) else 0
        if not since % min(step, timedelta(days=1)) and not timedelta(days=whole) % step:
            shown = [moment for moment, at in clock if at == wall]
            if not shown:  # the first minute after the jump
                shown = [clock[i][0] for i in range(1, len(clock)) if clock[i - 1][1] < wall < clock[i][1]]
            found |= {shown[0], *(each for each in shown[1:] if each - shown[0] >= step)}
        wall += MINUTE * 15
    return sorted(each for each in found if start <= each < end)


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from(DAYS),
    st.sampled_from(["15m", "30m", "1h", "2h", "6h", "12h", "1d", "2d"]),
    st.integers(0, 40),
    st.data(),
)
def test_a_grid_of_a_zone_is_what_the_clock_on_the_wall_shows(place, freq, early, data):
    zone, day = place
    start = datetime.fromisoformat(day).replace(tzinfo=UTC) - timedelta(hours=early)
    end = start + timedelta(hours=data.draw(st.integers(0, 70)))
    grid = Grid(as_duration(freq), zone)
    found = [from_micros(int(each)) for each in grid.between(to_micros(start), to_micros(end))]
    assert found == local_grid(timedelta(microseconds=as_duration(freq)), zone, start, end)


@given(st.integers(-(10**12), 10**12), st.integers(0, 10**9), st.sampled_from(["7m", "1h", "36h", "1d", "1w"]))
def test_without_a_zone_a_grid_counts_from_1970(start, length, freq):
    step = as_duration(freq)
    start, length = start * 1000, length * 10**3
    found = Grid(step).between(start, start + length).tolist()
    origin = as_duration("4d") if freq == "1w" else 0
    assert all(start <= each < start + length and (each - origin) % step == 0 for each in found)
    assert len(found) == -(-(start + length - origin) // step) - -(-(start - origin) // step)


def test_weeks_begin_on_mondays():
    start, end = (to_micros(datetime(2026, 11, day, tzinfo=UTC)) for day in (1, 28))
    for zone in (None, "Europe/Vienna"):
        found = Grid(as_duration("1w"), zone).between(start, end)
        days = [from_micros(int(each)).astimezone(ZoneInfo(zone or "UTC")) for each in found]
        assert [(each.weekday(), each.hour, each.day) for each in days] == [
            (0, 0, 2),
            (0, 0, 9),
            (0, 0, 16),
            (0, 0, 23),
        ]


@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25), ("2026-06-01", 24)])
def test_days_of_23_and_25_hours(day, hours):
    start = datetime.fromisoformat(day).replace(tzinfo=ZoneInfo("Europe/Vienna"))
    end = (datetime.fromisoformat(day) + timedelta(days=1)).replace(tzinfo=ZoneInfo("Europe/Vienna"))
    bounds = to_micros(start), to_micros(end)
    assert len(Grid(as_duration("1h"), "Europe/Vienna").between(*bounds)) == hours
    assert len(Grid(as_duration("6h"), "Europe/Vienna").between(*bounds)) == 4
    assert len(Grid(as_duration("1d"), "Europe/Vienna").between(*bounds)) == 1


def test_the_first_moment_from_then_on():
    hour = as_duration("1h")
    assert Grid(hour).at_or_after(0) == 0
    assert Grid(hour).at_or_after(1) == hour
    noon = to_micros(datetime(2026, 7, 1, 12, tzinfo=UTC))
    assert from_micros(Grid(24 * hour, "Europe/Vienna").at_or_after(noon)).isoformat() == "2026-07-01T22:00:00+00:00"


def test_what_is_no_grid():
    with pytest.raises(Invalid, match="longer than nothing"):
        Grid(0)
    with pytest.raises(Invalid, match="neither divides a day"):
        Grid(as_duration("7h"), "Europe/Vienna")
    with pytest.raises(Invalid, match="more than 100,000,000 moments"):
        Grid(1).between(0, 10**9)
