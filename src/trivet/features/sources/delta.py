"""Delta tables, in a folder or an object store, as of the version that was current when they were opened.

The rows stand in the order in which their files were committed. A version never changes, so it is told by table and
number; recorded, its rows are copied as Parquet, so that vacuuming the table loses nothing that was recorded. A
version larger than ``MOST_COPIED`` is recorded by reference: the artifact names its files, and loading it again
checks that they are still there.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from deltalake import DeltaTable
from deltalake.exceptions import DeltaError, TableNotFoundError

from trivet.digest import digest
from trivet.errors import Corrupt, Invalid, NotFound
from trivet.features.definitions import Source
from trivet.features.places import is_database, is_delta, local
from trivet.features.sources.contract import Snapshot, as_arrived, first_line, unreadable
from trivet.features.sources.files import check_exists
from trivet.ledger import Blobs
from trivet.pipelines.values.contract import Saved
from trivet.types import from_micros, to_micros

__all__ = ["LOCATION", "MOST_COPIED", "DeltaSnapshot", "DeltaTables", "open_version"]

MOST_COPIED = 4 << 30
"""Bytes of data files up to which the rows of a version are copied when it is recorded."""
LOCATION = "location.json"
_ROWS = 100_000  # in one row group of the copy


@dataclass(frozen=True, eq=False)
class DeltaSnapshot(Snapshot):
    """The rows of one version of a table.

    Attributes:
        place: as it was declared.
        table: opened at the version.
    """

    place: str
    table: DeltaTable

    @property
    def version(self) -> int:
        """The version."""
        return int(self.table.version())

    @cached_property
    def files(self) -> list[tuple[int, str, int]]:
        """When each file was written, its path and its size, in the order of their rows."""
        actions = pl.DataFrame(self.table.get_add_actions(flatten=True))
        wanted = actions.select(pl.col("modification_time").cast(pl.Int64), "path", "size_bytes")
        return sorted(wanted.rows())

    def rows(self) -> pl.LazyFrame:
        """All rows, not read yet."""
        return as_arrived(pl.scan_pyarrow_dataset(self.dataset()))

    def keep(self, blobs: Blobs) -> Saved:
        """The rows as Parquet, or where they are too many, the names of the table's files."""
        spec = {"name": self.name, "format": "parquet", "table": self.place, "version": self.version}
        if sum(size for _, _, size in self.files) > MOST_COPIED:
            location = json.dumps({"uri": self.table.table_uri, "version": self.version}).encode()
            content = digest("delta", {"table": str(self.table.metadata().id), "files": [list(f) for f in self.files]})
            return Saved({**spec, "format": "delta"}, {LOCATION: blobs.put(location)}, content)
        with tempfile.TemporaryDirectory(prefix="trivet-delta-") as folder:
            copy = Path(folder) / "rows.parquet"
            self._copy(copy)
            return Saved(spec, {f"{self.name}.parquet": blobs.put(copy)})

    def fingerprint(self) -> str | None:
        """The table's identity, place and version."""
        return f"delta {self.place} {self.table.metadata().id} {self.version} {self.table.table_uri}"

    def dataset(self) -> ds.Dataset:
        """The version as a table for Arrow, its files in the order of their rows.

        Raises:
            Invalid: it cannot be read.
        """
        place = {path: number for number, (_, path, _) in enumerate(self.files)}
        try:
            found = self.table.to_pyarrow_dataset()
            if not place:
                return found
            fragments = sorted(found.get_fragments(), key=lambda fragment: place[fragment.path])
            return ds.FileSystemDataset(fragments, found.schema, found.format, found.filesystem)
        except (DeltaError, pa.ArrowException, OSError, KeyError) as exc:
            raise unreadable(self.name, exc) from exc

    def _copy(self, to: Path) -> None:
        try:
            dataset = self.dataset()
            with pq.ParquetWriter(to, dataset.schema) as writer:
                for rows in _in_groups(dataset):
                    writer.write_table(rows)
        except (pa.ArrowException, OSError) as exc:
            raise unreadable(self.name, exc) from exc


class DeltaTables:
    """Tables named as such, by the URL of an object store, or by a folder that holds a Delta log."""

    def claims(self, source: Source, root: Path) -> bool:
        """``delta:PATH``, ``s3://...`` and the like, and folders with a ``_delta_log``."""
        if not isinstance(source.data, str) or is_database(source.data):
            return False
        return is_delta(source.data) or (root / source.data / "_delta_log").is_dir()

    def open(self, source: Source, root: Path) -> Snapshot:
        """The table at its newest version.

        Raises:
            Invalid: there is no table, or its log is damaged.
        """
        return self._open(source, root)

    def open_at(self, source: Source, root: Path, moment: datetime) -> tuple[DeltaSnapshot, datetime]:
        """The version that was the newest at a moment, and when it was committed.

        Raises:
            NotFound: there was none yet, or its log or files are gone.
            Invalid: as ``open``.
        """
        snapshot = self._open(source, root)
        commits = sorted((int(each["version"]), int(each["timestamp"])) for each in snapshot.table.history())
        until = list(takewhile(lambda each: each[1] * 1000 <= to_micros(moment), commits))
        when = f"{source.name} as of {moment:%Y-%m-%d %H:%M:%S} UTC"
        if not until:
            first = f"{from_micros(commits[0][1] * 1000):%Y-%m-%d %H:%M:%S} UTC"
            told = f"Version {commits[0][0]} of {first} is the first whose log is there."
            raise NotFound("version of source", when, hint=told)
        version, committed = until[-1]
        try:
            snapshot.table.load_as_version(version)
        except (DeltaError, OSError) as exc:
            raise NotFound("version of source", when, hint=f"Version {version} is gone: {first_line(exc)}") from exc
        gone = next((path for _, path, _ in snapshot.files if not _is_there(snapshot.table.table_uri, path)), None)
        if gone is not None:
            raise NotFound("version of source", when, hint=f"The file {gone!r} of version {version} was vacuumed.")
        return snapshot, from_micros(committed * 1000)

    def _open(self, source: Source, root: Path) -> DeltaSnapshot:
        place = str(source.data)
        path = local(place)
        if path is not None:
            check_exists(source.name, root / path)
        uri = str(root / path) if path is not None else place.removeprefix("delta:")
        return DeltaSnapshot(source.name, place.removeprefix("delta:"), _opened(source.name, uri), cut=source.cut)


def open_version(spec: dict[str, Any], location: bytes, content: str) -> DeltaSnapshot:
    """A version that was recorded by reference.

    Raises:
        NotFound: the table, or a file of that version, is gone.
        Corrupt: the table is another one, or its files are others.
    """
    facts = json.loads(location)
    what = f"version {facts['version']} of the Delta table of source {spec['name']!r}"
    try:
        table = DeltaTable(facts["uri"], version=facts["version"])
    except DeltaError as exc:
        raise NotFound(
            "data for", what, hint=f"It was too large to be copied when recorded: {first_line(exc)}"
        ) from exc
    snapshot = DeltaSnapshot(spec["name"], spec["table"], table)
    if content != digest("delta", {"table": str(table.metadata().id), "files": [list(f) for f in snapshot.files]}):
        raise Corrupt(f"What now is {what} at {facts['uri']} is not what was recorded: the table was made anew.")
    gone = next((path for _, path, _ in snapshot.files if not _is_there(facts["uri"], path)), None)
    if gone is not None:
        raise NotFound(
            "data for", what, hint=f"It was too large to be copied when recorded, and {gone!r} was vacuumed."
        )
    return snapshot


def _is_there(uri: str, path: str) -> bool:
    """Whether a file of a local table exists; an object store answers when the rows are read."""
    folder = uri.removeprefix("file://")
    return "://" in folder or Path(folder, path).exists()


def _opened(name: str, uri: str) -> DeltaTable:
    try:
        return DeltaTable(uri)
    except TableNotFoundError as exc:
        raise Invalid(f"Source {name!r} reads {uri!r}, which is no Delta table: it has no _delta_log.") from exc
    except (DeltaError, OSError, ValueError) as exc:
        raise Invalid(f"The Delta table of source {name!r} at {uri!r} cannot be opened: {first_line(exc)}") from exc


def _in_groups(dataset: ds.Dataset) -> Iterator[pa.Table]:
    """The rows in tables of about the same size, in bounded memory."""
    waiting: list[pa.RecordBatch] = []
    for batch in dataset.to_batches():
        waiting.append(batch)
        if sum(each.num_rows for each in waiting) >= _ROWS:
            yield pa.Table.from_batches(waiting, dataset.schema)
            waiting = []
    yield pa.Table.from_batches(waiting, dataset.schema)
