"""The rows of sources: files and frames as they were, read lazily and only in the columns that are needed.

A *snapshot* is the data of one source at hand; recorded, it is an artifact of kind ``source`` with the file byte
for byte (a frame becomes Parquet). What times mean is ``trivet.features.times``'s business. Queries see their
declared inputs and nothing else: no file, no network, one thread, UTC.
"""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, TypeAlias

import polars as pl

from trivet.errors import Invalid, NotFound, nearest
from trivet.features.definitions import Source
from trivet.features.frames import as_polars, is_frame
from trivet.features.functions import described_error
from trivet.ledger import Artifact, Blobs
from trivet.pipelines.values.contract import Saved

__all__ = ["Snapshot", "Snapshots", "SourceKind", "open_kind", "read", "snapshot_of", "snapshots_of"]

FORMATS = {".parquet": "parquet", ".csv": "csv", ".arrow": "arrow", ".feather": "arrow", ".ipc": "arrow"}


@dataclass(frozen=True, eq=False)
class Snapshot:
    """The rows of one source as they are now, or as they were.

    Attributes:
        name: the source's name.
        data: a file, or a frame in memory.
        format: ``parquet``, ``csv`` or ``arrow``, for a file.
    """

    __trivet_kind__ = "source"

    name: str
    data: Path | pl.DataFrame
    format: str = "parquet"

    def scan(self) -> pl.LazyFrame:
        """The rows, not read yet.

        Raises:
            Invalid: the file is missing, empty, damaged or of another format.
        """
        if isinstance(self.data, pl.DataFrame):
            return self.data.lazy()
        _check_file(self.name, self.data)
        if self.format == "csv":
            return pl.scan_csv(self.data, infer_schema_length=None)  # types by all rows, not by a sample of them
        return pl.scan_ipc(self.data) if self.format == "arrow" else pl.scan_parquet(self.data)


Snapshots: TypeAlias = Mapping[str, "Snapshot | Any"]
"""The data of sources by name: snapshots, or frames of any make."""


def snapshot_of(source: Source, root: Path = Path()) -> Snapshot:
    """The data that ``source`` was declared with; relative paths start at ``root``.

    Raises:
        Invalid: it has no data, or its file cannot be used.
    """
    if source.data is None:
        raise Invalid(f"Source {source.name!r} has no data. Declare it with a path or a data frame.")
    if isinstance(source.data, Snapshot):
        return source.data
    if not isinstance(source.data, str):
        return Snapshot(source.name, as_polars(source.data, f"The data of source {source.name!r}"))
    path = root / source.data
    if path.suffix.lower() not in FORMATS:
        raise Invalid(
            f"Source {source.name!r} reads {source.data!r}. Files that can be read end in {', '.join(FORMATS)}."
        )
    _check_file(source.name, path)
    return Snapshot(source.name, path, FORMATS[path.suffix.lower()])


def snapshots_of(sources: Iterable[Source], root: Path = Path()) -> dict[str, Snapshot]:
    """The data of all ``sources`` and of those beneath their queries, by name.

    Raises:
        Invalid: as ``snapshot_of``, or two different sources share a name.
    """
    return {name: snapshot_of(leaf, root) for name, leaf in leaves_of(sources).items()}


def leaves_of(sources: Iterable[Source]) -> dict[str, Source]:
    """The sources with data of their own, by name.

    Raises:
        Invalid: two sources of one name have different data.
    """
    leaves: dict[str, Source] = {}
    for leaf in (leaf for source in sources for leaf in source.leaves):
        other = leaves.setdefault(leaf.name, leaf)
        if other.data is not leaf.data and not (isinstance(leaf.data, str) and other.data == leaf.data):
            raise Invalid(f"Two sources called {leaf.name!r} have different data. Rename one.")
    return leaves


def read(source: Source, columns: Iterable[str], snapshots: Snapshots) -> pl.DataFrame:
    """The rows of ``source`` in the file's order, with only ``columns``.

    Raises:
        NotFound: a column or the snapshot does not exist; the nearest are named.
        Invalid: the data cannot be read, or the query fails.
    """
    rows = _rows(source, snapshots)
    wanted = list(dict.fromkeys(columns))
    try:
        exist = rows.collect_schema().names()
        for column in wanted:
            if column not in exist:
                raise NotFound(f"column in source {source.name!r} called", column, exist)
        return rows.select(wanted).collect()
    except (pl.exceptions.PolarsError, OSError) as exc:
        raise Invalid(f"The data of source {source.name!r} cannot be read: {_first_line(exc)}") from exc


def _rows(source: Source, snapshots: Snapshots) -> pl.LazyFrame:
    if source.sql is not None:
        return _query(source, snapshots).lazy()
    return _scan(source, snapshots) if source.transform is None else _transform(source, snapshots).lazy()


def _transform(source: Source, snapshots: Snapshots) -> pl.DataFrame:
    """Run a function over Narwhals lazy frames. Its rows are sorted as those of a query."""
    import narwhals as nw

    assert source.transform is not None
    frames = {each.name: nw.from_native(_rows(each, snapshots)) for each in source.inputs}
    try:
        answer = source.transform.load()(**frames)
        if not isinstance(answer, nw.LazyFrame | nw.DataFrame):
            raise Invalid(
                f"The function of {source.name!r} answers a {type(answer).__name__}. Return a Narwhals frame, as its "
                "parameters are."
            )
        rows = pl.DataFrame(answer.lazy().collect().to_native())
    except Invalid:
        raise
    except Exception as exc:
        raise Invalid(f"The function of {source.name!r} fails: {described_error(exc)}") from exc
    return _ordered(rows)


def _ordered(rows: pl.DataFrame) -> pl.DataFrame:
    """Derived rows have no order of their own, so they are sorted by all their columns, nulls first."""
    return rows.sort(rows.columns, maintain_order=True) if rows.width else rows


def _scan(source: Source, snapshots: Snapshots) -> pl.LazyFrame:
    if source.name not in snapshots:
        raise NotFound("data for source", source.name, snapshots)
    snapshot = snapshots[source.name]
    if is_frame(snapshot):
        return as_polars(snapshot, f"The data of source {source.name!r}").lazy()
    assert isinstance(snapshot, Snapshot)
    return snapshot.scan()


def _query(source: Source, snapshots: Snapshots) -> pl.DataFrame:
    """Run a query."""
    import duckdb

    connection = duckdb.connect(config={"threads": 1})
    try:
        for each in source.inputs:
            rows = _collect(each, snapshots)
            connection.register(each.name, rows.to_arrow())
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        relation = connection.sql(source.sql or "")
        if relation is None:
            raise Invalid(f"The query of source {source.name!r} answers no rows. Write one SELECT.")
        answer: pl.DataFrame = relation.pl()
    except duckdb.Error as exc:
        raise Invalid(f"The query of source {source.name!r} fails: {_first_line(exc)}") from exc
    finally:
        connection.close()
    return _ordered(answer)


def _collect(source: Source, snapshots: Snapshots) -> pl.DataFrame:
    try:
        return _rows(source, snapshots).collect()
    except (pl.exceptions.PolarsError, OSError) as exc:
        raise Invalid(f"The data of source {source.name!r} cannot be read: {_first_line(exc)}") from exc


def _check_file(name: str, path: Path) -> None:
    if not path.exists():
        close = nearest(path.name, [each.name for each in path.parent.iterdir()]) if path.parent.is_dir() else []
        offer = f"Did you mean {close[0]!r}?" if close else "Check the path; it is relative to the project's folder."
        raise Invalid(f"Source {name!r} reads {str(path)!r}, which does not exist. {offer}")
    if not path.is_file():
        raise Invalid(f"Source {name!r} reads {str(path)!r}, which is no file.")
    if path.stat().st_size == 0:
        raise Invalid(f"Source {name!r} reads {str(path)!r}, which is empty. Write it again.")


def _first_line(exc: BaseException) -> str:
    return f"{str(exc).strip().splitlines()[0].rstrip('.') if str(exc).strip() else type(exc).__name__}."


class SourceKind:
    """Snapshots as artifacts: the file byte for byte, a frame as Parquet."""

    name = "source"

    def accepts(self, value: object) -> bool:
        """Whether ``value`` is a snapshot."""
        return isinstance(value, Snapshot)

    def save(self, value: Snapshot, blobs: Blobs) -> Saved:
        """Store the file, or the frame written as Parquet."""
        spec = {"name": value.name, "format": value.format}
        if isinstance(value.data, Path):
            _check_file(value.name, value.data)
            return Saved(spec, {f"{value.name}.{value.format}": blobs.put(value.data)})
        buffer = BytesIO()
        value.data.write_parquet(buffer)
        return Saved(spec, {f"{value.name}.parquet": blobs.put(buffer.getvalue())})

    def load(self, artifact: Artifact, blobs: Blobs) -> Snapshot:
        """The snapshot again; its file lives in a temporary folder as long as it does."""
        ((name, file),) = artifact.files.items()
        folder = Path(tempfile.mkdtemp(prefix="trivet-source-"))
        snapshot = Snapshot(artifact.spec["name"], folder / name, artifact.spec["format"])
        weakref.finalize(snapshot, shutil.rmtree, folder, ignore_errors=True)
        blobs.fetch(file.digest, folder / name)
        return snapshot


def open_kind() -> SourceKind:
    """The kind ``source``."""
    return SourceKind()
