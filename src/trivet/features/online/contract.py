"""What an online store promises: the newest row of each key of a view, never an older one.

A store knows nothing of definitions or of time to live: it keeps rows with their times. Expiry is applied by the
reader (``trivet.features.reader``) with the rule of the training set, so both always agree.

Invariant: an engine moves bytes. ``put`` and ``get`` take keys and rows as ``trivet.features.online.encoding`` wrote
them, and all that an engine may know of a row is that it is a MessagePack array that begins with its ``as_of``. So
other things than rows of features can stand under a view's name, partial aggregates for example.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias

import msgspec

from trivet.types import Micros

__all__ = ["Batch", "Found", "Key", "OnlineStore", "Row"]

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


class Batch(NamedTuple):
    """What one call writes into one view, as bytes.

    Attributes:
        view: its name.
        rows: encoded keys, each once, and encoded rows.
        oldest, newest: the least and the greatest ``as_of`` among them; of no meaning without rows.
        watermark: up to when the view is materialized with this; None leaves it.
    """

    view: str
    rows: Sequence[tuple[bytes, bytes]]
    oldest: Micros = 0
    newest: Micros = 0
    watermark: Micros | None = None


class Found(NamedTuple):
    """What one view answers: its watermark, None if it was never materialized, and a row or None for each key."""

    watermark: Micros | None
    rows: list[bytes | None]


class OnlineStore(Protocol):
    """Keeps rows. Obligations of an implementation, examined by ``trivet.testing.online.OnlineContract``:

    * ``put`` is atomic per call where the engine can (LMDB, memory); where it cannot, per piece of a stated size,
      and a watermark comes with the last piece;
    * a row is replaced only by one with a greater or equal ``as_of``, also when several processes write at once, so
      repeated, interrupted and reordered materializations converge;
    * keys never collide: ``("1", "12")`` and ``("11", "2")``, ``1`` and ``"1"`` are different keys;
    * rows are lost only together with the watermark of their view, so lost is never mistaken for never seen;
    * reading needs no lock that a writer can hold; safe to share among threads and, where not in memory,
      among processes;
    * a store that cannot be reached raises ``Unavailable``, and the next call tries again.

    An engine writes ``put``, ``get``, ``erase``, ``drop``, ``views`` and ``close``; the verbs for rows come with
    ``trivet.features.online.rows.RowStore``.
    """

    @property
    def remote(self) -> bool:
        """Whether reading waits for a network."""
        ...

    def put(self, batches: Sequence[Batch]) -> list[int]:
        """Store the rows and watermarks of several views, and answer how many rows of each were replaced or added.

        A watermark never moves back.
        """
        ...

    def get(self, wanted: Sequence[tuple[str, Sequence[bytes]]]) -> list[Found]:
        """For each view and its keys what is there, in the order asked and in one round trip.

        The watermark and the rows of a view are of one moment.
        """
        ...

    def erase(self, view: str, keys: Sequence[Key]) -> int:
        """Forget the rows of some keys, for example of a person who asked for it; answers how many there were."""
        ...

    def drop(self, view: str) -> None:
        """Forget all rows and the watermark of ``view``."""
        ...

    def views(self) -> list[str]:
        """The names under which anything is kept, in order."""
        ...

    def close(self) -> None:
        """Release what is open. Calling it twice is no error."""
        ...

    def write(self, view: str, rows: Iterable[tuple[Key, Row]], *, watermark: Micros | None = None) -> int:
        """``put`` for one view and rows of features."""
        ...

    def read(self, view: str, keys: Sequence[Key]) -> list[Row | None]:
        """``get`` for one view and rows of features: the row of each key, None where there is none."""
        ...

    def watermark(self, view: str) -> Micros | None:
        """Up to when ``view`` was last materialized, None if never."""
        ...
