"""The columns and values of on-demand views: from a table in training, from feature vectors at prediction time.

Both sides make the same arrays of the same values and call the same text once for all rows, so they agree to the last
bit. What depends on the declaration alone is prepared when a ``Computation`` is made: answering is the hot path.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import polars as pl

from trivet.errors import Invalid, NotFound
from trivet.features.on_demand import REQUEST_TYPES, OnDemand
from trivet.features.references import Computed, Selection
from trivet.types import Micros, as_utc, to_micros

if TYPE_CHECKING:
    from trivet.features.on_demand import Array

__all__ = ["WORST", "Computation", "Vector", "with_computed", "worst"]

_ALONE = 3  # rows of a training set that are computed once more by themselves
_CLOSE = 1e-9
WORST = ("unmaterialized", "missing", "expired", "null", "present")
"""Statuses, the one first that says least."""
_RANK = {status: rank for rank, status in enumerate(WORST)}


class Vector(Protocol):
    """What ``trivet.features.reader.FeatureVector`` is: features by reference."""

    values: dict[str, Any]
    times: dict[str, Micros | None]
    status: dict[str, Any]


class _Output(NamedTuple):
    name: str
    reference: str
    to_values: Callable[[Array], list[Any]]


class _Step(NamedTuple):
    view: OnDemand
    inputs: list[tuple[str, str, Callable[[list[Any], str], Array]]]
    request: list[tuple[str, Callable[[list[Any], str], Array]]]
    outputs: list[_Output]


def worst(statuses: Iterable[str]) -> str:
    """Why a computed value is null: the status of its inputs that says least, ``null`` where all of them are there.

    Example:
        >>> worst(["present", "expired", "missing"]), worst(["present"])
        ('missing', 'null')
    """
    return WORST[min(_RANK[each] for each in (*statuses, "null"))]


class Computation:
    """What a selection computes on demand. Safe to share among threads if the functions are.

    Args:
        selection: what is asked for, with the steps it takes.
    """

    def __init__(self, selection: Selection) -> None:
        self._selection = selection
        self._steps = [_prepared(view) for view in selection.steps]
        self._proved: set[str] = set()  # the views that were seen not to mix rows
        every = [each.reference for each in selection.read]
        every += [output.reference for step in self._steps for output in step.outputs]
        asked = {each.reference for each in selection.columns}
        self._hidden = [name for name in every if name not in asked]

    # at prediction time

    def fill(
        self,
        vectors: Sequence[Vector],
        entities: Sequence[Mapping[str, Any]],
        request: Sequence[Mapping[str, Any]],
        at: Micros,
    ) -> None:
        """Add what is computed to vectors that hold what was read, and take away what was only read for it.

        Raises:
            Invalid: a request value is missing or of another type, or a function fails.
        """
        if not vectors or not self._steps:
            return
        for view, inputs, asked, outputs in self._steps:
            columns = {
                parameter: make([vector.values[reference] for vector in vectors], reference)
                for parameter, reference, make in inputs
            }
            for name, make in asked:
                columns[name] = make(_sent(view, name, entities, request), name)
            answer = view.compute(columns)
            if len(vectors) > 1 and view.name not in self._proved:
                _check_rows_alone(view, columns, answer)
                self._proved.add(view.name)
            for name, reference, to_values in outputs:
                for vector, value in zip(vectors, to_values(answer[name]), strict=True):
                    vector.values[reference] = value
                    vector.times[reference] = at
                    vector.status[reference] = (
                        "present" if value is not None else worst(vector.status[each] for _, each, _ in inputs)
                    )
        for name in self._hidden:
            for vector in vectors:
                del vector.values[name], vector.times[name], vector.status[name]

    # in training

    def columns(self, frame: Any) -> dict[str, Any]:
        """What is computed for the rows of a Polars frame: reference to a series.

        Args:
            frame: the spine with all that is read, under the columns that the selection says.

        Raises:
            NotFound: the frame lacks a request value.
            Invalid: a column is of another type than declared, a function fails, or it mixes rows.
        """
        columns = {each.reference: each.column for each in self._selection.read}
        made: dict[str, Any] = {}
        for step in self._steps:
            arrays = {
                each.parameter: _array_of(
                    made.get(each.reference), frame, columns.get(each.reference), each.type, step.view
                )
                for each in step.view.inputs
            }
            for name, kind in step.view.request.items():
                if name not in frame.columns:
                    hint = f"On-demand view {step.view.name!r} asks for it in the request."
                    raise NotFound("column in the spine called", name, frame.columns, hint=hint)
                arrays[name] = _array_of(None, frame, name, REQUEST_TYPES[kind], step.view)
            answer = step.view.compute(arrays) if frame.height else _empty(step.view)
            _check_rows_alone(step.view, arrays, answer)
            for name, reference, _ in step.outputs:
                made[reference] = _series(reference, step.view.outputs[name], answer[name])
        return made


def _prepared(view: OnDemand) -> _Step:
    return _Step(
        view,
        [(each.parameter, each.reference, _MAKE[each.type]) for each in view.inputs],
        [(name, _MAKE[REQUEST_TYPES[kind]]) for name, kind in view.request.items()],
        [_Output(name, f"{view.name}:{name}", _VALUES[kind]) for name, kind in view.outputs.items()],
    )


def _sent(
    view: OnDemand, name: str, entities: Sequence[Mapping[str, Any]], request: Sequence[Mapping[str, Any]]
) -> list[Any]:
    values = []
    for place, entity in enumerate(entities):
        sent = request[place] if place < len(request) else {}
        if name not in sent and name not in entity:
            raise Invalid(
                f"On-demand view {view.name!r} needs the request value {name!r} ({view.request[name]}). Send it, or "
                "null where it is not known."
            )
        values.append(sent[name] if name in sent else entity[name])
    return values


# --- values to arrays, one by one ----------------------------------------------------------------------------------


def _numbers(values: list[Any], name: str) -> Array:
    for value in values:
        if value.__class__ is str:
            raise _mistyped(name, value, "a number")
    try:
        return np.array(values, np.float64)
    except (TypeError, ValueError) as exc:
        raise _mistyped(name, values, "a number") from exc


def _texts(values: list[Any], name: str) -> Array:
    for value in values:
        if value is not None and not isinstance(value, str):
            raise _mistyped(name, value, "text")
    array = np.empty(len(values), object)
    array[:] = values
    return array


def _moments(values: list[Any], name: str) -> Array:
    return np.array([_moment(value, name) for value in values], "datetime64[us]")


def _moment(value: Any, name: str) -> np.datetime64:
    if value is None:
        return np.datetime64("NaT", "us")
    if isinstance(value, str) and len(value) == len("2013-01-01"):
        value = date.fromisoformat(value)
    if isinstance(value, date) and not isinstance(value, datetime):
        return np.datetime64(value, "us")
    if isinstance(value, str | datetime):
        return np.datetime64(to_micros(as_utc(value)), "us")
    raise _mistyped(name, value, "a time")


def _mistyped(name: str, value: object, expected: str) -> Invalid:
    return Invalid(f"{name} is {value!r}, and {expected} is expected. Annotate the parameter if that is what it is.")


_MAKE: dict[str, Callable[[list[Any], str], Array]] = {"number": _numbers, "text": _texts, "time": _moments}


def _floats(array: Array) -> list[Any]:
    return [None if value != value else value for value in array.tolist()]


def _utc(array: Array) -> list[Any]:
    return [None if value is None else value.replace(tzinfo=UTC) for value in array.tolist()]


_VALUES: dict[str, Callable[[Array], list[Any]]] = {
    "float": _floats,
    "int": np.ndarray.tolist,
    "bool": np.ndarray.tolist,
    "string": np.ndarray.tolist,
    "time": _utc,
}


# --- columns to arrays, all at once --------------------------------------------------------------------------------


def _array_of(made: Any, frame: Any, column: str | None, kind: str, view: OnDemand) -> Array:
    import polars as pl

    series = made if made is not None else frame[column]
    dtype = series.dtype
    fits = {
        "number": dtype.is_numeric() or dtype == pl.Boolean,
        "text": isinstance(dtype, pl.String | pl.Categorical | pl.Enum),
        "time": dtype.is_temporal() or dtype == pl.String,
    }
    if not fits[kind] and dtype != pl.Null:
        wanted = next((word for word, yes in fits.items() if yes), str(dtype))
        annotation = {"number": "float", "text": "str", "time": "datetime"}.get(wanted, "")
        raise Invalid(
            f"{series.name!r} holds {wanted} and on-demand view {view.name!r} takes it as {kind}. Annotate its "
            f"parameter with {annotation}, or convert it in the source."
        )
    if kind == "number":
        return series.cast(pl.Float64).fill_null(float("nan")).to_numpy().copy()  # type: ignore[no-any-return]
    if kind == "text":
        return _texts(series.cast(pl.String).to_list(), series.name)
    return _times(series)


def _times(series: Any) -> Array:
    from trivet.features.times import Rules
    from trivet.features.times import to_micros as micros_of

    hint = f"Give it one, for example .dt.replace_time_zone('UTC') on {series.name!r}."
    return micros_of(series, Rules("the training set", hint)).to_physical().to_numpy().astype("datetime64[us]")


def _empty(view: OnDemand) -> dict[str, Array]:
    kinds = {"float": "float64", "int": "int64", "bool": "bool", "string": "object", "time": "datetime64[us]"}
    return {name: np.empty(0, kinds[kind]) for name, kind in view.outputs.items()}


def _series(name: str, kind: str, array: Array) -> Any:
    import polars as pl

    if kind == "string":
        return pl.Series(name, array.tolist(), pl.String)
    if kind == "time":
        return (
            pl.Series(name, array.astype(np.int64)).cast(pl.Datetime("us", "UTC")).set(pl.Series(np.isnat(array)), None)
        )
    return pl.Series(name, array).fill_nan(None) if kind == "float" else pl.Series(name, array)


def _check_rows_alone(view: OnDemand, columns: Mapping[str, Array], answer: Mapping[str, Array]) -> None:
    """A function that mixes rows (a mean over the batch) would answer otherwise when asked about one."""
    rows = len(next(iter(columns.values())))
    for place in range(0, rows, max(1, rows // _ALONE)) if rows > 1 else ():
        alone = view.compute({name: column[place : place + 1].copy() for name, column in columns.items()})
        for name, values in alone.items():
            if not _same(values[0], answer[name][place]):
                raise Invalid(
                    f"Output {name!r} of {view.name!r} is {answer[name][place]!r} for a row among others and "
                    f"{values[0]!r} for the same row alone, so it would not be the same when asked for one. Compute "
                    "each row from its own inputs."
                )


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return bool(np.isclose(one, other, rtol=_CLOSE, atol=0, equal_nan=True))
    return bool(one == other) or (one != one and other != other)


def with_computed(
    joined: pl.DataFrame, spine: Sequence[str], selected: Selection, nulls: Mapping[str, int]
) -> tuple[pl.DataFrame, dict[str, int]]:
    """The table with what is computed on demand and without what was only read for it, and its nulls by column."""
    if not selected.steps:
        return joined, dict(nulls)
    computed = Computation(selected).columns(joined)
    columns = [computed[each.reference] if isinstance(each, Computed) else joined[each.column] for each in selected]
    named = [column.alias(each.column) for column, each in zip(columns, selected, strict=True)]
    return joined.select(spine).with_columns(named), {column.name: column.null_count() for column in named}
