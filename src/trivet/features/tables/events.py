"""Tables of events that are the project's own: ingest, read as it was, correct, compact, erase.

``project.tables`` is one of these. Each table is a Delta Lake table in a folder, readable without Trivet by whatever
speaks Delta; here is what people do with them, how rows come in is ``ingestion``'s, what is stored ``stored``'s.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Unpack

import msgspec
import polars as pl

from trivet.clock import new_id
from trivet.errors import Invalid, NotFound
from trivet.features.definitions import Source
from trivet.features.tables.batches import incoming
from trivet.features.tables.dropping import Dropped, Dropping
from trivet.features.tables.erasure import Erased, Erasure, OnlineRows
from trivet.features.tables.ingestion import REFUSED, Ingested, Ingestion, refused_name
from trivet.features.tables.lateness import Lateness, lateness
from trivet.features.tables.rows import TIME, Check
from trivet.features.tables.rules import ARRIVED, GivenRules, TableRules, check_table_name, rules_of
from trivet.features.tables.stored import StoredTable, lock
from trivet.ledger import Run, RunQuery
from trivet.pipelines.context import Context
from trivet.types import Duration, Micros, as_duration, as_utc, from_micros, to_micros

__all__ = ["Compacted", "EventTables", "TableInfo", "TableVersion"]

LARGE = 128 * 2**20
_HOUR = as_duration("1h")


class TableInfo(msgspec.Struct, frozen=True):
    """A table as it is now.

    Attributes:
        rows: how many it keeps, corrections included.
        refused: how many were refused and are kept in ``NAME__refused``.
        watermark: the newest time at which a row could be known.
        size: bytes of its files.
    """

    name: str
    version: int
    rows: int
    refused: int
    rules: TableRules
    columns: dict[str, str]
    watermark: datetime | None
    files: int
    size: int


class TableVersion(msgspec.Struct, frozen=True):
    """A version of a table: when it was made, by which run, and what came in until then in that run."""

    version: int
    at: datetime
    operation: str
    run: str
    counts: dict[str, int]


class Compacted(msgspec.Struct, frozen=True):
    """What compaction did: how many files became one another, and how many old ones were removed."""

    table: str
    version: int
    merged: int
    removed: int

    def __str__(self) -> str:
        return f"{self.table}, version {self.version}: {self.merged:,} files put together, {self.removed:,} removed"


class EventTables:
    """The tables of a project.

    Args:
        context: the project.
        online: where features are served from, for erasure; see ``erase``.
    """

    def __init__(
        self,
        context: Context,
        online: OnlineRows | None = None,
        checks: Callable[[str], Check | None] = lambda _: None,
    ) -> None:
        self._context, self._online, self._checks = context, online, checks
        self._folder = context.root / context.settings.serving.records
        self._near = threading.local()  # tables this thread has open: to open one costs more than to commit a row

    @property
    def folder(self) -> Path:
        """Where they are, each in a folder of its own."""
        return self._folder

    def checks(self, name: str) -> Check | None:
        """What refuses rows that come into a table, for one delivery; None if nothing does."""
        return self._checks(name)

    # -- filling ----------------------------------------------------------------------------------------------

    def create(self, name: str, **rules: Unpack[GivenRules]) -> TableInfo:
        """Declare a table; its columns come with the first rows. The first ``ingest`` does the same by itself.

        Args:
            name: small letters, digits and ``_``.
            **rules: any of these.
            key: the column or columns that name a row; all columns together by default.
            event_time: the column that says when it happened; when it reached us by default.
            known_at: the column that says from when it could be known; the event time by default.
            created: what to call the column, filled here, that says when the row reached us; ``created`` by default.
            keep: what a row means whose key is there with other content. ``last``: a correction, appended with a later
                ``created``. ``first``: a mistake, refused. ``all``: nothing, every row is kept.
            timezone: the zone of times that have none.

        Raises:
            Conflict: the table exists with other rules.
            Invalid: the rules make no sense, or the name is none.
            NotFound: there is no such rule.
        """
        declared = self._rules(name, rules)
        with lock(self._folder, name):
            if StoredTable.open(name, self._folder / name) is None:
                schema = pl.Schema(dict.fromkeys((*declared.times, declared.created), TIME))
                StoredTable.create(name, self._folder / name, schema, declared)
        return self.describe(name)

    def ingest(
        self,
        name: str,
        data: Any,
        *,
        checks: Check | None = None,
        batch: str | None = None,
        history: bool = False,
        **rules: Unpack[GivenRules],
    ) -> Ingested:
        """Take rows in: each once, however often it comes. The table is made if it is not there; see ``create``.

        A row whose whole content is there already changes nothing. New columns are added. Rows without key or event
        time, or that ``checks`` object to, go into ``NAME__refused`` with the reason. A frame is one commit; files,
        lazy frames and iterators are committed in parts, and repeating an interrupted call completes it.

        Args:
            name: of the table.
            data: a pandas, Polars or Arrow table, a lazy frame, a dict, a list of dicts, an iterator of those, or the
                path of a Parquet, CSV, Arrow or JSON-lines file.
            checks: is given each batch as a Polars frame, and answers for each row why to refuse it, or null. By
                default, what is expected of the source called like the table.
            batch: under ``keep="all"``, where rows are not compared, what this delivery is called: one of the same
                name is not taken twice. The content of the file by default.
            history: the rows are of the past and were known then, elsewhere: they count from when they happened (or
                from ``known_at``), as if they had reached us at once, and none is late. By default rows count from now on,
                and training sets of earlier moments do not see them. Rows that are there already stay as they are.
            **rules: as ``create``; needed the first time only.

        Raises:
            Conflict: the table has other rules than given, or too many others write to it.
            Invalid: the data cannot be read, or a column has another type than the table's. The batch is not written.
            Invalid: history is to be ingested into a table without event times.
            NotFound: the data lack a declared column.

        Example:
            >>> import tempfile
            >>> import trivet as tv
            >>> project = tv.open(tempfile.mkdtemp())
            >>> tables = EventTables(project.context)
            >>> rows = [{"order": 1, "at": "2026-11-20T10:00Z"}, {"order": None, "at": "2026-11-20T11:00Z"}]
            >>> tables.ingest("orders", rows, key="order", event_time="at").new
            1
            >>> print(tables.ingest("orders", rows))
            orders, version 1: 2 rows, 0 new, 1 repeated, 1 refused
        """
        declared = self._rules(name, rules)
        rows = incoming([data] if isinstance(data, dict) else data, self._context.root)
        checks = checks or self._checks(name)
        ingestion = Ingestion(self._context, self._folder, name, declared, checks, batch or rows.digest, history)
        ingestion.table = self._kept(name)
        return ingestion.take(rows)

    # -- reading ----------------------------------------------------------------------------------------------

    def read(
        self,
        name: str,
        *,
        version: int | None = None,
        as_known_at: datetime | str | None = None,
        since: datetime | str | None = None,
        history: bool = False,
        columns: Sequence[str] | None = None,
    ) -> pl.DataFrame:
        """The rows of a table, by the time at which they reached us; of each key the newest content.

        Args:
            name: of the table; ``NAME__refused`` for what was refused: ``row`` as JSON, ``reason``, ``run``, ``created``.
            version: as it was then; compaction takes no version away, erasure takes the erased rows out of all.
            as_known_at: only what had reached us by that moment; history from when it counts on.
            since: only what reached us after that moment, late rows included.
            history: every content that a key ever had, instead of its newest.
            columns: only these.

        Raises:
            NotFound: there is no such table, version or column.
            Invalid: a moment has no time zone or is no time.
        """
        rows = self.scan(name, version=version, as_known_at=as_known_at, since=since, history=history, columns=columns)
        return rows.collect()

    def scan(
        self,
        name: str,
        *,
        version: int | None = None,
        as_known_at: datetime | str | None = None,
        since: datetime | str | None = None,
        history: bool = False,
        columns: Sequence[str] | None = None,
        ordered: bool = True,
    ) -> pl.LazyFrame:
        """As ``read``, lazily: for what is larger than memory. Without ``ordered`` a ``history`` comes as it lies there."""
        table = self._open(name)
        rules = table.rules or TableRules()
        rows, schema = table.scan(), table.schema
        if version is not None:
            note, schema = table.note_at(version)
            rows = rows.filter(_physical(table) <= note.created)
        if since is not None:
            rows = rows.filter(_physical(table) > to_micros(as_utc(since)))
        if as_known_at is not None:
            rows = rows.filter(pl.col(rules.created).to_physical() <= to_micros(as_utc(as_known_at)))
        rows = rows.select(pl.col(each).cast(kind) for each, kind in schema.items() if each != ARRIVED)
        exist = rows.collect_schema().names()
        if name.endswith(REFUSED) and "run" not in exist:  # made before the run was kept with a row
            rows, exist = rows.with_columns(run=pl.lit(None, pl.String)), [*exist, "run"]
        if unknown := [each for each in columns or () if each not in exist]:
            raise NotFound(f"column of table {name!r}", unknown[0], exist)
        if history and not ordered:
            return rows if columns is None else rows.select(columns)
        rows = rows.sort([rules.created, *rules.times, *(each for each in rules.key if each in exist)])
        if rules.key and rules.keep == "last" and not history and set(rules.key) <= set(exist):
            rows = rows.unique(subset=list(rules.key), keep="last", maintain_order=True)
        return rows if columns is None else rows.select(columns)

    def arrived(self, name: str, *, since: Micros | None = None, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """Every content of every row that reached a table after the moment ``since``, in the order in which they did.

        The column ``ARRIVED`` says when each did; that is not from when it counts where it was ingested as history.

        Raises:
            NotFound: there is no such table or column.
        """
        table = self._near_by(name)
        rows = table.arrived_after(since)
        exist = rows.collect_schema().names()
        if unknown := [each for each in columns or () if each not in exist]:
            raise NotFound(f"column of table {name!r}", unknown[0], exist)
        rows = rows if columns is None else rows.select(*columns, ARRIVED)
        return rows.collect().sort(ARRIVED, maintain_order=True)

    def source(self, name: str) -> Source:
        """The table as a source of feature views: what happened when, and when it reached us.

        A late row or a correction counts only from its arrival on, so training sets of earlier times do not change.

        Raises:
            NotFound: there is no such table.
        """
        rules = self._described(self._kept(check_table_name(name)) or self._open(name))  # no version has others
        folder = self._folder / name
        path = folder.relative_to(self._context.root) if folder.is_relative_to(self._context.root) else folder
        event_time = rules.event_time or rules.created
        called = name.replace(".", "_")
        return Source(called, path, event_time=event_time, known_at=rules.known_at, created=rules.created)

    def names(self) -> list[str]:
        """The tables there are, sorted; those of refused rows are not among them."""
        found = sorted(path.parent.name for path in self._folder.glob("*/_delta_log"))
        return [each for each in found if "__" not in each and self._is_ours(each)]

    def list(self) -> list[TableInfo]:
        """All tables, by name."""
        return [self.describe(name) for name in self.names()]

    def describe(self, name: str) -> TableInfo:
        """One table as it is now.

        Raises:
            NotFound: there is no such table.
        """
        table = self._open(name)
        files, note = table.files, table.note
        return TableInfo(
            name=name,
            version=table.version,
            rows=int(files["num_records"].sum()),
            refused=self._refused(name),
            rules=self._described(table),
            columns={column: str(kind) for column, kind in table.schema.items() if column != ARRIVED},
            watermark=None if note.watermark is None else from_micros(note.watermark),
            files=files.height,
            size=int(files["size_bytes"].sum()),
        )

    def history(self, name: str) -> Sequence[TableVersion]:
        """The versions of a table, newest first, with the runs that made them.

        Raises:
            NotFound: there is no such table.
        """
        return [_version(commit) for commit in self._open(name).commits()]

    # -- keeping it in order ----------------------------------------------------------------------------------

    def compact(self, name: str, *, retention: Duration = "7d") -> Compacted:
        """Put small files together, and remove files that were replaced longer ago than ``retention``.

        Versions stay readable here; other readers of the folder find those within the retention.

        Raises:
            NotFound: there is no such table.
            Invalid: ``retention`` is no duration.
        """
        hours, started = as_duration(retention) // _HOUR, self._context.clock()
        with lock(self._folder, name):
            table = self._open(name)
            merged = table.compact(table.note, target=LARGE)
            removed = table.refresh().sweep(table.note, hours=hours)
            done = Compacted(name, table.refresh().version, merged, removed)
        run = Run(
            id=new_id(self._context.clock),
            kind="compact",
            name=name,
            status="finished",
            started=started,
            ended=self._context.clock(),
            user=self._context.user,
            host=self._context.host,
            parameters={"table": name, "hours": hours},
            metrics={"merged": float(merged), "removed": float(removed)},
        )
        self._context.ledger.write(run)
        return done

    def drop(self, name: str, *, why: str, force: bool = False) -> Dropped:
        """Remove a table with all its versions and what it refused; a table of the same name begins anew.

        What was made from it stays on record and is made again as ever. Views that read it find nothing any more, and
        what was pushed of it is no longer online.

        Args:
            name: of the table.
            why: the reason; the ledger keeps it.
            force: also where a deployment, a model with an alias, a service or another view uses a view of it.

        Raises:
            NotFound: there is no such table.
            Refused: it is in use, and not forced.
            Invalid: no reason is given.

        Example:
            >>> import tempfile
            >>> import trivet as tv
            >>> project = tv.open(tempfile.mkdtemp())
            >>> project.tables.ingest("orders", [{"order": 1, "at": "2026-11-20T10:00Z"}], event_time="at").new
            1
            >>> print(project.tables.drop("orders", why="a trial"))
            orders is removed, with 1 rows and 0 refused ones.
        """
        self._described(self._open(name))
        done = Dropping(self._context, self._folder, self._open(name), why, self._online).run(force=force)
        self._near.__dict__.pop(name, None)
        return done

    def erase(self, name: str, of: Mapping[str, Any], *, why: str, everywhere: bool = False) -> Erased:
        """Remove all rows with these values from all versions of a table, from what it refused and from what is served.

        The ledger keeps that it happened, when, by whom and why, how many rows it took, and a keyed digest by which
        the same request is known again, but nothing of the data. Recorded source snapshots, training sets and other
        tables that hold such rows are listed, and with ``everywhere`` their content is removed as well: what was made
        from them can then not be made again, and says so.

        Args:
            name: of the table.
            of: column to value, for example ``{"customer": 42}``; all must hold.
            why: the reason, kept in the ledger. Do not write personal data into it.
            everywhere: also remove the content of recorded artifacts that hold such rows.

        Raises:
            NotFound: there is no such table or column.
            Invalid: nothing is asked for, or no reason is given.
        """
        return Erasure(self._context, self._folder, self._open(name), dict(of), why, self._online).run(everywhere)

    def erased(self, name: str, of: Mapping[str, Any]) -> Sequence[Run]:
        """The runs that erased exactly this from a table, newest first.

        Raises:
            NotFound: there is no such table.
        """
        return Erasure(self._context, self._folder, self._open(name), dict(of), "asked", None).earlier()

    # -- within -----------------------------------------------------------------------------------------------

    def erasures(self, name: str) -> Sequence[Run]:
        """The erasures of a table that are on record, newest first: when, by whom, why, how many rows. Not whose.

        Raises:
            NotFound: there is no such table.
        """
        return self._context.ledger.runs(RunQuery(kind="erase", name=self._open(name).name))

    def lateness(self, name: str) -> Lateness:
        """How long after they happened the rows of a table reached us.

        Raises:
            NotFound: there is no such table.
        """
        table = self._open(name)
        return lateness(table.scan(), self._described(table))

    def _rules(self, name: str, given: GivenRules) -> TableRules:
        table = self._kept(check_table_name(name))
        return rules_of(name, None if table is None else self._described(table), **given)

    def _kept(self, name: str) -> StoredTable | None:
        """The table as this thread has it open; opened anew where its folder is another one than it was."""
        path = self._folder / name
        held: dict[str, tuple[int, StoredTable]] = self._near.__dict__
        try:
            place = (path / "_delta_log").stat().st_ino
        except FileNotFoundError:
            held.pop(name, None)
            return None
        if name not in held or held[name][0] != place:
            table = StoredTable.open(name, path)
            if table is None:
                return None
            held[name] = place, table
        return held[name][1]

    def _near_by(self, name: str) -> StoredTable:
        """The newest version, from what this thread has open: some milliseconds less than ``_open``."""
        table = self._kept(check_table_name(name))
        return self._open(name) if table is None else table.refresh()

    def _open(self, name: str) -> StoredTable:
        check_table_name(name.removesuffix(REFUSED))
        table = StoredTable.open(name, self._folder / name)
        if table is None:
            raise NotFound("table", name, self.names(), hint="" if self.names() else "Ingest some rows first.")
        return table

    def _described(self, table: StoredTable) -> TableRules:
        if table.rules is None:
            raise Invalid(f"The table {table.name!r} is kept by Trivet itself. Use another name.")
        return table.rules

    def _is_ours(self, name: str) -> bool:
        table = StoredTable.open(name, self._folder / name)
        return table is not None and table.rules is not None

    def _refused(self, name: str) -> int:
        table = StoredTable.open(refused_name(name), self._folder / refused_name(name))
        return 0 if table is None else int(table.files["num_records"].sum())


def _physical(table: StoredTable) -> pl.Expr:
    """When a row reached us."""
    if table.rules is None:
        return pl.col(TableRules().created).to_physical()
    return table.arrived.to_physical()


def _version(commit: Mapping[str, Any]) -> TableVersion:
    from trivet.features.tables.stored import NOTE, Note

    said = commit.get(NOTE)
    note = msgspec.json.decode(said, type=Note) if said else Note()
    counts = {each: int(count) for each, count in note.record.get("counts", {}).items()}
    operation = str(commit["operation"]).lower()
    if operation == "write" and note.what:
        operation = note.what
    mine = operation == "write"
    return TableVersion(
        version=int(commit["version"]),
        at=from_micros(int(commit["timestamp"]) * 1000),
        operation={"write": "ingest", "create table": "create", "optimize": "compact"}.get(operation, operation),
        run=note.run if mine else note.by if operation == note.what else "",
        counts=counts if mine else {},
    )
