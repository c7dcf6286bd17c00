"""Where the present comes from, and ids that sort by it.

Code that needs the present takes a ``Clock``; only this module asks the operating system. Ids are ULIDs
(https://github.com/ulid/spec): 48 bits of milliseconds and 80 random bits in Crockford's base 32, strictly
increasing for each clock within a process, and different between processes even where one is a fork of the other.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TypeAlias
from weakref import WeakKeyDictionary

from trivet.types import to_micros

__all__ = ["Clock", "FixedClock", "new_id", "system_clock"]

Clock: TypeAlias = Callable[[], datetime]
"""Anything that answers the present as an aware UTC time."""

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_RANDOM_BITS = 80
_lock = threading.Lock()
_last: WeakKeyDictionary[Clock, int] = WeakKeyDictionary()  # the one piece of state: ids of a clock strictly increase


def system_clock() -> datetime:
    """The present, by the operating system."""
    return datetime.now(UTC)


class FixedClock:
    """A clock that stands still until told otherwise, for tests and replays.

    Example:
        >>> clock = FixedClock(datetime(2013, 1, 1, tzinfo=UTC))
        >>> clock.advance(timedelta(hours=1))
        >>> clock().isoformat()
        '2013-01-01T01:00:00+00:00'
    """

    def __init__(self, now: datetime) -> None:
        self._now = now

    def __call__(self) -> datetime:
        """The time it was last set to."""
        return self._now

    def advance(self, by: timedelta) -> None:
        """Move the clock forward."""
        self._now += by

    def set(self, now: datetime) -> None:
        """Move the clock to ``now``."""
        self._now = now


def new_id(clock: Clock = system_clock) -> str:
    """A fresh ULID: 26 characters that sort by time of creation.

    Example:
        >>> first, second = new_id(), new_id()
        >>> len(first), first < second
        (26, True)
    """
    value = (to_micros(clock()) // 1000) << _RANDOM_BITS | int.from_bytes(os.urandom(_RANDOM_BITS // 8))
    with _lock:
        last = _last.get(clock, 0)
        if value <= last:
            # A random step and not one, or a forked process at the same millisecond would make the same ids.
            value = last + 1 + int.from_bytes(os.urandom(8))
        _last[clock] = value
    return "".join(_ALPHABET[value >> shift & 31] for shift in range(125, -5, -5))
