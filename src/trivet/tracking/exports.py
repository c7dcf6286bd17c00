"""Any number of runs as a file: CSV or Parquet, written page by page in bounded memory.

The runs are walked twice: once for the columns and what stands in them, once to write. Parameters that are no numbers in
every run become text. Invariant: the file is whole or not there.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from trivet.errors import Invalid, MissingExtra
from trivet.ledger import Run, RunQuery
from trivet.pipelines.context import Context
from trivet.tracking.search import Question, as_table, one_value, question_of, walk
from trivet.tracking.tables import plain_cell

__all__ = ["export_runs", "write_table"]

_PAGE = 500
Rows = Iterator[list[dict[str, Any]]]


def export_runs(
    context: Context,
    path: Path,
    query: Question = "",
    *,
    columns: Sequence[str] | None = None,
    limit: int | None = None,
    **words: Any,
) -> int:
    """Write the runs that fit into a file and answer how many they are.

    Args:
        context: the project's.
        path: ends in ``.csv`` or ``.parquet``; a file that is there is replaced.
        query: as of ``runs``, and so are the other words.
        columns: such as ``["id", "params.depth", "metrics.auc"]``; all by default.
        limit: the most to write; all by default.
        words: ``order``, ``kind``, ``experiment``...

    Raises:
        Invalid: the file ends otherwise, or as ``runs``.
        NotFound: a column that no run can have.
        MissingExtra: Parquet needs ``trivet[features]``.
    """
    _writer(path)
    asked = question_of(context, query, slim=True, **words)
    kinds = _columns(context, asked, limit, columns)
    return _replace(path, kinds, lambda: _rows(context, asked, limit, list(kinds)))


def write_table(path: Path, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Path:
    """Write a table of any cells as text and answer ``path``.

    Raises:
        Invalid: as ``export_runs``.
        MissingExtra: likewise.
    """
    page = [{name: plain_cell(value) for name, value in zip(columns, row, strict=True)} for row in rows]
    _replace(path, dict.fromkeys(columns, str), lambda: iter([page]))
    return path


def _writer(path: Path) -> Callable[[Path, dict[str, type], Callable[[], Rows]], int]:
    if path.suffix not in {".csv", ".parquet"}:
        raise Invalid(f"{path.name!r} is neither .csv nor .parquet.")
    return _write_csv if path.suffix == ".csv" else _write_parquet


def _replace(path: Path, kinds: dict[str, type], pages: Callable[[], Rows]) -> int:
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        count = _writer(path)(part, kinds, pages)
        part.replace(path)
    except OSError as exc:
        raise Invalid(f"{str(path)!r} cannot be written: {exc.strerror or exc}.") from exc
    finally:
        part.unlink(missing_ok=True)
    return count


def _columns(context: Context, query: RunQuery, limit: int | None, columns: Sequence[str] | None) -> dict[str, type]:
    """Each column with the one type of all its values."""
    kinds: dict[str, set[type]] = {name: set() for name in columns or ()}
    for page in _pages(context, query, limit):
        for row in as_table(page, host=context.host, columns=columns):
            for name, value in row.items():
                kinds.setdefault(name, set())
                if value is not None:
                    kinds[name].add(type(value))
    order = {"params": 1, "metrics": 2, "tags": 3}
    sorted_names = list(kinds) if columns else sorted(kinds, key=lambda name: order.get(name.partition(".")[0], 0))
    return {name: _one_type(name, kinds[name]) for name in sorted_names}


def _one_type(name: str, found: set[type]) -> type:
    if name.startswith("metrics.") or name == "seconds":
        return float
    if name in {"started", "ended"}:
        return datetime
    if found == {int, float}:
        return float
    return found.pop() if len(found) == 1 and found <= {int, float, bool} else str


def _rows(context: Context, query: RunQuery, limit: int | None, columns: Sequence[str]) -> Rows:
    for page in _pages(context, query, limit):
        yield [{name: one_value(run, name, context.host) for name in columns} for run in page]


def _pages(context: Context, query: RunQuery, limit: int | None) -> Iterator[list[Run]]:
    page: list[Run] = []
    for number, run in enumerate(walk(context, replace(query, limit=_PAGE), _PAGE)):
        if number == limit:
            break
        page.append(run)
        if len(page) == _PAGE:
            yield page
            page = []
    if page:
        yield page


def _write_csv(path: Path, kinds: dict[str, type], pages: Callable[[], Rows]) -> int:
    count = 0
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(kinds)
        for page in pages():
            writer.writerows([plain_cell(row[name]) for name in kinds] for row in page)
            count += len(page)
    return count


def _write_parquet(path: Path, kinds: dict[str, type], pages: Callable[[], Rows]) -> int:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as exc:
        raise MissingExtra("pyarrow", extra="features", wanted_for="A Parquet file of runs") from exc
    arrow = {int: pa.int64(), float: pa.float64(), bool: pa.bool_(), datetime: pa.timestamp("us", "UTC")}
    schema = pa.schema([pa.field(name, arrow.get(kind, pa.string())) for name, kind in kinds.items()])
    count = 0
    with pq.ParquetWriter(path, schema) as writer:
        for page in pages():
            cells = {name: [_as(kind, row[name]) for row in page] for name, kind in kinds.items()}
            writer.write_table(pa.table(cells, schema=schema))
            count += len(page)
    return count


def _as(kind: type, value: Any) -> Any:
    if value is None or (kind is float and not isinstance(value, int | float)):
        return None
    if kind is str:
        return plain_cell(value)
    return kind(value) if kind is float else value
