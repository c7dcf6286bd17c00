"""What a join in parts takes: which rows a feature needs, dealt out by key, and what the parts met, added up.

A feature of a key needs the rows of that key and no others, so any engine may answer a join part by part, as long as
a part has all rows of its keys, of the spine and of the source, in their order. Whether the parts are files of one
machine (``trivet.features.pieces``) or lie on many (``trivet.features.engines.spark``) is not asked here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from trivet.errors import Invalid, NotFound
from trivet.features.definitions import FeatureView, Source
from trivet.features.engines.contract import Report
from trivet.features.engines.keys import key_columns
from trivet.features.engines.prepared import Clock
from trivet.features.references import Selected
from trivet.features.sources import Snapshot, Snapshots, read
from trivet.features.sources.contract import unreadable

__all__ = [
    "ROW",
    "Group",
    "added",
    "groups_of",
    "in_batches",
    "in_parts",
    "lazy_rows",
    "number_of",
    "present",
    "size_of",
    "together",
]

ROW = "__row"
"""The column with a row's place in the spine."""

_MEANING = (
    "event_time",
    "known_at",
    "known_after",
    "created",
    "column_times",
    "timezone",
    "ambiguous",
    "nonexistent",
)
_ELSEWHERE = ("rows", "duplicates", "null_times", "unreached", "as_known")
_COUNTS = [name for name in Report.__struct_fields__ if name not in _ELSEWHERE]


class Group(NamedTuple):
    """What one source answers by one kind of key, and so over the same dealt rows.

    Attributes:
        source: whose rows.
        keys: the key columns.
        columns: what is read of the source.
        features: what is answered, over rows at hand: of a query or a file nothing is left but what its times mean.
    """

    source: Source
    keys: tuple[str, ...]
    columns: list[str]
    features: list[Selected]

    @property
    def owner(self) -> str:
        """Who the rows belong to, in sentences."""
        return f"source {self.source.name!r}"


def groups_of(selected: Sequence[Selected]) -> list[Group]:
    """The sources and kinds of keys that answer, in the order in which they are asked."""
    groups: dict[tuple[Source, tuple[str, ...]], Group] = {}
    views: dict[int, FeatureView] = {}  # each made once, and never hashed: some have thousands of features
    for each in selected:
        source, keys = each.view.source, each.view.entity.keys
        if id(each.view) not in views:
            views[id(each.view)] = _over_rows(each.view)
        first = [*keys, *([source.created] if source.created else [])]
        group = groups.setdefault((source, keys), Group(source, keys, first, []))
        group.columns.extend([*Clock.of(source, each.aggregate).columns, *each.aggregate.columns])
        group.features.append(replace(each, view=views[id(each.view)]))
    return [group._replace(columns=list(dict.fromkeys(group.columns))) for group in groups.values()]


def _over_rows(view: FeatureView) -> FeatureView:
    spec = view.source.to_spec()
    kept = {name: spec[name] for name in ("name", *_MEANING) if name in spec}
    return FeatureView.from_spec({**view.to_spec(), "source": kept})


def number_of(rows: pl.DataFrame, keys: Sequence[str], parts: int, owner: str) -> npt.NDArray[Any]:
    """The part of each row: a number below ``parts`` that depends on nothing but the row's key.

    Raises:
        NotFound, Invalid: as ``key_columns``.
    """
    dealt: npt.NDArray[Any] = (key_columns(rows, keys, owner).hash_rows(seed=0) % parts).to_numpy()
    return dealt


def in_parts(rows: pl.DataFrame, numbers: npt.NDArray[Any]) -> list[tuple[int, pl.DataFrame]]:
    """The rows of each number, in their order."""
    few = len(numbers) and int(numbers.max()) < 1 << 16
    order = np.argsort(numbers.astype(np.uint16) if few else numbers, kind="stable")  # 16 bits are sorted by radix
    rows, numbers = rows[order], numbers[order]
    different, starts = np.unique(numbers, return_index=True)
    ends = [*starts[1:], len(numbers)][: len(starts)]
    return [(int(n), rows[int(start) : int(end)]) for n, start, end in zip(different, starts, ends, strict=True)]


def in_batches(rows: pl.LazyFrame, size: int, owner: str) -> Iterator[pl.DataFrame]:
    """The rows in order, ``size`` at a time; of none one empty frame, for its types."""
    try:
        waiting = rows.collect_schema().to_frame()
        yielded = False
        for batch in rows.collect_batches(chunk_size=size, maintain_order=True):
            waiting = pl.concat([waiting, batch]) if waiting.height else batch
            while waiting.height >= size:
                yield waiting[:size].rechunk()
                waiting, yielded = waiting[size:], True
    except (pl.exceptions.PolarsError, OSError) as exc:
        raise Invalid(f"The data of {owner} cannot be read: {str(exc).splitlines()[0]}.") from exc
    if waiting.height or not yielded:
        yield waiting.rechunk()


def lazy_rows(source: Source, columns: Sequence[str], snapshots: Snapshots) -> pl.LazyFrame:
    """The rows of a source in some columns. What is derived is in memory as a whole.

    Raises:
        NotFound: a column or the snapshot does not exist.
        Invalid: the data cannot be read.
    """
    snapshot = snapshots.get(source.name)
    if source.derived or source.view is not None or not isinstance(snapshot, Snapshot):
        return read(source, columns, snapshots).lazy()
    try:
        rows = snapshot.scan()
        return rows.select(present(rows, columns, f"source {source.name!r}"))
    except (pl.exceptions.PolarsError, OSError) as exc:
        raise unreadable(source.name, exc) from exc


def present(rows: pl.LazyFrame, columns: Sequence[str], owner: str) -> list[str]:
    """The columns, all of which exist.

    Raises:
        NotFound: one does not.
    """
    exist = rows.collect_schema().names()
    for column in columns:
        if column not in exist:
            raise NotFound(f"column in {owner} called", column, exist)
    return list(columns)


def size_of(rows: pl.LazyFrame) -> tuple[int, int]:
    """How many rows there are, and about how many bytes each takes."""
    first = rows.head(10_000).collect()
    width = first.estimated_size() // max(first.height, 1) + 1
    return int(rows.select(pl.len()).collect().item()), int(width)


def added(reports: Sequence[Report]) -> Report:
    """What the parts of a source met, counted together."""
    return _combined(reports, rows=sum(each.rows for each in reports), timeless=sum(r.null_times for r in reports))


def together(reports: Sequence[Report]) -> Report:
    """What the whole spine met at its sources, each of which saw all its rows."""
    return _combined(reports, rows=reports[0].rows, timeless=reports[0].null_times, once=("source_rows",))


def _combined(reports: Sequence[Report], *, rows: int, timeless: int, once: Sequence[str] = ()) -> Report:
    counts: dict[str, Any] = {}
    for name in _COUNTS:
        total: dict[str, int] = {}
        for where, number in (item for each in reports for item in getattr(each, name).items()):
            total[where] = number if name in once else total.get(where, 0) + number
        counts[name] = total
    return Report(rows=rows, null_times=timeless, **counts)
