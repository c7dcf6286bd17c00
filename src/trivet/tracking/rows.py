"""What differs between two tables: rows by key, columns and types, and how far each column has moved.

Rows are matched by a key: that of a training set (entities and time), one that is named, or the first column that tells
rows apart on both sides; equal keys are matched in their order. Without a key a row is its own. How far a column has
moved is the population stability index of ``trivet.profiles``, beside the size that chance alone hardly reaches.
Invariant: rows before - removed + added = rows after.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
from msgspec import Struct

from trivet.errors import NotFound
from trivet.ledger import Artifact, Blobs
from trivet.profiles import compare, profile
from trivet.tracking.tables import cell_text, text_table

__all__ = ["ColumnChange", "RowsChange", "compare_rows", "key_of", "read_rows"]

MOST_ROWS = 10_000_000
_AGAIN = "__again__"


class ColumnChange(Struct, frozen=True, omit_defaults=True):
    """How one column differs.

    Attributes:
        before, after: its type on either side; empty where it is not there.
        cells: how many cells differ in rows that both sides have; None without a key.
        effect: the population stability index: 0 is no change, above 0.1 is worth a look, above 0.25 is large.
        threshold: what the effect must reach to matter and to be more than chance.
        means: of numbers, before and after. nulls: the shares of nulls, before and after.
    """

    name: str
    before: str = ""
    after: str = ""
    cells: int | None = None
    effect: float | None = None
    threshold: float | None = None
    means: tuple[float | None, float | None] | None = None
    nulls: tuple[float, float] | None = None

    @property
    def moved(self) -> bool:
        """Whether its values are distributed otherwise by more than chance and enough to matter."""
        return self.effect is not None and self.threshold is not None and self.effect >= self.threshold


class RowsChange(Struct, frozen=True):
    """How two tables differ.

    Attributes:
        name: what the table is to the runs, such as ``inputs.train``; empty for two tables themselves.
        key: the columns by which rows were matched; empty where the whole row is the key.
        before, after: how many rows.
        added, removed, changed: rows by key.
        columns: those that differ in anything, in order.
    """

    name: str
    a: str
    b: str
    key: tuple[str, ...]
    before: int
    after: int
    added: int
    removed: int
    changed: int
    columns: tuple[ColumnChange, ...]

    def __str__(self) -> str:
        by = f"by {', '.join(self.key)}" if self.key else "whole rows"
        head = f"{self.name or 'rows'}: {self.before} -> {self.after} rows; {by}: {self.summary}"
        if not self.columns:
            return head
        rows = [_cells(column) for column in self.columns]
        table = text_table(["", "type", "cells", "effect", "", "mean", "nulls"], rows)
        return "\n".join([head, *(f"  {line}" for line in table.splitlines())])

    @property
    def summary(self) -> str:
        """``3 added, 1 removed, 2 changed``"""
        changed = f", {self.changed} changed" if self.key else ""
        return f"{self.added} added, {self.removed} removed{changed}"

    @property
    def line(self) -> str:
        """What to say of it in a line."""
        moved = [column.name for column in self.columns if column.moved]
        shown = f"; moved: {', '.join(moved[:3])}" if moved else ""
        return f"{self.name.partition('.')[2] or self.name or 'rows'}: {self.summary}{shown}"


def read_rows(artifact: Artifact, blobs: Blobs) -> pl.DataFrame | None:
    """The rows of a stored table or training set; None of anything else, and of one of more than ten million rows."""
    names = [name for name in artifact.files if name.endswith(".parquet")]
    if artifact.kind not in ("table", "training_set") or len(names) != 1:
        return None
    with TemporaryDirectory() as folder:
        path = blobs.fetch(artifact.files[names[0]].digest, Path(folder) / names[0])
        if pl.scan_parquet(path).select(pl.len()).collect().item() > MOST_ROWS:
            return None
        return pl.read_parquet(path, memory_map=False)


def key_of(a: Artifact, b: Artifact) -> tuple[str, ...] | None:
    """The key that two training sets declare; None where they declare none, or different ones."""
    keys = [_declared(each) for each in (a, b)]
    return keys[0] if keys[0] == keys[1] else None


def compare_rows(
    before: pl.DataFrame,
    after: pl.DataFrame,
    key: Sequence[str] | None = None,
    *,
    name: str = "",
    labels: tuple[str, str] = ("a", "b"),
) -> RowsChange:
    """What differs between two tables.

    Args:
        before: the rows as they were.
        after: the rows as they are.
        key: the columns that say which row is which; found where it is not given.
        name: what the table is called in the answer.
        labels: what the two are called.

    Raises:
        NotFound: a column of the key is in none of the two, or in one only.

    Example:
        >>> old = pl.DataFrame({"id": [1, 2, 3], "price": [5, 6, 7]})
        >>> print(compare_rows(old, pl.DataFrame({"id": [2, 3, 4], "price": [6, 8, 9]})).summary)
        1 added, 1 removed, 1 changed
    """
    for column in key or ():
        for frame in (before, after):
            if column not in frame.columns:
                raise NotFound("column of the key", column, frame.columns)
    shared = [column for column in before.columns if after.schema.get(column) == before.schema[column]]
    found = tuple(key) if key else _found_key(before, after, shared)
    added, removed, changed, cells = _by_key(before, after, found, shared) if found else _by_row(before, after)
    names = [*before.columns, *(column for column in after.columns if column not in before.columns)]
    columns = (_column(column, before, after, cells.get(column)) for column in names)
    return RowsChange(
        name=name,
        a=labels[0],
        b=labels[1],
        key=found,
        before=before.height,
        after=after.height,
        added=added,
        removed=removed,
        changed=changed,
        columns=tuple(column for column in columns if column is not None),
    )


def _declared(artifact: Artifact) -> tuple[str, ...]:
    if artifact.kind != "training_set":
        return ()
    columns, entities = artifact.spec.get("columns", {}), artifact.spec.get("entities", [])
    return (*entities, artifact.spec["time"]) if entities and all(name in columns for name in entities) else ()


def _found_key(before: pl.DataFrame, after: pl.DataFrame, shared: Sequence[str]) -> tuple[str, ...]:
    """The first column that tells all rows apart on both sides and has values of both in common."""
    for column in shared:
        dtype = before.schema[column]
        if (
            (dtype.is_integer() or dtype == pl.String or dtype.is_temporal())
            and all(
                frame.height and frame[column].null_count() == 0 and frame[column].n_unique() == frame.height
                for frame in (before, after)
            )
            and before[column].is_in(after[column].implode()).any()
        ):
            return (column,)
    return ()


def _by_key(
    before: pl.DataFrame, after: pl.DataFrame, key: Sequence[str], shared: Sequence[str]
) -> tuple[int, int, int, dict[str, int]]:
    """Rows added, removed and changed, and cells that changed by column."""
    if any(column not in shared for column in key):
        return after.height, before.height, 0, {}  # keys of different types meet nowhere
    inside = [column for column in shared if column not in key]
    left, right = (
        frame.select(*key, *inside).with_columns(pl.int_range(pl.len()).over(key).alias(_AGAIN))
        for frame in (before, after)
    )
    both = left.join(right, on=[*key, _AGAIN], how="inner", suffix="__after", nulls_equal=True)
    if not inside:
        return after.height - both.height, before.height - both.height, 0, {}
    differ = both.select(pl.col(column).ne_missing(pl.col(f"{column}__after")).alias(column) for column in inside)
    cells = {column: int(differ[column].sum()) for column in inside}
    changed = int(differ.select(pl.any_horizontal(inside)).to_series().sum())
    return after.height - both.height, before.height - both.height, changed, cells


def _by_row(before: pl.DataFrame, after: pl.DataFrame) -> tuple[int, int, int, dict[str, int]]:
    """Rows that are on one side only, counted as often as they are there."""
    if before.schema != after.schema or not before.columns:
        return after.height, before.height, 0, {}
    left, right = (frame.group_by(before.columns).len(name=_AGAIN) for frame in (before, after))
    both = left.join(right, on=before.columns, how="inner", suffix="after", nulls_equal=True)
    common = int(both.select(pl.min_horizontal(_AGAIN, f"{_AGAIN}after").sum()).item()) if both.height else 0
    return after.height - common, before.height - common, 0, {}


def _column(name: str, before: pl.DataFrame, after: pl.DataFrame, cells: int | None) -> ColumnChange | None:
    types = [str(frame.schema[name]) if name in frame.columns else "" for frame in (before, after)]
    if "" in types:
        return ColumnChange(name, types[0], types[1])
    nulls = tuple(frame[name].null_count() / max(frame.height, 1) for frame in (before, after))
    found = ColumnChange(name, types[0], types[1], cells=cells, nulls=(nulls[0], nulls[1]))
    known = profile(before.select(name)).columns
    if known and before.height and after.height:
        compared = compare(known[0], after)
        means = (known[0].mean, _mean(after[name])) if known[0].type == "number" else None
        found = ColumnChange(
            name, types[0], types[1], cells, compared.score, compared.threshold, means, (nulls[0], nulls[1])
        )
    same = types[0] == types[1] and nulls[0] == nulls[1] and not cells and not found.moved
    unmoved = found.effect is None or found.effect < 1e-12
    return None if same and (cells == 0 or unmoved) else found


def _mean(values: pl.Series) -> float | None:
    mean = values.cast(pl.Float64, strict=False).drop_nans().mean()
    return mean if isinstance(mean, float) else None


def _cells(column: ColumnChange) -> list[object]:
    types = column.before if column.before == column.after else f"{column.before or 'none'} -> {column.after or 'none'}"
    moved = "moved" if column.moved else ""
    means = _arrow(column.means)
    nulls = _arrow(column.nulls) if column.nulls and column.nulls[0] != column.nulls[1] else ""
    effect = "" if column.effect is None else f"{column.effect:.2f}"
    return [column.name, types, "" if column.cells is None else column.cells, effect, moved, means, nulls]


def _arrow(pair: tuple[float | None, float | None] | None) -> str:
    return "" if pair is None or pair[0] == pair[1] else f"{cell_text(pair[0])} -> {cell_text(pair[1])}"
