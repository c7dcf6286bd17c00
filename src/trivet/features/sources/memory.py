"""Frames that were handed over, and functions that answer them. Recorded as Parquet."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import polars as pl

from trivet.errors import Invalid, TrivetError
from trivet.features.definitions import Source
from trivet.features.frames import as_polars
from trivet.features.sources.contract import Snapshot, first_line
from trivet.ledger import Blobs
from trivet.pipelines.values.contract import Saved

__all__ = ["FrameSnapshot", "Frames", "Functions"]


@dataclass(frozen=True, eq=False)
class FrameSnapshot(Snapshot):
    """The rows of a frame in memory.

    Attributes:
        data: the frame.
    """

    data: pl.DataFrame

    def rows(self) -> pl.LazyFrame:
        """The frame."""
        return self.data.lazy()

    def keep(self, blobs: Blobs) -> Saved:
        """The frame as Parquet."""
        buffer = BytesIO()
        self.data.write_parquet(buffer)
        saved = {f"{self.name}.parquet": blobs.put(buffer.getvalue())}
        return Saved({"name": self.name, "format": "parquet"}, saved)


class Functions:
    """Functions without parameters, called whenever the rows are read."""

    def claims(self, source: Source, root: Path) -> bool:  # noqa: ARG002
        """Whatever can be called and is no frame."""
        return inspect.isroutine(source.data) or (callable(source.data) and hasattr(source.data, "func"))

    def open(self, source: Source, root: Path) -> Snapshot:  # noqa: ARG002
        """What the function answers.

        Raises:
            Invalid: it takes parameters, raises, or answers no frame.
        """
        function: Any = source.data
        what = f"The function {source.entry or getattr(source.data, '__name__', 'partial')} of source {source.name!r}"
        required = [p for p in inspect.signature(function).parameters.values() if _needed(p)]
        if required:
            raise Invalid(f"{what} takes the parameter {required[0].name!r}. It is called without any; give a default.")
        try:
            answer = function()
        except TrivetError:
            raise
        except Exception as exc:
            raise Invalid(f"{what} raised {type(exc).__name__}: {first_line(exc)}") from exc
        return FrameSnapshot(
            source.name, as_polars(answer, f"What {what[0].lower()}{what[1:]} answered"), cut=source.cut
        )


class Frames:
    """Data frames of any make."""

    def claims(self, source: Source, root: Path) -> bool:  # noqa: ARG002
        """Whatever is no text."""
        return not isinstance(source.data, str)

    def open(self, source: Source, root: Path) -> Snapshot:  # noqa: ARG002
        """The frame.

        Raises:
            Invalid: it is none.
        """
        return FrameSnapshot(source.name, as_polars(source.data, f"The data of source {source.name!r}"), cut=source.cut)


def _needed(parameter: inspect.Parameter) -> bool:
    several = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    return parameter.default is parameter.empty and not several
