"""Tables that grow: prediction records, labels, pushed events; each a Delta Lake table in a folder.

An append is one commit: readers see all of its rows or none, several processes append at once and lose
nothing, and every version stays readable, which is what makes a table version an input that can be recorded.
Any engine that speaks Delta Lake (Spark, DuckDB, Polars) reads the folders without Trivet.

Each file's extremes are in the table's log, so a question with a condition opens only files that can answer it. A table
that grows for ever is parted by day and its small files are joined; what was joined stays on disk for older versions.
"""

from __future__ import annotations

import fcntl
import re
from bisect import bisect_left
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from deltalake import CommitProperties, DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError
from pyarrow.fs import LocalFileSystem, SubTreeFileSystem

from trivet.errors import Conflict, Invalid, NotFound, TrivetError

__all__ = ["Condition", "Tables"]

Condition: TypeAlias = tuple[str, str, Any]
"""A column, ``=``, ``>=``, ``<`` or ``in``, and a value or a collection of them."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_ATTEMPTS = 50
_DAY = "day"
_FULL = 4 << 20  # bytes of a file that is left alone
_MANY = 64  # small files of a day before they are joined
_COMMIT = CommitProperties(max_commit_retries=100)


class Tables:
    """The tables in the folder ``root``.

    Example:
        >>> import tempfile
        >>> tables = Tables(Path(tempfile.mkdtemp()))
        >>> tables.append("labels", pa.table({"label": [1.0, 0.0]}))
        1
        >>> tables.append("labels", pa.table({"label": [1.0]}))
        2
        >>> tables.read("labels").num_rows, tables.read("labels", version=1).num_rows
        (3, 2)
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def append(self, name: str, rows: pa.Table, *, day_of: str | None = None) -> int:
        """Add ``rows`` to the table and answer the version they made.

        The first append makes the table; its version 0 is empty, with the columns of these rows.

        Args:
            name: of the table.
            rows: what to add.
            day_of: the time whose day (in UTC) parts the files of a new table. A table that was made without stays so.

        Raises:
            Invalid: the name is none, the rows have no columns or others than the table, or a value would change
                by being stored (a nanosecond: tables keep microseconds).
            Conflict: too many others append at the same moment.
        """
        path = self._path(name)
        if not rows.schema.names:
            raise Invalid(f"Rows for the table {name!r} need columns.")
        for _ in range(_ATTEMPTS):
            try:
                table = DeltaTable(str(path))
                fitting = _parted(name, table, _fitting(name, table, rows), day_of)
                write_deltalake(table, fitting, mode="append", commit_properties=_COMMIT)
                return int(table.version())
            except TableNotFoundError:
                _create(path, rows.schema, parted=day_of is not None)
            except CommitFailedError:
                continue
            except DeltaError as exc:
                raise _sentence(f"Rows cannot be added to the table {name!r}", exc) from exc
        raise Conflict(f"Too many processes append to the table {name!r}. Nothing was added; try again.")

    def read(
        self,
        name: str,
        *,
        version: int | None = None,
        columns: Sequence[str] | None = None,
        where: Sequence[Condition] = (),
    ) -> pa.Table:
        """The rows of the table, as of ``version`` or of now.

        Args:
            name: of the table.
            version: as it was then.
            columns: only these.
            where: only rows for which all of these hold, such as ``[("n", ">=", 3), ("n", "<", 9)]``; files in which they
                can hold for no row are not opened.

        Raises:
            NotFound: there is no such table, version or column.
        """
        table = self._open(name)
        if version is not None:
            self._travel(name, table, version)
        if unknown := [column for column in columns or () if column not in _columns(table)]:
            raise NotFound(f"column of table {name!r}", unknown[0], _columns(table))
        known = _columns(table)
        stored = pa.schema(table.schema().to_arrow())
        # Read by Arrow alone: a file system of Delta Lake's library would call Python from threads, also while it ends.
        rows = ds.dataset(
            _files(table, where),
            schema=pa.schema([stored.field(column) for column in known]),
            format="parquet",
            filesystem=SubTreeFileSystem(str(self._path(name).resolve()), LocalFileSystem()),
        )
        return rows.to_table(columns=list(known if columns is None else columns), filter=_filter(where))

    def compact(self, name: str) -> int:
        """Join small files of the table where there are many, and answer how many files fewer it has.

        The rows stay the same, older versions stay readable, and who appends or reads meanwhile is not disturbed. The
        newest day is joined when its other small files weigh as much as the largest: so joining writes about twice the
        bytes that appending wrote, however often this is called.

        Raises:
            NotFound: there is no such table.
        """
        self._open(name)
        # Delta Lake settles a join with appends, but two joins of the same files double their rows: so one at a time.
        with (self._root / f".joining-{name}").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return 0  # another process is at it
            return self._join(name)

    def _join(self, name: str) -> int:
        fewer = 0
        small = _small_files(self._open(name))
        newest = max(small, key=str, default=None)
        for day, sizes in small.items():
            if not (_worth_joining if day == newest else _can_be_joined)(sorted(sizes)):
                continue
            part = None if day is None else [(_DAY, "=", day)]
            try:
                done = self._open(name).optimize.compact(
                    partition_filters=part, target_size=_FULL, max_concurrent_tasks=1, commit_properties=_COMMIT
                )
            except CommitFailedError:
                continue  # the part changed meanwhile: next time
            fewer += done["numFilesRemoved"] - done["numFilesAdded"]
        return fewer

    def versions(self, name: str) -> list[int]:
        """The versions of the table, oldest first.

        Raises:
            NotFound: there is no such table.
        """
        return sorted(int(commit["version"]) for commit in self._open(name).history())

    def names(self) -> list[str]:
        """The tables that exist, sorted."""
        return sorted(path.parent.name for path in self._root.glob("*/_delta_log") if _NAME.fullmatch(path.parent.name))

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise Invalid(f"{name[:80]!r} is not the name of a table. Write small letters, digits and '_'.")
        return self._root / name

    def _open(self, name: str) -> DeltaTable:
        try:
            return DeltaTable(str(self._path(name)))
        except TableNotFoundError as exc:
            raise NotFound("table", name, self.names()) from exc
        except DeltaError as exc:
            raise _sentence(f"The table {name!r} cannot be read", exc) from exc

    def _travel(self, name: str, table: DeltaTable, version: int) -> None:
        newest = table.version()
        if not 0 <= version <= newest:
            raise NotFound(f"version of table {name!r}", str(version), hint=f"It has 0 to {newest}.")
        table.load_as_version(version)


def _create(path: Path, schema: pa.Schema, *, parted: bool) -> None:
    micros = pa.schema([pa.field(field.name, _storable(field.type)) for field in schema])
    if parted:
        micros = micros.append(pa.field(_DAY, pa.date32()))
    path.parent.mkdir(parents=True, exist_ok=True)
    # Delta Lake settles races of appends, but of two creations it makes two versions: so one at a time.
    with (path.parent / ".creating").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        DeltaTable.create(str(path), schema=micros, mode="ignore", partition_by=[_DAY] if parted else None)


def _storable(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_timestamp(kind):
        return pa.timestamp("us", kind.tz)
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _fitting(name: str, table: DeltaTable, rows: pa.Table) -> pa.Table:
    """``rows`` with the columns of ``table`` in its order and with its types, exactly or not at all."""
    known = _columns(table)
    if set(rows.schema.names) != set(known):
        raise Invalid(
            f"The table {name!r} has the columns {', '.join(known)}; the rows have {', '.join(rows.schema.names)}."
        )
    try:
        stored = pa.schema(table.schema().to_arrow())
        return rows.select(known).cast(pa.schema([stored.field(column) for column in known]))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as exc:
        raise _sentence(f"Rows cannot be added to the table {name!r} unchanged", exc) from exc


def _parted(name: str, table: DeltaTable, rows: pa.Table, day_of: str | None) -> pa.Table:
    """``rows`` with the day that parts the table, if anything does."""
    if not _is_parted(table):
        return rows
    if day_of is None or day_of not in rows.schema.names:
        raise Invalid(f"The table {name!r} is parted by day. Say which column tells the day, with day_of=.")
    return rows.append_column(_DAY, pc.cast(pc.cast(rows[day_of], pa.timestamp("us")), pa.date32(), safe=False))


def _is_parted(table: DeltaTable) -> bool:
    return list(table.metadata().partition_columns) == [_DAY]


def _small_files(table: DeltaTable) -> dict[str | None, list[int]]:
    """The sizes of the files that are not full, by the day they belong to; None where the table is not parted."""
    files = pa.table(table.get_add_actions(flatten=True))
    sizes = files["size_bytes"].to_pylist()
    days = files[f"partition.{_DAY}"].to_pylist() if _is_parted(table) else [None] * len(sizes)
    found: dict[str | None, list[int]] = {}
    for day, size in zip(days, sizes, strict=True):
        if size < _FULL:
            found.setdefault(None if day is None else str(day), []).append(size)
    return found


def _worth_joining(sizes: Sequence[int]) -> bool:
    return len(sizes) >= _MANY and sum(sizes) >= 2 * sizes[-1]


def _can_be_joined(sizes: Sequence[int]) -> bool:
    return len(sizes) > 1 and sizes[0] + sizes[1] <= _FULL


def _files(table: DeltaTable, where: Sequence[Condition]) -> list[str]:
    """The paths of the files that can hold a row for which all of ``where`` holds, by the extremes in the log."""
    files = pa.table(table.get_add_actions(flatten=True))
    possible = [True] * files.num_rows
    for column, how, value in where:
        if not {f"min.{column}", f"max.{column}"} <= set(files.column_names):
            continue
        wanted = sorted(value) if how == "in" else [value]
        extremes = zip(files[f"min.{column}"].to_pylist(), files[f"max.{column}"].to_pylist(), strict=True)
        for place, (least, most) in enumerate(extremes):
            if least is not None and most is not None and not _can_hold(least, _upwards(most), how, wanted):
                possible[place] = False
    return [unquote(path) for path, open_it in zip(files["path"].to_pylist(), possible, strict=True) if open_it]


def _can_hold(least: Any, most: Any, how: str, wanted: Sequence[Any]) -> bool:
    """Whether one of the sorted ``wanted`` can be met by a value from ``least`` to ``most``."""
    if how == ">=":
        return bool(most >= wanted[0])
    if how == "<":
        return bool(least < wanted[0])
    place = bisect_left(wanted, least)
    return place < len(wanted) and bool(wanted[place] <= most)


def _upwards(most: Any) -> Any:
    """The log keeps milliseconds of times, rounded down."""
    return most + timedelta(milliseconds=1) if isinstance(most, datetime) else most


def _filter(where: Sequence[Condition]) -> ds.Expression | None:
    found: ds.Expression | None = None
    for column, how, value in where:
        field = ds.field(column)
        match how:
            case "=":
                each = field == value
            case ">=":
                each = field >= value
            case "<":
                each = field < value
            case "in":
                each = field.isin(pa.array(value, None if len(value) else pa.string()))
            case _:
                raise Invalid(f"{how!r} is no condition on a column. There are: =, >=, <, in.")
        found = each if found is None else found & each
    return found


def _columns(table: DeltaTable) -> list[str]:
    """The columns that rows have; the day that parts a table is the table's own."""
    names = [field.name for field in table.schema().fields]
    return [name for name in names if name != _DAY] if _is_parted(table) else names


def _sentence(what: str, exc: Any) -> TrivetError:
    return Invalid(f"{what}: {str(exc).splitlines()[0].rstrip('.')}.")
