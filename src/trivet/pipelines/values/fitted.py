"""The digest of what a fitted estimator is: class names and attributes, arrays as type, shape and bytes.

Serialized bytes will not do: skops writes memory addresses, pickles hold thread settings and memo order. Here the
object is walked by type, and what does not change answers is left out: how many threads to use, how
much to print, how long fitting took, the version that pickled it. Two fits with the same data and seed in different
processes agree; so do a model and what comes back from its file.
"""

from __future__ import annotations

import functools
import hashlib
import types
from collections.abc import Callable, Iterator, Mapping, Set
from enum import Enum
from typing import Any

import numpy as np

from trivet.digest import canonical
from trivet.errors import Invalid
from trivet.types import Digest

__all__ = ["fitted_digest"]

_IRRELEVANT = frozenset(
    [
        "n_jobs",
        "verbose",
        "n_threads",
        "_n_threads",
        "refit_time_",
        "_sklearn_version",
        "_sklearn_output_config",
        "mean_fit_time",
        "std_fit_time",
        "mean_score_time",
        "std_score_time",
    ]
)
_FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType, types.MethodType, np.ufunc, type)


def fitted_digest(estimator: object) -> Digest:
    """The digest of an estimator's class and fitted state.

    Raises:
        Invalid: something inside has no state that could be read.
    """
    return _Walk().digest(estimator).hex()


class _Walk:
    """One walk. An object in progress is named by its depth, so that cycles end; a finished one is not walked again."""

    def __init__(self) -> None:
        self.open: dict[int, int] = {}
        self.done: dict[int, tuple[object, bytes]] = {}  # keeps the object, so that its id stays its own

    def digest(self, value: object) -> bytes:
        """The digest of any value."""
        if value is None or (
            isinstance(value, bool | int | float | str | bytes) and not isinstance(value, Enum | np.generic)
        ):
            return hashlib.sha256(canonical(value)).digest()
        if id(value) in self.done:
            return self.done[id(value)][1]
        if id(value) in self.open:
            return hashlib.sha256(b"up" + canonical(len(self.open) - self.open[id(value)])).digest()
        self.open[id(value)] = len(self.open)
        state = hashlib.sha256()
        for part in self._parts(value):
            state.update(part)
        del self.open[id(value)]
        self.done[id(value)] = (value, state.digest())
        return state.digest()

    def _parts(self, value: Any) -> Iterator[bytes]:
        if isinstance(value, np.ndarray):
            yield from self._array(value)
        elif isinstance(value, np.generic):
            yield b"scalar" + b"".join(self._array(np.asarray(value)))
        elif isinstance(value, np.dtype):
            yield b"dtype" + canonical(_dtype_name(value))
        elif isinstance(value, np.random.RandomState):
            yield b"RandomState" + self.digest(value.get_state(legacy=False))
        elif isinstance(value, np.random.Generator):
            yield b"Generator" + self.digest(value.bit_generator.state)
        elif isinstance(value, Enum):
            yield b"enum" + canonical([_name(type(value)), value.name])
        elif isinstance(value, functools.partial):
            yield b"partial" + self.digest([value.func, value.args, value.keywords])
        elif isinstance(value, _FUNCTIONS):
            yield b"name" + canonical(_name(value))
        elif type(value) in {list, tuple}:
            yield b"list" if type(value) is list else b"tuple"
            yield from (self.digest(item) for item in value)
        elif isinstance(value, Mapping) and type(value).__module__ in {"builtins", "collections"}:
            yield b"dict"
            yield from self._items(value)
        elif isinstance(value, Set):
            yield b"set" + b"".join(sorted(self.digest(item) for item in value))
        else:
            yield from self._object(value)

    def _items(self, value: Mapping[Any, Any]) -> Iterator[bytes]:
        relevant = [(key, item) for key, item in value.items() if not (isinstance(key, str) and key in _IRRELEVANT)]
        for key, item in sorted(((self.digest(key), item) for key, item in relevant), key=lambda pair: pair[0]):
            yield key
            yield self.digest(item)

    def _array(self, array: np.ndarray[Any, Any]) -> Iterator[bytes]:
        yield b"array" + canonical([_dtype_name(array.dtype), list(array.shape)])
        if array.dtype.names is not None:  # field by field: what is between the fields is not content
            for name in array.dtype.names:
                yield from self._array(array[name])
        elif array.dtype.hasobject:
            yield from (self.digest(item) for item in array.ravel())
        else:
            plain = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
            if plain.dtype.kind == "f" and np.isnan(plain).any():
                plain = np.where(np.isnan(plain), np.array(np.nan, plain.dtype), plain)
            yield plain.tobytes()

    def _object(self, value: Any) -> Iterator[bytes]:
        yield b"object" + canonical(_name(type(value)))
        if hasattr(value, "__dict__") and not _is_compiled(type(value)):
            yield from self._items(vars(value))
            slots = [name for parent in type(value).__mro__ for name in _slots(parent) if hasattr(value, name)]
            yield from self._items({name: getattr(value, name) for name in slots})
            return
        try:
            reduced = value.__reduce_ex__(2)
        except (TypeError, AttributeError, RecursionError) as exc:
            raise Invalid(
                f"A fitted model holds a {_name(type(value))}, whose state cannot be read, so it has no identity."
            ) from exc
        yield self.digest(list(reduced) if not isinstance(reduced, str) else reduced)


def _is_compiled(kind: type) -> bool:
    """Whether the class (Cython's) says by ``__reduce__`` what it holds rather than by its attributes."""
    reduce: Callable[..., Any] = kind.__reduce__
    reduce_ex: Callable[..., Any] = kind.__reduce_ex__
    return reduce is not object.__reduce__ or reduce_ex is not object.__reduce_ex__


def _slots(kind: type) -> tuple[str, ...]:
    slots = vars(kind).get("__slots__", ())
    return (slots,) if isinstance(slots, str) else tuple(slots)


def _dtype_name(dtype: np.dtype[Any]) -> str:
    if dtype.names is not None and dtype.fields is not None:
        return "{" + ", ".join(f"{name!r}: {_dtype_name(dtype.fields[name][0])}" for name in dtype.names) + "}"
    return dtype.newbyteorder("<").str


def _name(value: Any) -> str:
    owner = getattr(value, "__self__", None)
    if isinstance(value, types.MethodType):
        return f"{_name(type(owner))}.{value.__name__}"
    return f"{getattr(value, '__module__', '')}:{getattr(value, '__qualname__', getattr(value, '__name__', ''))}"
