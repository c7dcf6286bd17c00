"""Training sets larger than memory: the spine and the sources in pieces that hold whole keys.

A feature of a key needs the rows of that key and no others. So each source is dealt out by the hash of the keys into
files, and the spine with it; piece by piece the engine answers; the answers are dealt out again by ranges of rows
and put together in the spine's order. Sources are read in the columns that are needed, twice at most (once, and
once more from the pieces). Invariant: the table is bit for bit the one that the engine answers in one piece, whatever
the number of pieces; nothing but the pieces depends on the hash.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from trivet.errors import Invalid, NotFound, TrivetError
from trivet.features.computed import with_computed
from trivet.features.dealing import (
    ROW,
    Group,
    added,
    groups_of,
    in_batches,
    in_parts,
    lazy_rows,
    number_of,
    present,
    size_of,
    together,
)
from trivet.features.engines.contract import Engine, Report
from trivet.features.logs import with_logs
from trivet.features.references import Selected, Selection
from trivet.features.sources import Snapshots

__all__ = ["Parts", "StoredTable", "as_bytes", "join_in_pieces", "needed"]

_DEAL = 1 << 17  # rows dealt out at a time
_MOST_PIECES = 512
_SMALLEST = 32 << 20  # bytes below which no budget is of use
_PACKED = pa.ipc.IpcWriteOptions(compression="lz4")  # read once and gone: no time is spent on making them small
_SIZES = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


def as_bytes(size: str | int) -> int:
    """A size in bytes: ``"2GB"``, ``"500 MB"`` (powers of ten), or a number.

    Raises:
        Invalid: it is no size.

    Example:
        >>> as_bytes("2GB"), as_bytes("1.5 MB"), as_bytes(4096)
        (2000000000, 1500000, 4096)
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?B|)\s*", str(size).upper())
    if not found or not float(found[1]):
        raise Invalid(f"{size!r} is no size of memory. Write it as '2GB' or '500MB'.")
    return int(float(found[1]) * _SIZES[found[2]])


class StoredTable:
    """A table in a Parquet file that is read when it is asked for; its folder lives as long as it does."""

    def __init__(self, path: Path, folder: Path | None = None) -> None:
        self.path = path
        if folder is not None:
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)

    def scan(self) -> pl.LazyFrame:
        """The rows, not read yet."""
        return pl.scan_parquet(self.path)


@dataclass(frozen=True)
class Parts:
    """Into how many pieces keys are dealt, and how many rows of the answer are put together at a time."""

    keys: int
    rows: int


def needed(spine: pl.LazyFrame, selected: Sequence[Selected], sources: Snapshots, memory: int) -> Parts | None:
    """The parts that it takes to join within ``memory`` bytes of this process, None if one is enough.

    Estimated from the first rows of each table, the arrays that the engine keeps beside them, and what the process
    takes already. ``sources`` have the logs of views that are sources, see ``trivet.features.logs``.

    Raises:
        NotFound, Invalid: a column or the data of a source is missing.
    """
    budget = max((memory - _resident()) // 2, _SMALLEST)
    rows, width = size_of(spine)
    answer = width + 9 * len(selected)
    read = [lazy_rows(group.source, group.columns, sources) for group in groups_of(selected)]
    largest = max((_engine_bytes(*size_of(rows)) for rows in read), default=0)
    whole = largest + rows * (answer + width + 64)
    if whole <= budget:
        return None
    pieces = -(-(largest + rows * (9 * len(selected) + 96)) // budget)
    at_a_time = max(budget // (4 * answer) // 1024, 1) * 1024
    return Parts(min(max(pieces, 2), _MOST_PIECES), min(at_a_time, 1 << 20))


def join_in_pieces(
    engine: Engine,
    spine: pl.LazyFrame,
    selection: Selection,
    sources: Snapshots,
    *,
    time: str,
    strict: bool,
    parts: Parts,
) -> tuple[StoredTable, Report]:
    """What ``engine.point_in_time`` answers and what is computed of it on demand, in a Parquet file.

    Raises:
        NotFound, Invalid: as the engine does.
        TrivetError: there is no space left for the pieces.
    """
    folder = Path(tempfile.mkdtemp(prefix="trivet-pieces-"))
    stored = StoredTable(folder / "training_set.parquet", folder)
    known = with_logs([each.view.source for each in selection.read], sources, engine.point_in_time)
    work = _Work(engine, spine, selection, known, time, strict, parts, folder)
    try:
        report = work.run(stored.path)
    except OSError as exc:
        raise TrivetError(f"The pieces of the training set cannot be kept in {folder}: {exc.strerror or exc}.") from exc
    return stored, report


@dataclass(frozen=True)
class _Work:
    """One join in pieces."""

    engine: Engine
    spine: pl.LazyFrame
    selection: Selection
    sources: Snapshots
    time: str
    strict: bool
    parts: Parts
    folder: Path

    def run(self, path: Path) -> Report:
        schema = self.spine.collect_schema()
        if self.time not in schema:
            raise NotFound("column in the spine called", self.time, schema.names())
        answers, reports = [], []
        for number, group in enumerate(groups_of(self.selection.read)):
            answers.append(_Dealt(self.folder / str(number) / "answer"))
            reports.append(self._group(number, answers[-1], group))
        nulls = self._assemble(path, answers)
        return msgspec.structs.replace(together(reports), nulls=nulls)

    def _group(self, number: int, answers: _Dealt, group: Group) -> Report:
        """Answer the features of one source and one kind of key, and leave them dealt out by ranges of rows."""
        source, keys, columns, features = group
        home, pieces = self.folder / str(number), self.parts.keys
        wanted = dict.fromkeys([*present(self.spine, keys, "the spine"), self.time])
        asked = _deal(self.spine.select(list(wanted)).with_row_index(ROW), keys, pieces, home / "spine", "the spine")
        known = _deal(lazy_rows(source, columns, self.sources), keys, pieces, home / "source", group.owner)
        reports = []
        for piece in range(pieces):
            rows = {source.name: known.take(piece)}
            joined = self.engine.point_in_time(asked.take(piece), features, rows, time=self.time, strict=self.strict)
            answer = joined.frame.select(ROW, *(each.column for each in features))
            answers.write(answer, (answer[ROW] // self.parts.rows).to_numpy())
            reports.append(joined.report)
        answers.close()
        return added(reports)

    def _assemble(self, path: Path, answers: Sequence[_Dealt]) -> dict[str, int]:
        """The spine with all answers, a range of rows at a time; counts the nulls of each column."""
        nulls = dict.fromkeys([each.column for each in self.selection], 0)
        writer: pq.ParquetWriter | None = None
        own = self.spine.collect_schema().names()
        columns = [*own, *(each.column for each in self.selection.read)]
        for number, rows in enumerate(in_batches(self.spine, self.parts.rows, "the spine")):
            found = [dealt.take(number).sort(ROW).drop(ROW) for dealt in answers]
            joined = pl.concat([rows, *found], how="horizontal").select(columns)
            answer, _ = with_computed(joined, own, self.selection, {})
            for name in nulls:
                nulls[name] += answer[name].null_count()
            table = answer.to_arrow()
            writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd")
            writer.write_table(table)
        if writer is not None:
            writer.close()
        return nulls


class _Dealt:
    """Rows in files by number, each growing by what is written to it and taken once."""

    def __init__(self, folder: Path, empty: pl.DataFrame | None = None) -> None:
        folder.mkdir(parents=True)
        self._folder, self._empty = folder, empty
        self._writers: dict[int, pa.ipc.RecordBatchStreamWriter] = {}

    def write(self, frame: pl.DataFrame, numbers: np.ndarray[Any, Any]) -> None:
        """Append each row to the file of its number, in order."""
        self._empty = frame.clear()
        for number, rows in in_parts(frame, numbers):
            self._append(number, rows.to_arrow())

    def _append(self, number: int, table: pa.Table) -> None:
        if number not in self._writers:
            self._writers[number] = pa.ipc.new_stream(self._path(number), table.schema, options=_PACKED)
        self._writers[number].write_table(table)

    def close(self) -> None:
        """No more will be written."""
        for writer in self._writers.values():
            writer.close()

    def take(self, number: int) -> pl.DataFrame:
        """All rows of a number; they are gone from here."""
        if number not in self._writers:
            assert self._empty is not None
            return self._empty
        frame = pl.read_ipc_stream(self._path(number))
        self._path(number).unlink()
        return frame.rechunk()

    def _path(self, number: int) -> Path:
        return self._folder / f"{number}.arrows"


def _deal(rows: pl.LazyFrame, keys: Sequence[str], pieces: int, folder: Path, owner: str) -> _Dealt:
    """Deal rows out into files by the hash of their keys; rows of a key stay together and in order."""
    dealt = _Dealt(folder)
    for batch in in_batches(rows, _DEAL, owner):
        dealt.write(batch, number_of(batch, keys, pieces, owner))
    dealt.close()
    return dealt


def _engine_bytes(rows: int, width: int) -> int:
    """What the engine takes for a source: the rows twice while they are read, and a dozen arrays of whole numbers."""
    return rows * (2 * width + 96)


def _resident() -> int:
    """Bytes that this process takes now; 0 where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
