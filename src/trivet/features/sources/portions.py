"""Sources in portions that other processes open by themselves, so that no row has to pass through the one that asks.

The portions of a snapshot, one after the other, are its rows in its order. What lies in this process alone (a frame,
the answer of a database or a function) has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

import msgspec
import polars as pl
import pyarrow.dataset as ds
from deltalake import DeltaTable

from trivet.features.sources.contract import Snapshot
from trivet.features.sources.delta import DeltaSnapshot
from trivet.features.sources.files import FileSnapshot
from trivet.features.sources.folders import FolderSnapshot

__all__ = ["Portion", "decode_portion", "portions_of"]

_ROWS = 1 << 20  # of one Parquet file that are read at a time


class _Rows(msgspec.Struct, frozen=True, tag="rows"):
    """A stretch of one file."""

    name: str
    file: str
    format: str
    start: int = 0
    length: int | None = None

    def scan(self) -> pl.LazyFrame:
        return FileSnapshot(self.name, Path(self.file), self.format).scan().slice(self.start, self.length)


class _FileOfFolder(msgspec.Struct, frozen=True, tag="folder"):
    """One file of a folder, with the columns of all of them."""

    name: str
    folder: str
    files: tuple[str, ...]
    state: str
    number: int

    def scan(self) -> pl.LazyFrame:
        return _fragment(_folder(self.name, self.folder, self.files, self.state), self.number)


class _FileOfDelta(msgspec.Struct, frozen=True, tag="delta"):
    """One file of a version of a Delta table."""

    name: str
    uri: str
    version: int
    number: int

    def scan(self) -> pl.LazyFrame:
        return _fragment(_delta(self.name, self.uri, self.version), self.number)


Portion: TypeAlias = _Rows | _FileOfFolder | _FileOfDelta
"""Some rows of a source: ``scan()`` opens them in any process that sees the files. Small; JSON when sent."""


def decode_portion(data: bytes) -> Portion:
    """The portion that was sent as JSON."""
    portion: Portion = msgspec.json.decode(data, type=Portion)
    return portion


def portions_of(snapshot: Snapshot, *, here: bool) -> Sequence[Portion]:
    """The portions, in the order of their rows; none if the rows are only to be had in this process.

    Args:
        snapshot: of the rows.
        here: whether those who will read see the files of this machine.

    Raises:
        Invalid: the data cannot be read.
    """
    if isinstance(snapshot, DeltaSnapshot) and (here or _is_remote(snapshot.table.table_uri)):
        uri, version = snapshot.table.table_uri, snapshot.version
        return [_FileOfDelta(snapshot.name, uri, version, number) for number in range(len(snapshot.files))]
    if isinstance(snapshot, FolderSnapshot) and here:
        files = tuple(str(path.absolute()) for path in snapshot.files)
        place = str(snapshot.data.absolute())
        state = snapshot.fingerprint() or ""
        return [_FileOfFolder(snapshot.name, place, files, state, number) for number in range(len(files))]
    if isinstance(snapshot, FileSnapshot) and here:
        return _stretches(snapshot)
    return []


def _stretches(snapshot: FileSnapshot) -> list[_Rows]:
    whole = _Rows(snapshot.name, str(snapshot.data.absolute()), snapshot.format)
    if snapshot.format != "parquet":
        return [whole]
    rows = int(snapshot.rows().select(pl.len()).collect().item())
    starts = range(0, max(rows, 1), _ROWS)
    return [_Rows(whole.name, whole.file, whole.format, start, _ROWS) for start in starts]


def _is_remote(uri: str) -> bool:
    return "://" in uri.removeprefix("file://")


def _fragment(dataset: ds.Dataset, number: int) -> pl.LazyFrame:
    fragment = list(dataset.get_fragments())[number]
    return pl.scan_pyarrow_dataset(ds.FileSystemDataset([fragment], dataset.schema, dataset.format, dataset.filesystem))


# What all files have in common is found out once in a process, and again where a file changed.


@lru_cache(maxsize=8)
def _folder(name: str, folder: str, files: tuple[str, ...], state: str) -> ds.Dataset:  # noqa: ARG001 - of the cache
    return FolderSnapshot(name, Path(folder)).dataset([Path(file) for file in files])


@lru_cache(maxsize=8)
def _delta(name: str, uri: str, version: int) -> ds.Dataset:
    return DeltaSnapshot(name, uri, table=DeltaTable(uri, version=version)).dataset()
