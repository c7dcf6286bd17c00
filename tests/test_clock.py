from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from weakref import WeakKeyDictionary

import pytest

from trivet.clock import FixedClock, new_id, system_clock
from trivet.types import to_micros

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def milliseconds(ulid):
    """The time of a ULID, by the text of its specification: ten characters of base 32."""
    value = 0
    for character in ulid[:10]:
        value = value * 32 + ALPHABET.index(character)
    return value


@pytest.fixture(autouse=True)
def no_last_id(monkeypatch):
    monkeypatch.setattr("trivet.clock._last", WeakKeyDictionary())


def test_the_system_clock_is_in_utc():
    before = datetime.now(UTC)
    assert before <= system_clock() <= datetime.now(UTC)
    assert system_clock().tzinfo is UTC


def test_a_fixed_clock_stands_still():
    clock = FixedClock(datetime(2013, 1, 1, tzinfo=UTC))
    assert clock() == clock()
    clock.advance(timedelta(days=1))
    assert clock() == datetime(2013, 1, 2, tzinfo=UTC)
    clock.set(datetime(2026, 1, 1, tzinfo=UTC))
    assert clock() == datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "time", [datetime(1970, 1, 1, tzinfo=UTC), datetime(2026, 11, 20, 1, 2, 3, 456_789, tzinfo=UTC)]
)
def test_an_id_holds_its_time(time):
    ulid = new_id(FixedClock(time))
    assert len(ulid) == 26
    assert set(ulid) <= set(ALPHABET)
    assert ulid[0] <= "7"
    assert milliseconds(ulid) == to_micros(time) // 1000


def test_ids_increase_while_the_clock_stands_still():
    clock = FixedClock(datetime(2026, 1, 1, tzinfo=UTC))
    ids = [new_id(clock) for _ in range(5_000)]
    assert ids == sorted(set(ids))
    assert milliseconds(ids[-1]) - milliseconds(ids[0]) <= 1


def test_ids_increase_when_the_clock_is_set_right():
    clock = FixedClock(datetime(2026, 1, 1, tzinfo=UTC))
    later = new_id(clock)
    clock.advance(timedelta(days=-1))
    assert later < new_id(clock) < new_id(clock)


def test_a_clock_of_another_time_does_not_drag_ids_along():
    """A replay of the future in this process must not give today's runs ids that other processes cannot reach."""
    future = new_id(FixedClock(datetime(2100, 1, 1, tzinfo=UTC)))
    now = FixedClock(datetime(2026, 1, 1, tzinfo=UTC))
    today = new_id(now)
    assert today < future
    assert today < new_id(now)


def test_threads_get_ids_of_their_own():
    clock = FixedClock(datetime(2026, 1, 1, tzinfo=UTC))
    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(lambda _: new_id(clock), range(2_000)))
    assert len(set(ids)) == 2_000


def test_forks_get_ids_of_their_own():
    clock = FixedClock(datetime(2026, 1, 1, tzinfo=UTC))
    clock.advance(timedelta(seconds=30))
    new_id(clock)
    clock.advance(timedelta(seconds=-30))  # so that every further id is a step from the last, which the forks share
    reading, writing = os.pipe()
    for _ in range(3):
        if os.fork() == 0:
            os.write(writing, "".join(new_id(clock) for _ in range(50)).encode())
            os._exit(0)
        os.wait()
    written = os.read(reading, 1 << 16).decode()
    ids = [written[start : start + 26] for start in range(0, len(written), 26)]
    assert len(ids) == len(set(ids)) == 150
