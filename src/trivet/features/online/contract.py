"""What an online store promises: the newest row of each key of a view, never an older one.

A store knows nothing of definitions or of time to live: it keeps rows with their times. Expiry is applied by the
reader (``trivet.features.reader``) with the rule of the training set, so both always agree.

Invariant: an engine moves bytes. ``put`` and ``get`` take keys and rows as ``trivet.features.online.encoding`` wrote
them, and all that an engine may know of a row is that it is a MessagePack array that begins with its ``as_of``. So
other things than rows of features can stand under a view's name, partial aggregates for example.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

import msgspec

from trivet.types import Micros

__all__ = ["Batch", "Columns", "Encoded", "Found", "Key", "OnlineStore", "Pairs", "Placed", "Row"]

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


class Pairs(Protocol):
    """Encoded keys, each once, with their encoded rows; may be gone through again. A list is one, and ``Columns``."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]: ...


class Encoded(Protocol):
    """Encoded keys or rows that may be made while they are gone through, each time anew."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[bytes]: ...


@runtime_checkable
class Placed(Encoded, Protocol):
    """Encoded keys that can be made with something before each, which spares an engine to make them twice."""

    longest: int
    """Bytes that a key has at most."""

    def under(self, prefix: bytes) -> Iterator[bytes]:
        """The keys with ``prefix`` before each."""
        ...


@dataclass(frozen=True)
class Columns:
    """Many pairs, as keys in ascending order and their rows, which need not all be in memory at once.

    Example:
        >>> list(Columns([b"a", b"b"], [b"1", b"2"]))
        [(b'a', b'1'), (b'b', b'2')]
    """

    keys: Encoded
    rows: Encoded

    @classmethod
    def of(cls, pairs: Pairs) -> Columns:
        """Pairs as columns, put in order if they are not columns already."""
        if isinstance(pairs, Columns):
            return pairs
        ordered = sorted(pairs)
        return cls([key for key, _ in ordered], [data for _, data in ordered])

    def __len__(self) -> int:
        return len(self.keys)

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        return zip(self.keys, self.rows, strict=True)


class Batch(NamedTuple):
    """What one call writes into one view, as bytes.

    Attributes:
        view: its name.
        rows: encoded keys and encoded rows. What goes wrong while they are made stops the call, and a store undoes what
            it undoes for any write that fails.
        oldest, newest: the least and the greatest ``as_of`` among them; of no meaning without rows.
        watermark: up to when the view is materialized with this; None leaves it.
        others: rows of the view with other keys than these are forgotten, unless their ``as_of`` is greater than this:
            what is no longer in a source is no longer online. None keeps them.
    """

    view: str
    rows: Pairs
    oldest: Micros = 0
    newest: Micros = 0
    watermark: Micros | None = None
    others: Micros | None = None


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
