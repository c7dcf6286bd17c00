"""Tables that grow: prediction records, labels, pushed events; each a Delta Lake table in a folder.

An append is one commit: readers see all of its rows or none, several processes append at once and lose
nothing, and every version stays readable, which is what makes a table version an input that can be recorded.
Any engine that speaks Delta Lake (Spark, DuckDB, Polars) reads the folders without Trivet.
"""

from __future__ import annotations

import fcntl
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from trivet.errors import Conflict, Invalid, NotFound, TrivetError

__all__ = ["Tables"]

_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")
_ATTEMPTS = 50
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

    def append(self, name: str, rows: pa.Table) -> int:
        """Add ``rows`` to the table and answer the version they made.

        The first append makes the table; its version 0 is empty, with the columns of these rows.

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
                write_deltalake(table, _fitting(name, table, rows), mode="append", commit_properties=_COMMIT)
                return int(table.version())
            except TableNotFoundError:
                _create(path, rows.schema)
            except CommitFailedError:
                continue
            except DeltaError as exc:
                raise _sentence(f"Rows cannot be added to the table {name!r}", exc) from exc
        raise Conflict(f"Too many processes append to the table {name!r}. Nothing was added; try again.")

    def read(self, name: str, *, version: int | None = None, columns: Sequence[str] | None = None) -> pa.Table:
        """The rows of the table, as of ``version`` or of now.

        Raises:
            NotFound: there is no such table, version or column.
        """
        table = self._open(name)
        if version is not None:
            self._travel(name, table, version)
        if unknown := [column for column in columns or () if column not in _columns(table)]:
            raise NotFound(f"column of table {name!r}", unknown[0], _columns(table))
        return table.to_pyarrow_table(columns=None if columns is None else list(columns))

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


def _create(path: Path, schema: pa.Schema) -> None:
    micros = pa.schema([pa.field(field.name, _storable(field.type)) for field in schema])
    path.parent.mkdir(parents=True, exist_ok=True)
    # Delta Lake settles races of appends, but of two creations it makes two versions: so one at a time.
    with (path.parent / ".creating").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        DeltaTable.create(str(path), schema=micros, mode="ignore")


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
        return rows.select(known).cast(pa.schema(table.schema().to_arrow()))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as exc:
        raise _sentence(f"Rows cannot be added to the table {name!r} unchanged", exc) from exc


def _columns(table: DeltaTable) -> list[str]:
    return [field.name for field in table.schema().fields]


def _sentence(what: str, exc: Any) -> TrivetError:
    return Invalid(f"{what}: {str(exc).splitlines()[0].rstrip('.')}.")
