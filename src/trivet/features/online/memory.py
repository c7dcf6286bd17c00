"""The online store in memory: one process, nothing kept. For tests, notebooks and small services.

Invariant: the state of a view is one immutable pair of rows and watermark, replaced by a single assignment. A
reader therefore needs no lock and sees all of a write or none of it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from trivet.features.online.contract import Key, OnlineStore, Row
from trivet.features.online.encoding import as_of, decode_row, encode_key, encode_row
from trivet.types import Micros

__all__ = ["MemoryStore", "open_store"]


class _View(NamedTuple):
    rows: dict[bytes, bytes]  # never changed once it stands here
    watermark: Micros | None


_EMPTY = _View({}, None)


class MemoryStore:
    """Rows in a dictionary, as bytes: what is read is a copy, and what has no stored form is refused as elsewhere.

    A write copies the dictionary of its view, so write in batches.

    Example:
        >>> store = MemoryStore()
        >>> store.write("weather", [(("JFK",), Row(10, [21.5], [9]))], watermark=10)
        1
        >>> store.read("weather", [("JFK",), ("LGA",)])
        [Row(as_of=10, values=[21.5], times=[9]), None]
    """

    def __init__(self) -> None:
        self._views: dict[str, _View] = {}
        self._writing = threading.Lock()

    def write(self, view: str, rows: Iterable[tuple[Key, Row]], *, watermark: Micros | None = None) -> int:
        """See ``OnlineStore.write``. Atomic."""
        encoded = [(encode_key(key), row.as_of, encode_row(row)) for key, row in rows]
        with self._writing:
            before = self._views.get(view, _EMPTY)
            after, changed = dict(before.rows), set()
            for key, moment, data in encoded:
                if key not in after or as_of(after[key]) <= moment:
                    after[key] = data
                    changed.add(key)
            self._views[view] = _View(after, _later(before.watermark, watermark))
        return len(changed)

    def read(self, view: str, keys: Sequence[Key]) -> list[Row | None]:
        """See ``OnlineStore.read``. All keys as of one moment between two writes."""
        rows = self._views.get(view, _EMPTY).rows
        found = [rows.get(encode_key(key)) for key in keys]
        return [None if data is None else decode_row(data) for data in found]

    def watermark(self, view: str) -> Micros | None:
        """See ``OnlineStore.watermark``."""
        return self._views.get(view, _EMPTY).watermark

    def drop(self, view: str) -> None:
        """See ``OnlineStore.drop``."""
        with self._writing:
            self._views.pop(view, None)

    def close(self) -> None:
        """Nothing is open."""


def open_store(url: str, root: Path) -> OnlineStore:  # noqa: ARG001 - memory has no address
    """A new, empty store: ``memory:``."""
    return MemoryStore()


def _later(one: Micros | None, other: Micros | None) -> Micros | None:
    return max((moment for moment in (one, other) if moment is not None), default=None)
