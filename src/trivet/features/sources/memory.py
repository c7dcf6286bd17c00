"""Frames that were handed over, and functions that answer them. Recorded as Parquet."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import polars as pl

from trivet.errors import Invalid, TrivetError
from trivet.features.definitions import Source
from trivet.features.frames import as_polars
from trivet.features.functions import described_error
from trivet.features.sources.contract import Snapshot
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
    """Functions without parameters, called whenever the rows are read: as they were stored, wherever that is."""

    def claims(self, source: Source, root: Path) -> bool:  # noqa: ARG002
        """Whatever has a function and was not bound to other data."""
        return source.data is None and source.function is not None

    def open(self, source: Source, root: Path) -> Snapshot:  # noqa: ARG002
        """What the function answers.

        Raises:
            Invalid: it does not load here, raises, or answers no frame.
        """
        assert source.function is not None
        what = f"function {source.function.entry!r} of source {source.name!r}"
        function = source.function.load()
        try:
            answer = function()
        except TrivetError:
            raise
        except Exception as exc:
            raise Invalid(f"The {what} fails: {described_error(exc)}") from exc
        return FrameSnapshot(source.name, as_polars(answer, f"What the {what} answered"), cut=source.cut)


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
