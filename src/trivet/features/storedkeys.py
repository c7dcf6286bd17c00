"""The types that the keys of a view have in the online store, for entities that declare none.

A key of another type than those that were materialized finds nothing and looks like one that was never seen. So a
materialization leaves the types of its keys beside what it was made from, and readers take them for declared.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trivet.features.definitions import Entity
from trivet.features.online.contract import OnlineStore, Row
from trivet.features.online.encoding import decode_row, encode_key, encode_row
from trivet.types import Micros

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import polars as pl

__all__ = ["PAST", "stored_types", "types_row"]

PAST = "#past"
"""After the name of a view, its companion in the store: from what its rows were made."""
_PLACE = encode_key(("types",))
_TYPES = {"String": "string", "Int64": "int", "Boolean": "bool", "Date": "date"}


def types_row(keys: Mapping[str, pl.DataType], moment: Micros) -> tuple[bytes, bytes]:
    """What a materialization writes into the companion of a view whose keys have these types.

    Example:
        >>> import polars as pl
        >>> decode_row(types_row({"origin": pl.String()}, 5)[1]).values
        ['string']
    """
    return _PLACE, encode_row(Row(moment, [_TYPES.get(str(dtype)) for dtype in keys.values()], []))


def stored_types(store: OnlineStore, views: Sequence[tuple[str, Entity]]) -> list[Entity]:
    """The entities of views, given with the views' names online, with the types that the store has where none are declared."""
    found = store.get([(name + PAST, [_PLACE]) for name, _ in views])
    return [_with_types(entity, one.rows[0]) for (_, entity), one in zip(views, found, strict=True)]


def _with_types(entity: Entity, row: bytes | None) -> Entity:
    if row is None:
        return entity
    types = zip(entity.keys, entity.types, decode_row(row).values, strict=True)
    return Entity(entity.name, keys={key: declared or stored for key, declared, stored in types})
