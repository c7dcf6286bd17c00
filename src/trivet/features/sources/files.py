"""One file: Parquet, CSV or Arrow. Recorded byte for byte."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from trivet.errors import Invalid, nearest
from trivet.features.definitions import Source
from trivet.features.sources.contract import Snapshot, as_arrived
from trivet.ledger import Blobs
from trivet.pipelines.values.contract import Saved

__all__ = ["FORMATS", "FileSnapshot", "Files", "check_exists", "is_settled", "stat_text"]

FORMATS = {".parquet": "parquet", ".csv": "csv", ".arrow": "arrow", ".feather": "arrow", ".ipc": "arrow"}
_SETTLED = 2_000_000_000  # nanoseconds: a file may change twice within the clock's grain


@dataclass(frozen=True, eq=False)
class FileSnapshot(Snapshot):
    """The rows of one file.

    Attributes:
        data: the file.
        format: ``parquet``, ``csv`` or ``arrow``.
        nulls: texts of a CSV file that stand for nothing.
    """

    data: Path
    format: str = "parquet"
    nulls: tuple[str, ...] = ()

    def rows(self) -> pl.LazyFrame:
        """All rows, not read yet."""
        check_file(self.name, self.data)
        if self.format == "csv":
            nothing = ["", *self.nulls] if self.nulls else None  # types by all rows, not by a sample of them
            return pl.scan_csv(self.data, infer_schema_length=None, null_values=nothing)
        return pl.scan_ipc(self.data) if self.format == "arrow" else as_arrived(pl.scan_parquet(self.data))

    def keep(self, blobs: Blobs) -> Saved:
        """The file byte for byte."""
        check_file(self.name, self.data)
        spec: dict[str, Any] = {"name": self.name, "format": self.format}
        spec |= {"nulls": list(self.nulls)} if self.nulls else {}
        return Saved(spec, {f"{self.name}.{self.format}": blobs.put(self.data)})

    def fingerprint(self) -> str | None:
        """Size, times and place of the file, and how it is read."""
        return stat_text(self.data) + (f" nulls {json.dumps(self.nulls)}" if self.nulls else "")

    def settled(self) -> bool:
        """Whether the file is older than the clock's grain."""
        return is_settled(self.data)


class Files:
    """Files, by what their names end in."""

    def claims(self, source: Source, root: Path) -> bool:  # noqa: ARG002
        """Whatever is a path and nothing else."""
        return isinstance(source.data, str)

    def open(self, source: Source, root: Path) -> Snapshot:
        """The file.

        Raises:
            Invalid: it is missing, empty, or of a format that cannot be read.
        """
        assert isinstance(source.data, str)
        path = root / source.data
        if path.suffix.lower() not in FORMATS:
            if not path.suffix:
                check_exists(source.name, path)
            raise Invalid(
                f"Source {source.name!r} reads {source.data!r}. Files that can be read end in {', '.join(FORMATS)}."
            )
        check_file(source.name, path)
        return FileSnapshot(source.name, path, FORMATS[path.suffix.lower()], source.nulls, cut=source.cut)


def check_exists(name: str, path: Path) -> None:
    """Refuse a path where nothing is.

    Raises:
        Invalid: nothing is there; what is called nearly so is offered.
    """
    if not path.exists():
        close = nearest(path.name, [each.name for each in path.parent.iterdir()]) if path.parent.is_dir() else []
        offer = f"Did you mean {close[0]!r}?" if close else "Check the path; it is relative to the project's folder."
        raise Invalid(f"Source {name!r} reads {str(path)!r}, which does not exist. {offer}")


def check_file(name: str, path: Path) -> None:
    """Refuse what is no file with something in it.

    Raises:
        Invalid: it is missing, empty or no file.
    """
    check_exists(name, path)
    if not path.is_file():
        raise Invalid(f"Source {name!r} reads {str(path)!r}, which is no file.")
    if path.stat().st_size == 0:
        raise Invalid(f"Source {name!r} reads {str(path)!r}, which is empty. Write it again.")


def stat_text(path: Path) -> str:
    """What tells a file from itself after a change: size, times, inode and place."""
    facts = path.stat()
    numbers = (facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino)
    return f"{'-'.join(map(str, numbers))} {path.resolve()}"


def is_settled(path: Path) -> bool:
    """Whether a change of the file would be seen by its times."""
    return time.time_ns() - path.stat().st_mtime_ns > _SETTLED
