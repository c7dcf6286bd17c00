"""Series that are computed from others when they are read, by a function that travels.

A transform is a function of numbers, row by row of the aligned table: arrays in, with NaN for null, one array out. What it
answers for a moment may not depend on which other moments are asked for, and that is tried on each answer; what looks
back belongs into a window or a lag. It is an artifact of kind ``series_transform`` under the name ``series/NAME``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from trivet.errors import Invalid, NotFound
from trivet.features.aggregates import Aggregate
from trivet.features.declare import described
from trivet.features.functions import Portable, described_error
from trivet.ledger import Artifact
from trivet.pipelines.context import Context

__all__ = ["Transform", "forget", "keep", "kept"]

CURRENT = "current"


@dataclass(frozen=True)
class Transform:
    """A computed series.

    Attributes:
        name: ``energy:cost``.
        inputs: parameter to the series that it takes, or what is made of one.
        function: what computes it.
        description: the function's docstring.
    """

    name: str
    inputs: Mapping[str, str | Aggregate]
    function: Portable
    description: str = ""

    @classmethod
    def of(cls, name: str, inputs: Mapping[str, str | Aggregate], function: Callable[..., Any]) -> Transform:
        """Declare it; the function is loaded in a clean process, and called with empty arrays.

        Raises:
            NotFound: it has a parameter that is no input.
            Invalid: it cannot be stored, or does not answer one number for each row.
        """
        taken = list(inspect.signature(function).parameters)
        if unknown := [each for each in taken if each not in inputs]:
            raise NotFound(f"input of {name!r} for its parameter", unknown[0], list(inputs))
        made = cls(
            name, {each: inputs[each] for each in taken}, Portable.of(function), described(function.__doc__).description
        )
        made.function.check()
        made.compute({each: pl.Series(each, [], pl.Float64) for each in taken}, 0)
        return made

    def compute(self, columns: Mapping[str, pl.Series], rows: int) -> pl.Series:
        """The series at the rows of its inputs.

        Raises:
            Invalid: an input holds no numbers, the function fails, or a row's answer depends on other rows.
        """
        arrays = {name: self._numbers(name, column) for name, column in columns.items()}
        answer = self._call(arrays, rows)
        for row in {0, rows // 2, rows - 1} if rows > 1 else ():
            alone = self._call({name: array[row : row + 1] for name, array in arrays.items()}, 1)
            if not np.isclose(alone[0], answer[row], rtol=1e-9, atol=0, equal_nan=True):
                raise Invalid(
                    f"The transform {self.name!r} answers {answer[row]} for a moment, and {alone[0]} where it is asked for "
                    "that moment alone. Take what looks at other moments from a window: tv.mean('energy:price', '1d')."
                )
        return pl.Series(answer).fill_nan(None)

    def _numbers(self, name: str, column: pl.Series) -> Any:
        if not (column.dtype.is_numeric() or column.dtype in (pl.Boolean, pl.Null)):
            raise Invalid(
                f"{str(self.inputs[name])!r} holds {column.dtype}, and the transform {self.name!r} takes numbers."
            )
        return column.cast(pl.Float64).fill_null(float("nan")).to_numpy().copy()

    def _call(self, arrays: Mapping[str, Any], rows: int) -> Any:
        try:
            with np.errstate(all="ignore"):
                answer = np.asarray(self.function.load()(**arrays))
        except Exception as exc:
            raise Invalid(f"The transform {self.name!r} fails: {described_error(exc)}") from exc
        if answer.shape != (rows,) or answer.dtype.kind not in "fiub":
            raise Invalid(f"The transform {self.name!r} answers no array of one number for each of the {rows} rows.")
        return answer.astype(np.float64)

    def to_spec(self) -> dict[str, Any]:
        """The declaration as JSON."""
        inputs = [[name, each if isinstance(each, str) else each.to_spec()] for name, each in self.inputs.items()]
        return {
            "name": self.name,
            "inputs": inputs,
            "function": self.function.to_spec(),
            "description": self.description,
        }

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> Transform:
        """The declaration that ``to_spec`` wrote."""
        inputs = {name: each if isinstance(each, str) else Aggregate.from_spec(each) for name, each in spec["inputs"]}
        return cls(spec["name"], inputs, Portable.from_spec(spec["function"]), spec["description"])


def keep(context: Context, transform: Transform) -> None:
    """Make it the current one of its name; an edit is a new version."""
    artifact = Artifact.of("series_transform", transform.to_spec(), created=context.clock())
    context.ledger.write(artifact)
    name = _name(transform.name)
    current = [each for each in context.ledger.pointers(name=name) if each.label == CURRENT]
    if not current or current[0].digest != artifact.digest:
        context.ledger.point(name, None, artifact.digest, by=context.user, why="")
        context.ledger.point(name, CURRENT, artifact.digest, by=context.user, why="")


def forget(context: Context, series: str, why: str) -> None:
    """It is no current one any more; its history stays."""
    context.ledger.point(_name(series), CURRENT, None, by=context.user, why=why)


def kept(context: Context) -> dict[str, Transform]:
    """All transforms by the name of their series."""
    pointers = context.ledger.pointers(name="series/*")
    found = [each.digest for each in pointers if each.label == CURRENT and each.digest is not None]
    made = [Transform.from_spec(context.ledger.artifact(digest).spec) for digest in found]
    return {each.name: each for each in sorted(made, key=lambda one: one.name)}


def _name(series: str) -> str:
    return f"series/{series.replace(':', '.')}"
