"""One Delta table of events: a state that is read, and commits that hold only if nothing came in between.

A commit names the version it was decided on; if another one is there already it fails and the caller decides
again, so two processes never both find the same row new. A lock per table spares those of one machine the work;
it is not what makes commits safe. Rows are only ever appended, each with the moment it reached us (``created``),
which increases from commit to commit: so what a version held can be told from the newest one, and compaction and
the removal of old files take no history away.

The log keeps no statistics but those of the table's times, and no predicate: it never holds a value of a row.
"""

from __future__ import annotations

import errno
import fcntl
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec
import polars as pl
import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from trivet.errors import Conflict, Invalid, NotFound, TrivetError
from trivet.features.tables.rows import TIME
from trivet.features.tables.rules import ARRIVED, TableRules
from trivet.types import Micros

__all__ = ["NOTE", "Note", "Raced", "StoredTable", "attempted", "lock"]

RULES = "trivet.rules"
NOTE = "trivet"
SMALL = 8 * 2**20
"""Bytes under which a file is one of those that compaction by the way puts together."""
MANY = 64
_COARSE = 1000  # microseconds: Delta keeps the bounds of a file's times cut to milliseconds
_ATTEMPTS = 100
_AT_ANY_TIME = 2**62
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FULL_TEXTS = [*(f"os error {number}" for number in sorted(_FULL)), "No space left", "Disk quota", "File too large"]
T = TypeVar("T")


class Raced(Exception):
    """Another commit came first: decide again on the newest version."""


class Note(msgspec.Struct, frozen=True, omit_defaults=True):
    """What each commit says about the table after it.

    Attributes:
        created: the greatest moment of arrival given out so far.
        watermark: the greatest event (or known-at) time so far.
        run: the run that made the commit.
        record: what the ledger has to know of it, should the process die before it is written there.
        history: the greatest moment at which rows arrived that count from before it; 0 where none did.
        changed: how many corrections came so far.
        what: what made the commit, where that was no ingestion: ``erase`` or ``widen``.
        by: the run that did.
    """

    created: Micros = 0
    watermark: Micros | None = None
    run: str = ""
    record: dict[str, Any] = {}
    history: Micros = 0
    changed: int = 0
    what: str = ""
    by: str = ""


@contextmanager
def lock(folder: Path, name: str) -> Iterator[None]:
    """Hold the table ``name`` alone among the processes of this machine; a dead holder frees it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / f".{name}.lock").open("w")
    except OSError as exc:
        raise Invalid(f"The folder of tables {str(folder)!r} cannot be written: {exc.strerror}.") from exc
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


class StoredTable:
    """A table in the folder ``path``, at the newest version."""

    def __init__(self, name: str, path: Path, delta: DeltaTable) -> None:
        self.name, self.path, self._delta = name, path, delta

    # -- finding it -------------------------------------------------------------------------------------------

    @classmethod
    def open(cls, name: str, path: Path) -> StoredTable | None:
        """The table, or None where there is none yet."""
        try:
            return cls(name, path, DeltaTable(str(path)))
        except TableNotFoundError:
            return None
        except (DeltaError, OSError) as exc:
            raise sentence(f"The table {name!r} cannot be read", exc) from exc

    @classmethod
    def create(cls, name: str, path: Path, schema: pl.Schema, rules: TableRules) -> StoredTable:
        """A new, empty table; its version 0. To be called with the lock held."""
        times = ",".join(dict.fromkeys([rules.created, *rules.times]))
        settings = {
            RULES: msgspec.json.encode(rules).decode(),
            "delta.dataSkippingStatsColumns": times,
            "delta.checkpointInterval": "50",
            "delta.logRetentionDuration": "interval 3650 days",
        }
        with writing(name):
            DeltaTable.create(
                str(path),
                schema=arrow_schema(schema),
                mode="ignore",
                configuration=settings,
                raise_if_key_not_exists=False,
                commit_properties=_properties(Note()),
            )
        table = cls.open(name, path)
        assert table is not None
        return table

    def refresh(self) -> StoredTable:
        """Itself at the version that is the newest now."""
        try:
            self._delta.update_incremental()
        except (DeltaError, OSError) as exc:
            raise sentence(f"The table {self.name!r} cannot be read", exc) from exc
        return self

    # -- what it says -----------------------------------------------------------------------------------------

    @property
    def version(self) -> int:
        """The number of the newest version."""
        return int(self._delta.version())

    @property
    def rules(self) -> TableRules | None:
        """What it was declared with; None for a Delta table that is not one of events."""
        text = self._delta.metadata().configuration.get(RULES)
        return None if text is None else msgspec.json.decode(text, type=TableRules)

    @property
    def schema(self) -> pl.Schema:
        """Its columns, with the one of arrival."""
        return _schema_of(self._delta)

    @property
    def files(self) -> pl.DataFrame:
        """Its files: ``path``, ``size_bytes``, ``num_records`` and the bounds of its times."""
        return _files_of(self._delta)

    @property
    def note(self) -> Note:
        """What the newest commit says; worked out from the files where it was not ours."""
        return self._note_of(self.version, lambda: self.files)

    def note_at(self, version: int) -> tuple[Note, pl.Schema]:
        """What was said at ``version``, and the columns there were.

        Raises:
            NotFound: there is no such version.
        """
        if not 0 <= version <= self.version:
            raise NotFound(f"version of table {self.name!r}", str(version), hint=f"It has 0 to {self.version}.")
        if version == self.version:
            return self.note, self.schema
        try:
            then = DeltaTable(str(self.path), version=version)
        except (DeltaError, OSError) as exc:
            raise NotFound(f"version of table {self.name!r}", str(version), hint="Its log is gone.") from exc
        return self._note_of(version, lambda: _files_of(then)), _schema_of(then)

    def commits(self, limit: int | None = None) -> list[dict[str, Any]]:
        """The commits, newest first, as Delta tells them."""
        return list(self._delta.history(limit))

    def holds(self, transaction: str) -> bool:
        """Whether a batch of this name was committed."""
        return self._delta.transaction_version(transaction) is not None

    def scan(self, files: Sequence[str] | None = None, *, named: str | None = None) -> pl.LazyFrame:
        """The rows of all files or of some, not read yet; in no particular order.

        Args:
            files: as in ``files``, or as an answer ``named`` them.
            named: in which column to answer the file of each row.
        """
        schema = self.schema
        paths = [str(self.path / each) for each in (self.files["path"].to_list() if files is None else files)]
        if not paths:
            return pl.LazyFrame(schema={**schema, named: pl.String()} if named else schema)
        return pl.scan_parquet(paths, schema=schema, missing_columns="insert", glob=False, include_file_paths=named)

    def whole(self) -> pl.LazyFrame:
        """All rows of a table of whatever make, parted by a column or not."""
        return self.scan() if self.rules is not None else pl.scan_pyarrow_dataset(self._delta.to_pyarrow_dataset())

    def arrived_after(self, moment: Micros | None) -> pl.LazyFrame:
        """The rows that reached us after ``moment``, all for None, with that time of each in ``ARRIVED``."""
        assert self.rules is not None
        created = self.rules.created
        pruned = moment is not None and self.note.history <= moment
        rows = self.scan(self.between(created, (moment or 0) + 1, _AT_ANY_TIME) if pruned else None)
        rows = rows.with_columns(self.arrived.alias(ARRIVED))
        return rows if moment is None else rows.filter(pl.col(ARRIVED).to_physical() > moment)

    @property
    def arrived(self) -> pl.Expr:
        """When each row reached us; that is not from when it counts where it is history."""
        assert self.rules is not None
        created = pl.col(self.rules.created)
        return pl.coalesce(ARRIVED, created) if ARRIVED in self.schema else created

    def between(self, column: str | None, low: Micros | None, high: Micros | None) -> list[str] | None:
        """The files that may hold times of ``column`` between two moments; None where that cannot be told."""
        files = self.files
        if column is None or low is None or high is None or f"min.{column}" not in files.columns:
            return None
        begin, end = (pl.col(f"{which}.{column}").cast(TIME).to_physical() for which in ("min", "max"))
        apart = (end + _COARSE <= low) | (begin - _COARSE >= high)
        found: list[str] = files.filter(~apart.fill_null(value=False))["path"].to_list()
        return found

    # -- what changes it --------------------------------------------------------------------------------------

    def append(self, rows: pl.DataFrame, note: Note, transaction: str | None = None) -> int:
        """Add rows in one commit, with whatever columns are new, and answer the version they made.

        Raises:
            Raced: the table is not as it was; nothing was written.
        """
        return self._write(rows.to_arrow(), "append", "merge", note, transaction)

    def rewrite(self, batches: Iterator[pl.DataFrame], schema: pl.Schema, note: Note) -> int:
        """Replace all rows in one commit by ``batches``.

        Raises:
            Raced: as ``append``.
        """
        target = arrow_schema(schema)
        parts = (part for batch in batches for part in batch.to_arrow().cast(target).to_batches())
        return self._write(pa.RecordBatchReader.from_batches(target, parts), "overwrite", "overwrite", note, None)

    def compact(self, note: Note, *, target: int) -> int:
        """Put files smaller than ``target`` bytes together and answer how many there were."""
        with writing(self.name):
            done = self._delta.optimize.compact(
                target_size=target, commit_properties=_properties(note), max_concurrent_tasks=1
            )
        return int(done["numFilesRemoved"])

    def sweep(self, note: Note, *, hours: int, unfinished: bool = True) -> int:
        """Remove files that were replaced more than ``hours`` ago and, with the lock held, those of ``unfinished`` commits."""
        with writing(self.name):
            gone = self._delta.vacuum(
                retention_hours=hours,
                dry_run=False,
                enforce_retention_duration=False,
                full=unfinished,
                commit_properties=_properties(note),
            )
        return len(gone)

    def forget_log(self) -> None:
        """Remove the log from before this version: where others made the table, it has bounds of what rows held.

        Older versions cannot be read any more; their files were swept before.
        """
        with writing(self.name):
            self._delta.create_checkpoint()
        newest = f"{self.version:020}"
        for path in sorted((self.path / "_delta_log").iterdir()):
            if path.name[:20].isdigit() and path.name[:20] < newest:
                path.unlink(missing_ok=True)

    def _write(
        self,
        data: Any,
        mode: Literal["append", "overwrite"],
        schema_mode: Literal["merge", "overwrite"],
        note: Note,
        transaction: str | None,
    ) -> int:
        with writing(self.name):
            write_deltalake(
                self._delta,
                data,
                mode=mode,
                schema_mode=schema_mode,
                commit_properties=_properties(note, transaction),
                post_commithook_properties=PostCommitHookProperties(cleanup_expired_logs=False),
            )
        return self.version

    def _note_of(self, version: int, files: Callable[[], pl.DataFrame]) -> Note:
        said = self._commit_info(version).get(NOTE)
        if said is not None:
            return msgspec.json.decode(said, type=Note)
        rules = self.rules
        if rules is None:
            return Note()
        held = files()
        mixed = _AT_ANY_TIME if ARRIVED in self.schema else 0
        return Note(_newest(held, rules.created) or 0, _newest(held, rules.arrival or rules.created), history=mixed)

    def _commit_info(self, version: int) -> dict[str, Any]:
        """What the commit of a version says of itself; of a version and no later one, as ``history`` would."""
        try:
            lines = (self.path / "_delta_log" / f"{version:020}.json").read_bytes().splitlines()
        except FileNotFoundError:  # Delta removes logs that a checkpoint made superfluous
            return {}
        found = (msgspec.json.decode(line, type=dict[str, Any]).get("commitInfo") for line in lines)
        return next((info for info in found if info is not None), {})


def attempted(what: Callable[[], T], name: str) -> T:
    """The answer of ``what``, tried again while others come first.

    Raises:
        Conflict: they always did.
    """
    for _ in range(_ATTEMPTS):
        try:
            return what()
        except Raced:
            continue
    raise Conflict(f"Too many processes write to the table {name!r}. This batch was not added; try again.")


@contextmanager
def writing(name: str) -> Iterator[None]:
    """Foreign errors of a write as ours: ``Raced`` where another commit came first, else a sentence."""
    try:
        yield
    except CommitFailedError as exc:
        raise Raced from exc
    except (DeltaError, OSError, pa.ArrowException) as exc:
        raise sentence(f"The table {name!r} could not be written", exc) from exc


def sentence(what: str, exc: BaseException) -> TrivetError:
    """A foreign error as one of ours."""
    text = str(exc).strip()
    if getattr(exc, "errno", None) in _FULL or any(each in text for each in _FULL_TEXTS):
        return Invalid(
            f"{what}: the disk is full, or a file may not grow as large. Nothing of this batch was kept; make room and "
            "try again."
        )
    return Invalid(f"{what}: {text.splitlines()[0].rstrip('.') if text else type(exc).__name__}.")


def arrow_schema(schema: pl.Schema) -> pa.Schema:
    """The columns as Arrow has them and Delta keeps them."""
    arrow: pa.Schema = pl.DataFrame(schema=schema).to_arrow(compat_level=pl.CompatLevel.oldest()).schema
    return arrow


def _files_of(delta: DeltaTable) -> pl.DataFrame:
    return pl.DataFrame(pa.table(delta.get_add_actions(flatten=True)))


def _schema_of(delta: DeltaTable) -> pl.Schema:
    frame = pl.from_arrow(pa.schema(delta.schema().to_arrow()).empty_table())
    assert isinstance(frame, pl.DataFrame)
    return frame.schema


def _newest(files: pl.DataFrame, column: str) -> Micros | None:
    if f"max.{column}" not in files.columns:
        return None
    found: Micros | None = files[f"max.{column}"].cast(TIME).to_physical().max()  # type: ignore[assignment]
    return found


def _properties(note: Note, transaction: str | None = None) -> CommitProperties:
    said: Mapping[str, str] = {NOTE: msgspec.json.encode(note).decode()}
    transactions = None if transaction is None else [Transaction(transaction, 1)]
    # No retries: the check against what others committed meanwhile would let a second copy of a row in.
    return CommitProperties(custom_metadata=dict(said), max_commit_retries=0, app_transactions=transactions)
