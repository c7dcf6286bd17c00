"""What one model wants of a request, compiled once from its signature so that checking a request is cheap.

A column of the signature comes from a feature view (``feature`` is ``"view:feature"``), is an entity key (the airport
itself may be an input beside its features), or is a value of the request. Rules, the same over every protocol and in a replay:

* every entity key and every request column must be sent; what is unknown is null, said explicitly, not left out;
* null is allowed for entity keys (its features are then missing) and for columns of type number and category;
  a boolean column has no null;
* a number is finite; a category is text, and one never seen in training is allowed, as in training;
* a feature value that is not finite is served as null, which is also how it is recorded.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from trivet.errors import Invalid, nearest

__all__ = ["InputColumn", "Inputs", "ModelSignature"]

_GREATEST = 2**63
_WORDS = {"text": "text", "integer": "integer", "number": "number", "boolean": "boolean", "": "text or number"}


class InputColumn(Protocol):
    """One column that a model reads. ``trivet.pipelines.values.model.Column`` is one."""

    @property
    def name(self) -> str:
        """Its name in the training set."""
        ...

    @property
    def type(self) -> str:
        """``number``, ``category`` or ``boolean``."""
        ...

    @property
    def feature(self) -> str | None:
        """``view:feature``, or None for a value of the request."""
        ...


class ModelSignature(Protocol):
    """What a model reads and answers. ``trivet.pipelines.values.model.Signature`` is one."""

    @property
    def inputs(self) -> Sequence[InputColumn]:
        """The columns in the model's order."""
        ...

    @property
    def classes(self) -> Sequence[Any] | None:
        """The classes in the order of the probabilities; None for a regression."""
        ...


class Inputs:
    """The compiled wishes of one model.

    Args:
        signature: the model's.
        entity_types: entity key to ``text``, ``integer`` or ``boolean``; ``""`` where any scalar will do.
        request: further values that the caller must send, for features that are computed of them: name to ``number``,
            ``category`` or ``boolean``; ``""`` where anything will do.

    Attributes:
        entities: entity key to type, in order.
        values: request column to type (``number``, ``category``, ``boolean``), in order.
        features: column to the ``view:feature`` it is read from, in order.
    """

    def __init__(
        self, signature: ModelSignature, entity_types: Mapping[str, str], request: Mapping[str, str] = {}
    ) -> None:
        self.entities = dict(entity_types)
        own = [column for column in signature.inputs if column.feature is None]
        self.values = {column.name: column.type for column in own if column.name not in self.entities}
        self.values |= {n: kind for n, kind in request.items() if n not in self.values and n not in self.entities}
        self._keys_read = {column.name: column.type for column in own if column.name in self.entities}
        self.features = {column.name: column.feature for column in signature.inputs if column.feature is not None}
        self._plan = tuple((column.name, column.feature) for column in signature.inputs)

    def check(self, entities: Mapping[str, Any], values: Mapping[str, Any], *, where: str = "The request") -> None:
        """Examine one request.

        Raises:
            Invalid: a key or value is missing, unknown or of another type; everything of that sort is named.
        """
        if entities.keys() != self.entities.keys():
            raise Invalid(self._misfit(where, "entity key", entities, self.entities))
        if values.keys() != self.values.keys():
            raise Invalid(self._misfit(where, "value", values, self.values))
        for name, kind in self.entities.items():
            if not _is_key(entities[name], kind):
                raise Invalid(_mistyped(where, "entity key", name, entities[name], f"{_WORDS[kind]} or null"))
        for given, noun, kinds in ((entities, "entity key", self._keys_read), (values, "value", self.values)):
            for name, kind in kinds.items():
                if not _CHECKS[kind](given[name]):
                    raise Invalid(_mistyped(where, noun, name, given[name], _expected(kind)))

    def row(
        self, entities: Mapping[str, Any], values: Mapping[str, Any], features: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The row that the model scores. ``features`` is by reference; one that was not read is null."""
        keys = self._keys_read
        return {
            name: (entities if name in keys else values)[name]
            if reference is None
            else _finite(features.get(reference))
            for name, reference in self._plan
        }

    def _misfit(self, where: str, noun: str, given: Iterable[str], expected: Mapping[str, str]) -> str:
        parts = []
        if missing := [name for name in expected if name not in set(given)]:
            parts.append(f"lacks the {noun} " + ", ".join(map(repr, missing)))
        for name in given:
            if name not in expected:
                parts.append(f"has the unknown {noun} {name!r}{self._hint(name, noun, expected)}")
        known = ", ".join(f"{name} ({_expected(kind)})" for name, kind in expected.items()) or "none"
        return f"{where} {' and '.join(parts)}. It takes the {noun}s: {known}."

    def _hint(self, name: str, noun: str, expected: Mapping[str, str]) -> str:
        if name in self.features:
            return f" (it is read from {self.features[name]!r}, do not send it)"
        if name in self.entities or name in self.values:
            return f" (it belongs in {'values' if noun == 'entity key' else 'entities'!r})"
        close = nearest(name, expected)
        return f" (did you mean {close[0]!r}?)" if close else ""


def _is_number(value: Any) -> bool:
    kind = type(value)
    return (
        value is None or (kind is float and math.isfinite(value)) or (kind is int and -_GREATEST <= value < _GREATEST)
    )


def _is_category(value: Any) -> bool:
    return value is None or type(value) is str


def _is_boolean(value: Any) -> bool:
    return type(value) is bool


def _is_anything(value: Any) -> bool:
    return isinstance(value, str | int | float | bool | None)


_CHECKS = {"number": _is_number, "category": _is_category, "boolean": _is_boolean, "": _is_anything}
_KEYS: dict[str, tuple[type, ...]] = {
    "text": (str,),
    "integer": (int,),
    "boolean": (bool,),
    "": (str, int, float, bool),
}


def _is_key(value: Any, kind: str) -> bool:
    if type(value) is int and not -_GREATEST <= value < _GREATEST:
        return False
    return value is None or type(value) in _KEYS[kind]


def _expected(kind: str) -> str:
    return "boolean" if kind == "boolean" else f"{_WORDS.get(kind, kind)} or null"


def _mistyped(where: str, noun: str, name: str, value: Any, expected: str) -> str:
    text = repr(value)
    shown = text if len(text) <= 40 else text[:37] + "..."
    return f"{where} has the {noun} {name!r} = {shown} where {expected} is expected."


def _finite(value: Any) -> Any:
    return None if type(value) is float and not math.isfinite(value) else value
