"""Served vectors and the same computed again, by the engine of training sets, at any moment and from any data.

The online store keeps each view as of a moment of its own, its watermark. So a question here has a moment for each view and
row: at the moment of the prediction it is what training sees, at the watermark what the store should have had.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import polars as pl

from trivet.features.computed import Computation
from trivet.features.definitions import FeatureView
from trivet.features.engines.contract import Engine
from trivet.features.frames import as_polars
from trivet.features.references import Selected, Selection
from trivet.features.skew.compare import as_recorded
from trivet.features.sources import Snapshots, read
from trivet.types import Micros

__all__ = ["Moments", "Offline", "Vector"]

Moments = Mapping[str, Sequence[Micros | None]]
"""For each view by name a moment for each row."""

_AT, _UTC = "__at", pl.Datetime("us", "UTC")


class Vector(msgspec.Struct, frozen=True):
    """One vector as it was served. Times are UTC microseconds; features by reference."""

    id: str
    at: Micros
    received: Micros
    entities: dict[str, Any]
    request: dict[str, Any]
    values: dict[str, Any]
    times: dict[str, Micros | None]
    status: dict[str, str]


class Offline:
    """Computes a selection for served vectors.

    Args:
        selection: what the model reads.
        engine: of training sets.
    """

    def __init__(self, selection: Selection, engine: Engine) -> None:
        self.selection, self._engine = selection, engine

    def at(self, rows: Sequence[Vector], moments: Moments, sources: Snapshots) -> dict[str, list[Any]]:
        """All features by reference, as records have them.

        Raises:
            NotFound, Invalid: the data are missing or cannot be read, or a request value is missing.
        """
        parts = [
            self.of(view, [each.feature for each in self.selection.read if each.view == view], rows, moments, sources)
            for view in self.selection.views
        ]
        frame = pl.concat(parts, how="horizontal") if parts else pl.DataFrame()
        found = {name: [as_recorded(value) for value in frame[name].to_list()] for name in frame.columns}
        if self.selection.steps:
            named = {each.reference: each.column for each in self.selection.read}
            asked = [
                pl.Series(name, [_sent(row, name) for row in rows], strict=False) for name in self.selection.request
            ]
            frame = frame.rename(named).with_columns(asked)
            computed = Computation(self.selection).columns(frame)
            found |= {name: [as_recorded(value) for value in column.to_list()] for name, column in computed.items()}
        return {each.reference: found[each.reference] for each in self.selection}

    def of(
        self, view: FeatureView, features: Sequence[str], rows: Sequence[Vector], moments: Moments, sources: Snapshots
    ) -> pl.DataFrame:
        """Features of one view, each under its reference ``view:feature``."""
        keys = _keys(view, rows, sources)
        spine = keys.with_columns(pl.Series(_AT, moments[view.name], pl.Int64).cast(_UTC))
        wanted = [Selected(view, feature, f"{view.name}:{feature}") for feature in features]
        joined = self._engine.point_in_time(spine, wanted, sources, time=_AT)
        return as_polars(joined.frame).select(each.column for each in wanted)


def _sent(row: Vector, name: str) -> Any:
    return row.request[name] if name in row.request else row.entities.get(name)


def _keys(view: FeatureView, rows: Sequence[Vector], sources: Snapshots) -> pl.DataFrame:
    """The keys as the source writes them: a request has dates as text."""
    return pl.DataFrame([_key(view, key, [row.entities.get(key) for row in rows], sources) for key in view.entity.keys])


def _key(view: FeatureView, name: str, sent: list[Any], sources: Snapshots) -> pl.Series:
    column = pl.Series(name, sent, strict=False)
    if column.dtype != pl.String or not column.drop_nulls().str.contains(r"^\d{4}-\d\d-\d\d$").all():
        return column
    source = view.source
    while source.view is not None:
        source = source.view.source
    written = read(source, [name], sources).schema[name]
    return column.str.to_date(strict=False) if written == pl.Date else column
