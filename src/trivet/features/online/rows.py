"""The verbs for rows of features, the same for every engine: what stands between ``Row`` and bytes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import ClassVar

from trivet.features.online.contract import Batch, Found, Key, Row
from trivet.features.online.encoding import decode_row, encode_key, encode_row
from trivet.types import Micros

__all__ = ["RowStore", "batch_of"]


class RowStore(ABC):
    """To inherit: an engine adds ``put``, ``get``, ``erase``, ``drop``, ``views`` and ``close``."""

    remote: ClassVar[bool] = False

    @abstractmethod
    def put(self, batches: Sequence[Batch]) -> list[int]:
        """See ``OnlineStore.put``."""

    @abstractmethod
    def get(self, wanted: Sequence[tuple[str, Sequence[bytes]]]) -> list[Found]:
        """See ``OnlineStore.get``."""

    def write(self, view: str, rows: Iterable[tuple[Key, Row]], *, watermark: Micros | None = None) -> int:
        """See ``OnlineStore.write``.

        Raises:
            Invalid: a key or a value that cannot be stored.
        """
        batch = batch_of(view, rows, watermark=watermark)
        if not batch.rows and watermark is None:
            return 0
        [written] = self.put([batch])
        return written

    def read(self, view: str, keys: Sequence[Key]) -> list[Row | None]:
        """See ``OnlineStore.read``."""
        [found] = self.get([(view, [encode_key(key) for key in keys])])
        return [None if data is None else decode_row(data) for data in found.rows]

    def watermark(self, view: str) -> Micros | None:
        """See ``OnlineStore.watermark``."""
        [found] = self.get([(view, ())])
        return found.watermark


def batch_of(view: str, rows: Iterable[tuple[Key, Row]], *, watermark: Micros | None = None) -> Batch:
    r"""Rows as bytes, the newest of each key and of equally new ones the last.

    Example:
        >>> batch_of("v", [(("a",), Row(2, [], [])), (("a",), Row(1, [], []))]).rows
        [(b'\x91\xa1a', b'\x93\x02\x90\x90')]
    """
    newest: dict[bytes, tuple[Micros, bytes]] = {}
    for key, row in rows:
        name = encode_key(key)
        if name not in newest or newest[name][0] <= row.as_of:
            newest[name] = (row.as_of, encode_row(row))
    moments = [moment for moment, _ in newest.values()]
    encoded = [(name, data) for name, (_, data) in newest.items()]
    return Batch(view, encoded, min(moments, default=0), max(moments, default=0), watermark)
