"""The online store in memory: one process, nothing kept. For tests, notebooks and small services.

Invariant: the state is one dictionary that is never changed, only replaced by a single assignment. A reader
therefore needs no lock and sees all of a write or none of it.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from trivet.features.online.contract import Batch, Found, Key, OnlineStore
from trivet.features.online.encoding import as_of, encode_key
from trivet.features.online.rows import RowStore
from trivet.types import Micros

__all__ = ["MemoryStore", "open_store"]


class _View(NamedTuple):
    rows: dict[bytes, bytes]  # never changed once it stands here
    watermark: Micros | None


_EMPTY = _View({}, None)


class MemoryStore(RowStore):
    """Rows in a dictionary, as bytes: what is read is a copy, and what has no stored form is refused as elsewhere.

    A write copies the dictionary of its view, so write in batches.

    Example:
        >>> from trivet.features.online.contract import Row
        >>> store = MemoryStore()
        >>> store.write("weather", [(("JFK",), Row(10, [21.5], [9]))], watermark=10)
        1
        >>> store.read("weather", [("JFK",), ("LGA",)])
        [Row(as_of=10, values=[21.5], times=[9]), None]
    """

    def __init__(self) -> None:
        self._views: dict[str, _View] = {}  # replaced and never changed
        self._writing = threading.Lock()

    def put(self, batches: Sequence[Batch]) -> list[int]:
        """See ``OnlineStore.put``. Atomic."""
        with self._writing:
            views, written = dict(self._views), []
            for batch in batches:
                before = views.get(batch.view, _EMPTY)
                rows = _without_others(before.rows, batch)
                fresh = {key: data for key, data in batch.rows if key not in rows or as_of(rows[key]) <= as_of(data)}
                views[batch.view] = _View(rows | fresh, _later(before.watermark, batch.watermark))
                written.append(len(fresh))
            self._views = views
        return written

    def get(self, wanted: Sequence[tuple[str, Sequence[bytes]]]) -> list[Found]:
        """See ``OnlineStore.get``. All views as of one moment between two writes."""
        views = self._views
        found = [(views.get(view, _EMPTY), keys) for view, keys in wanted]
        return [Found(view.watermark, [view.rows.get(key) for key in keys]) for view, keys in found]

    def erase(self, view: str, keys: Sequence[Key]) -> int:
        """See ``OnlineStore.erase``."""
        names = {encode_key(key) for key in keys}
        with self._writing:
            before = self._views.get(view, _EMPTY)
            after = {key: data for key, data in before.rows.items() if key not in names}
            if len(after) < len(before.rows):
                self._views = self._views | {view: _View(after, before.watermark)}
        return len(before.rows) - len(after)

    def drop(self, view: str) -> None:
        """See ``OnlineStore.drop``."""
        with self._writing:
            self._views = {name: kept for name, kept in self._views.items() if name != view}

    def views(self) -> list[str]:
        """See ``OnlineStore.views``."""
        return sorted(self._views)

    def close(self) -> None:
        """Nothing is open."""


def open_store(url: str, root: Path) -> OnlineStore:  # noqa: ARG001 - memory has no address
    """A new, empty store: ``memory:``."""
    return MemoryStore()


def _without_others(rows: dict[bytes, bytes], batch: Batch) -> dict[bytes, bytes]:
    """What a batch leaves of the rows that are there."""
    if batch.others is None:
        return rows
    own = {key for key, _ in batch.rows}
    return {key: data for key, data in rows.items() if key in own or as_of(data) > batch.others}


def _later(one: Micros | None, other: Micros | None) -> Micros | None:
    return max((moment for moment in (one, other) if moment is not None), default=None)
