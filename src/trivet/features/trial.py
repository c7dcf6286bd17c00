"""Trying definitions on the first rows of their sources, so that what cannot work is said before anything is stored.

The rows are asked the question that training sets and materializations ask, by the same code, so a misspelt column, a
time without a zone or a query over a table that does not exist is the same sentence here and there. Some rows are read
and not all: what is found is wrong, and what only later rows show is found when they are read. Functions that fetch data
are not called, since what they ask may be far away.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import msgspec
import numpy as np
import polars as pl

from trivet.errors import NotFound, TrivetError
from trivet.features.definitions import FeatureView, Source
from trivet.features.engines.keys import NULL
from trivet.features.engines.local import LocalEngine
from trivet.features.engines.prepared import Query, prepare
from trivet.features.logs import with_logs
from trivet.features.places import is_database, local
from trivet.features.quality.expectations import Expectations
from trivet.features.sources import Snapshot, Snapshots, leaves_of, read, snapshot_of
from trivet.features.sources.databases import Databases
from trivet.features.sources.files import FileSnapshot
from trivet.ledger import Blobs
from trivet.pipelines.values.contract import Saved

__all__ = ["ROWS", "Problem", "check_trial", "problems"]

ROWS = 100
"""How many rows of each source are looked at."""
_LARGEST_TEXT = 256 << 20
"""Bytes of a CSV file up to which it is looked at: its types are those of all its rows, so all of them are parsed."""


class Problem(msgspec.Struct, frozen=True):
    """Why a definition cannot work.

    Attributes:
        what: the sentence.
        absent: whether the data is not at hand, or cannot be reached, so that nothing can be said of them yet.
    """

    what: str
    absent: bool = False

    def __str__(self) -> str:
        return self.what


@dataclass(frozen=True, eq=False)
class _First(Snapshot):
    """The first rows of a snapshot."""

    whole: Snapshot

    def rows(self) -> pl.LazyFrame:
        """So many rows, not read yet."""
        return self.whole.scan().head(ROWS)

    def keep(self, blobs: Blobs) -> Saved:
        """Those rows as Parquet."""
        buffer = BytesIO()
        self.scan().collect().write_parquet(buffer)
        return Saved({"name": self.name, "format": "parquet"}, {f"{self.name}.parquet": blobs.put(buffer.getvalue())})


def problems(definition: object, root: Path) -> list[Problem]:
    """Why a view, or what is expected of a source, cannot work with the data as they are; empty where nothing is seen.

    Args:
        definition: a feature view or expectations; of others nothing is said, they have no data of their own.
        root: where relative paths start.

    Example:
        >>> from trivet.features import Entity
        >>> rows = pl.DataFrame({"shop": [1], "came": ["2026-01-05T10:00"], "spent": [9.5]})
        >>> source = Source("visits", rows, event_time="came")
        >>> print(*problems(FeatureView("visits", entity=Entity("shop"), source=source, features=["spent"]), Path()))
        Column 'came' of source 'visits' has times without a zone. Declare it with timezone='America/New_York' or whatever zone it is.
    """  # noqa: E501
    return [Problem(str(each), absent) for each, absent in _failures(definition, root)]


def check_trial(definitions: Iterable[object], root: Path) -> None:
    """Refuse what contradicts the data that is at hand. A view may be defined before its data is there.

    Raises:
        NotFound, Invalid: the first problem, as ``materialize`` would raise it.
    """
    for each in definitions:
        for failure, absent in _failures(each, root):
            if not absent:
                raise failure


def _failures(definition: object, root: Path) -> list[tuple[TrivetError, bool]]:
    source = getattr(definition, "source", None)
    if not isinstance(source, Source):
        return []
    snapshots: dict[str, Snapshot] = {}
    found: list[tuple[TrivetError, bool]] = []
    looked = True
    for name, leaf in leaves_of([source]).items():
        try:
            snapshot = _opened(leaf, root)
        except TrivetError as exc:
            found.append((exc, _is_absent(leaf, root)))
        else:
            looked = looked and snapshot is not None
            snapshots |= {name: snapshot} if snapshot is not None else {}
    try:
        _check_tables(source)
        if looked and not found:
            _try(definition, source, snapshots)
    except TrivetError as exc:  # an own table has only its times until its first rows come
        found.append((exc, isinstance(exc, NotFound) and _are_empty(snapshots)))
    return found


def _are_empty(snapshots: Mapping[str, Snapshot]) -> bool:
    return bool(snapshots) and all(each.rows().limit(1).collect().is_empty() for each in snapshots.values())


def _try(definition: object, source: Source, snapshots: Snapshots) -> None:
    """Ask the rows what they would be asked."""
    snapshots = with_logs([source], snapshots, LocalEngine().point_in_time)
    if isinstance(definition, Expectations):
        read(source, definition.columns, snapshots)
    if not isinstance(definition, FeatureView):
        return
    nobody, never = np.full(1, NULL), np.zeros(1, np.int64)
    wanted = [(definition, each) for each in definition.features]
    with (
        closing(prepare(source, wanted, snapshots)) as prepared,
        closing(Query(prepared, definition.entity.keys, nobody, never, strict=False)) as query,
    ):
        for each in definition.features:
            query.answer(definition, each)


def _opened(leaf: Source, root: Path) -> Snapshot | None:
    """The first rows of a source; None where looking at them costs too much, or has to call what is not ours."""
    if leaf.data is None and leaf.function is not None:
        return None
    if isinstance(leaf.data, str) and is_database(leaf.data):
        return Databases().open(leaf, root, most=ROWS)
    snapshot = snapshot_of(leaf, root)
    if isinstance(snapshot, FileSnapshot) and snapshot.format == "csv" and snapshot.data.stat().st_size > _LARGEST_TEXT:
        return None
    return _First(leaf.name, snapshot)


def _is_absent(leaf: Source, root: Path) -> bool:
    """Whether the data of a source are not there, or elsewhere and out of reach."""
    if not isinstance(leaf.data, str):
        return leaf.data is None
    path = local(leaf.data)
    return path is None or not (root / path).exists()


def _check_tables(source: Source) -> None:
    """Refuse a query over a table that is none of its inputs, whether their data is there or not."""
    for each in source.inputs:
        _check_tables(each)
    if source.view is not None:
        _check_tables(source.view.source)
    if source.sql is None:
        return
    import duckdb

    try:
        with duckdb.connect() as connection:
            tables = connection.get_table_names(source.sql)
    except duckdb.Error:
        return  # the words of the query's own failure say more, and come when it is run
    inputs = [each.name for each in source.inputs]
    for table in sorted(tables):
        if table.casefold() not in {each.casefold() for each in inputs}:
            raise NotFound(f"input of the query of source {source.name!r} called", table, inputs)
