"""What an online store promises: the newest row of each key of a view, never an older one.

A store knows nothing of definitions or of time to live: it keeps rows of values with their times. Expiry is
applied by the reader (``trivet.features.reader``) with the rule of the training set, so both always agree.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol, TypeAlias

import msgspec

from trivet.types import Micros

__all__ = ["Key", "OnlineStore", "Row"]

Key: TypeAlias = tuple[str | int | float | bool, ...]
"""The values of an entity's keys in their declared order."""


class Row(msgspec.Struct, frozen=True, array_like=True):
    """The values of one key of a view.

    Attributes:
        as_of: the moment up to which everything known went into this row.
        values: one per feature of the view, in the view's order; null is a value.
        times: for each value the event time of the row it came from; ``as_of`` for a windowed aggregate;
            None where nothing was ever seen.
    """

    as_of: Micros
    values: list[Any]
    times: list[Micros | None]


class OnlineStore(Protocol):
    """Keeps rows. Obligations of an implementation:

    * ``write`` is atomic per call where the engine can (LMDB, memory) and per row where it cannot;
    * a row is replaced only by one with a greater or equal ``as_of``, so repeated, interrupted and reordered
      materializations converge;
    * keys never collide: ``("1", "12")`` and ``("11", "2")``, ``1`` and ``"1"`` are different keys;
    * reading needs no lock that a writer can hold; safe to share among threads and, where not in memory,
      among processes.
    """

    def write(self, view: str, rows: Iterable[tuple[Key, Row]], *, watermark: Micros | None = None) -> int:
        """Store rows of ``view`` and, in the same transaction where possible, its watermark.

        Answers how many rows were replaced or added. The watermark never moves back.
        """
        ...

    def read(self, view: str, keys: Sequence[Key]) -> list[Row | None]:
        """The row of each key, None where there is none, in the order asked."""
        ...

    def watermark(self, view: str) -> Micros | None:
        """Up to when ``view`` was last materialized, None if never."""
        ...

    def drop(self, view: str) -> None:
        """Forget all rows and the watermark of ``view``."""
        ...

    def close(self) -> None:
        """Release what is open. Calling it twice is no error."""
        ...
