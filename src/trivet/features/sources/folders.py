"""A folder of Parquet files, read as one table: in the order of their names, with hive partitions as columns.

The columns are those of all files together; where a file lacks one, it is null. Recorded file by file, byte for
byte, so that what did not change is stored once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds

from trivet.digest import digest
from trivet.errors import Invalid
from trivet.features.definitions import Source
from trivet.features.places import is_database, local
from trivet.features.sources.contract import Snapshot, unreadable
from trivet.features.sources.files import is_settled, stat_text
from trivet.ledger import Blobs
from trivet.pipelines.values.contract import Saved

__all__ = ["FolderSnapshot", "Folders", "parquet_files"]


@dataclass(frozen=True, eq=False)
class FolderSnapshot(Snapshot):
    """The rows of all Parquet files below a folder.

    Attributes:
        data: the folder.
    """

    data: Path

    @cached_property
    def files(self) -> list[Path]:
        """The files, in the order of their rows: the files of one moment, however often they are asked for."""
        return parquet_files(self.name, self.data)

    def rows(self) -> pl.LazyFrame:
        """All rows, not read yet."""
        return pl.scan_pyarrow_dataset(self.dataset(self.files))

    def dataset(self, files: Sequence[Path]) -> ds.Dataset:
        """Some of the files as one table for Arrow.

        Raises:
            Invalid: one of them cannot be read.
        """
        try:
            return _dataset(self.data, files)
        except (pa.ArrowException, OSError) as exc:
            raise unreadable(self.name, exc) from exc

    def keep(self, blobs: Blobs) -> Saved:
        """Each file byte for byte."""
        saved = {path.relative_to(self.data).as_posix(): blobs.put(path) for path in self.files}
        return Saved({"name": self.name, "format": "folder"}, saved)

    def fingerprint(self) -> str | None:
        """Sizes, times and places of all files."""
        return digest("folder", [stat_text(path) for path in parquet_files(self.name, self.data)])

    def settled(self) -> bool:
        """Whether all files are older than the clock's grain."""
        return all(map(is_settled, self.files))


class Folders:
    """Folders that are no Delta table."""

    def claims(self, source: Source, root: Path) -> bool:
        """Whatever is a path to a folder, or written like one."""
        if not isinstance(source.data, str) or is_database(source.data) or local(source.data) != source.data:
            return False
        return Path(root / source.data).is_dir() or source.data.endswith("/")

    def open(self, source: Source, root: Path) -> Snapshot:
        """The folder.

        Raises:
            Invalid: it is missing, or has no Parquet files.
        """
        snapshot = FolderSnapshot(source.name, root / str(source.data), cut=source.cut)
        assert snapshot.files
        return snapshot


def parquet_files(name: str, folder: Path) -> list[Path]:
    """The Parquet files below ``folder``, sorted by their path from there; hidden and ``_`` ones are not data.

    Raises:
        Invalid: there is no such folder, or there are none.
    """
    from trivet.features.sources.files import check_exists

    check_exists(name, folder)
    found = [(path.relative_to(folder).as_posix(), path) for path in folder.rglob("*.parquet") if path.is_file()]
    visible = sorted(each for each in found if not any(part[0] in "._" for part in each[0].split("/")))
    if not visible:
        raise Invalid(f"Source {name!r} reads the folder {str(folder)!r}, which holds no Parquet files (*.parquet).")
    if empty := next((path for path, file in visible if file.stat().st_size == 0), None):
        raise Invalid(f"Source {name!r} reads the folder {str(folder)!r}, in which {empty!r} is empty. Write it again.")
    return [path for _, path in visible]


def _dataset(folder: Path, files: Sequence[Path]) -> ds.Dataset:
    options = {"format": "parquet", "partitioning": ds.partitioning(flavor="hive"), "partition_base_dir": str(folder)}
    paths = [str(path) for path in files]
    found = ds.dataset(paths, **options)
    schemas = [found.schema, *(fragment.physical_schema for fragment in found.get_fragments())]
    return ds.dataset(paths, schema=pa.unify_schemas(schemas, promote_options="permissive"), **options)
