"""Reading sources from snapshots: only the columns that are needed, and rows derived from several sources.

Queries see their declared inputs and nothing else: no file, no network, one thread, UTC. Functions are given lazy
frames of their inputs.
"""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl
import pyarrow as pa

from trivet.errors import Invalid, NotFound
from trivet.features.definitions import FeatureView, Source
from trivet.features.frames import as_polars, is_frame
from trivet.features.sources.contract import Snapshot, Snapshots, check_told, first_line, unreadable
from trivet.features.sources.transforms import transformed

__all__ = ["log_name", "read", "schema_of"]

_FAILURES = (pl.exceptions.PolarsError, pa.ArrowException, OSError)


def log_name(view: FeatureView) -> str:
    """Under which name the log of a view's values stands among the snapshots; no source can be called so.

    Its rows are worked out by an engine beforehand: see ``trivet.features.logs``.
    """
    return f"log:{view.name}@{view.digest}"


def read(source: Source, columns: Iterable[str], snapshots: Snapshots) -> pl.DataFrame:
    """The rows of ``source`` in the file's order, with only ``columns``.

    Raises:
        NotFound: a column or the snapshot does not exist; the nearest are named.
        Invalid: the data cannot be read, or the query fails.
    """
    wanted = list(dict.fromkeys(columns))
    try:
        rows = _rows(source, snapshots)
        exist = rows.collect_schema().names()
        if source.derived:
            check_told(source.name, source.told, [*exist, *source.cut])
        for column in wanted:
            if column not in exist:
                raise NotFound(f"column in source {source.name!r} called", column, exist)
        return rows.select(wanted).collect()
    except _FAILURES as exc:
        raise unreadable(source.name, exc) from exc


def schema_of(source: Source, snapshots: Snapshots) -> pl.Schema:
    """What could be read of ``source``: columns and their types.

    Raises:
        NotFound, Invalid: as ``read``.
    """
    try:
        return _rows(source, snapshots).collect_schema()
    except _FAILURES as exc:
        raise unreadable(source.name, exc) from exc


def _rows(source: Source, snapshots: Snapshots) -> pl.LazyFrame:
    if source.derived:
        rows = (_query if source.transform is None else _transform)(source, snapshots).lazy()
    else:
        rows = _scan(source, snapshots)
    return rows.drop(source.cut, strict=False) if source.cut else rows


def _scan(source: Source, snapshots: Snapshots) -> pl.LazyFrame:
    name = source.name if source.view is None else log_name(source.view)
    if name not in snapshots:
        raise NotFound("data for source", source.name, [each for each in snapshots if ":" not in each])
    snapshot = snapshots[name]
    return snapshot.scan() if isinstance(snapshot, Snapshot) else _frame(source, snapshot).lazy()


def _frame(source: Source, data: object) -> pl.DataFrame:
    assert is_frame(data)
    return as_polars(data, f"The data of source {source.name!r}")


def _query(source: Source, snapshots: Snapshots) -> pl.DataFrame:
    """Run a query."""
    import duckdb

    connection = duckdb.connect(config={"threads": 1})
    try:
        for each in source.inputs:
            connection.register(each.name, _collect(each, snapshots).to_arrow())
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        relation = connection.sql(source.sql or "")
        if relation is None:
            raise Invalid(f"The query of source {source.name!r} answers no rows. Write one SELECT.")
        answer: pl.DataFrame = relation.pl()
    except duckdb.Error as exc:
        raise Invalid(f"The query of source {source.name!r} fails: {first_line(exc)}") from exc
    finally:
        connection.close()
    return _ordered(answer)


def _transform(source: Source, snapshots: Snapshots) -> pl.DataFrame:
    """Run a function over lazy frames."""
    assert source.transform is not None
    frames = {each.name: _rows(each, snapshots) for each in source.inputs}
    return _ordered(transformed(source.name, source.transform, frames))


def _ordered(rows: pl.DataFrame) -> pl.DataFrame:
    """Derived rows have no order of their own, so they are sorted by all their columns, nulls first."""
    return rows.sort(rows.columns, maintain_order=True) if rows.width else rows


def _collect(source: Source, snapshots: Snapshots) -> pl.DataFrame:
    try:
        return _rows(source, snapshots).collect()
    except _FAILURES as exc:
        raise unreadable(source.name, exc) from exc
