"""The kind ``json``: numbers, text, truth values, None, and lists and string-keyed dicts of these.

Tuples come back as lists, dataclasses and Structs as dicts, NumPy scalars as plain numbers. JSON knows no NaN or
infinity: they are stored as ``{"$float": "nan"}``, ``"inf"`` or ``"-inf"`` and come back as floats. Content is the
canonical digest of the value, in which 1 and 1.0 differ; the order of keys does not count, and comes back.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import msgspec

from trivet.digest import digest
from trivet.errors import Corrupt, Invalid
from trivet.ledger import Artifact, Blobs
from trivet.pipelines.values.contract import Kind, Saved
from trivet.types import Json

__all__ = ["JsonKind", "open_kind", "plain"]

FILE = "value.json"
_FLOAT = "$float"
_SMALLEST, _LARGEST = -(2**63), 2**64 - 1


class JsonKind:
    """Values of JSON."""

    name = "json"

    def accepts(self, value: object) -> bool:
        """Whether the value is of JSON through and through."""
        try:
            plain(value)
        except Invalid:
            return False
        return True

    def save(self, value: Any, blobs: Blobs) -> Saved:
        """Store the value as one JSON file."""
        data = plain(value)
        file = blobs.put(msgspec.json.encode(_marked(data)))
        return Saved({}, {FILE: file}, digest("json", data))

    def load(self, artifact: Artifact, blobs: Blobs) -> Json:
        """The value again."""
        content = blobs.read(artifact.files[FILE].digest)
        try:
            return _unmarked(msgspec.json.decode(content))
        except msgspec.DecodeError as exc:
            raise Corrupt(f"{artifact.id} is not readable as JSON: {exc}.") from exc


def open_kind() -> Kind:
    """The kind, for ``trivet.plugins``."""
    return JsonKind()


def plain(value: object, where: str = "The value") -> Json:
    """``value`` as plain JSON values, floats that JSON does not know included.

    Raises:
        Invalid: something inside is no JSON value; the sentence says where.

    Example:
        >>> plain({"shape": (2, 3)})
        {'shape': [2, 3]}
    """
    match value:
        case None | bool():
            return value
        case str():
            return str(_encodable(value, where))
        case int():
            if not _SMALLEST <= value <= _LARGEST:
                raise Invalid(f"{where} is {value}, an integer beyond 64 bits, which JSON readers round. Use text.")
            return int(value)
        case float():
            return float(value)
        case list() | tuple():
            return [plain(item, f"{where}[{place}]") for place, item in enumerate(value)]
        case Mapping():
            return _plain_dict(value, where)
        case msgspec.Struct():
            return plain(msgspec.structs.asdict(value), where)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return plain({field.name: getattr(value, field.name) for field in dataclasses.fields(value)}, where)
    if type(value).__module__ == "numpy" and getattr(value, "shape", None) == () and hasattr(value, "item"):
        return plain(value.item(), where)
    raise Invalid(
        f"{where} is of type {type(value).__module__}.{type(value).__qualname__}, which is no JSON value. Give "
        "numbers, text, lists and dicts, a data frame, a Path to files, or a model."
    )


def _plain_dict(value: Mapping[Any, Any], where: str) -> Json:
    found: dict[str, Json] = {}
    for key, item in value.items():
        if not isinstance(key, str):
            raise Invalid(f"{where} has the key {key!r}, and keys of JSON are text. Write {str(key)!r}.")
        found[str(_encodable(key, where))] = plain(item, f"{where}[{key!r}]")
    if found.keys() == {_FLOAT}:
        raise Invalid(f"{where} is a dict with the only key {_FLOAT!r}, which stands for a float that JSON lacks.")
    return found


def _encodable(text: str, where: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as exc:
        raise Invalid(f"{where} holds text with a lone surrogate, which no file can hold: {text!r}.") from exc
    return text


def _marked(value: Json) -> Json:
    if isinstance(value, float) and not math.isfinite(value):
        return {_FLOAT: str(value)}
    if isinstance(value, list):
        return [_marked(item) for item in value]
    if isinstance(value, dict):
        return {key: _marked(item) for key, item in value.items()}
    return value


def _unmarked(value: Any) -> Json:
    if isinstance(value, list):
        return [_unmarked(item) for item in value]
    if isinstance(value, dict):
        if value.keys() == {_FLOAT}:
            return float(value[_FLOAT])
        return {key: _unmarked(item) for key, item in value.items()}
    return value  # type: ignore[no-any-return]
