"""One ingestion: batches sorted out, compared and committed one by one, and one run that says so.

Each batch is a commit: all of its rows or none. A batch that was acknowledged is there once, whoever is killed when,
because repeating it finds its rows. What the ledger has to know travels in the commit; should the process die before
it is written there, whoever commits next writes it. Refused rows are committed first, so none is lost in between.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from trivet.clock import new_id
from trivet.errors import Invalid, NotFound, TrivetError
from trivet.features.tables.batches import Incoming
from trivet.features.tables.compare import FILE, Compared, Stored, compare
from trivet.features.tables.progress import Bar
from trivet.features.tables.rows import EXACT, TIME, Check, as_json, fit, sort_out
from trivet.features.tables.rules import ARRIVED, TableRules
from trivet.features.tables.stored import MANY, SMALL, Note, StoredTable, attempted, lock
from trivet.ledger import Artifact, Run
from trivet.pipelines.context import Context
from trivet.pipelines.recording import is_alive, process_tags
from trivet.types import Digest, Micros, to_micros

__all__ = ["REFUSED", "STEP", "Ingested", "Ingestion", "refused_name", "with_columns"]

REFUSED = "__refused"
STEP = 100_000
"""Rows at a time where a table is rewritten."""
_QUARANTINE = TableRules(key=("digest",), keep="first")
_MISTAKEN = "the key is there with other content, and the table keeps the first"


class Ingested(msgspec.Struct, frozen=True):
    """What became of the rows of an ingestion. ``rows = new + repeated + changed + refused``.

    Attributes:
        table: its name.
        version: of the table afterwards.
        rows: how many came.
        new: rows of keys that were not there.
        repeated: rows that were there already, and changed nothing.
        changed: rows of keys that were there with other content, kept as corrections.
        late: how many of the new and changed rows are of a time before the newest that was there at the beginning.
        refused: rows that break a rule, kept in the table ``NAME__refused``.
        reasons: how many rows were refused for which reason.
        run: the run on record; empty where there was nothing to record.
        columns: those that are new to a table that had rows before.
        remarks: sentences about what may not be as it was meant.
    """

    table: str
    version: int
    rows: int = 0
    new: int = 0
    repeated: int = 0
    changed: int = 0
    late: int = 0
    refused: int = 0
    reasons: dict[str, int] = {}
    run: str = ""
    columns: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    def __str__(self) -> str:
        parts = [f"{getattr(self, name):,} {name}" for name in COUNTED if getattr(self, name) or name == "new"]
        parts += [f"new columns {', '.join(self.columns)}"] if self.columns else []
        told = f"{self.table}, version {self.version}: {self.rows:,} rows, {', '.join(parts)}"
        return " ".join([f"{told}.", *self.remarks]) if self.remarks else told


COUNTED = ("new", "repeated", "changed", "late", "refused")


def refused_name(table: str) -> str:
    """The name of the table that keeps the refused rows of another."""
    return f"{table}{REFUSED}"


@dataclass
class Ingestion:
    """An ingestion at work.

    Attributes:
        context: the project.
        folder: where its tables are.
        name: of the table.
        rules: of the table.
        checks: rules that the caller adds.
        batch: what the caller calls this delivery, where rows are not compared.
        history: whether the rows count from when they happened or could be known, instead of from now on.
    """

    context: Context
    folder: Path
    name: str
    rules: TableRules
    checks: Check | None = None
    batch: str | None = None
    history: bool = False
    counts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    outputs: dict[str, Digest] = field(default_factory=dict)
    inputs: dict[str, Digest] = field(default_factory=dict)
    artifacts: list[Artifact] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.id = new_id(self.context.clock)
        self.started = self.context.clock()
        self.table: StoredTable | None = None
        self._late_before: Micros | None = None
        self._columns: dict[str, None] = {}
        self._made = False
        self._settled = {"", self.id}

    def take(self, data: Incoming) -> Ingested:
        """Take all batches in and record the run.

        Raises:
            Invalid, NotFound: a batch cannot be used; those before it are kept, and the sentence says how many rows.
            Conflict: too many others write to the table.
        """
        if self.history and self.rules.event_time is None:
            raise Invalid(
                f"The rows of table {self.name!r} have no time from which history could count. Make the table with "
                "event_time, the column that says when they happened."
            )
        if data.file is not None and data.digest is not None:
            self._name_file(data.file, data.digest)
        with Bar(f"ingesting into {self.name}", data.total) as bar:
            try:
                for number, rows in enumerate(data.batches):
                    self._take(rows, number)
                    bar.add(rows.height)
            except BaseException as exc:
                with suppress(TrivetError):  # a full disk holds no record either: what is told is what failed first
                    self._record("killed" if isinstance(exc, KeyboardInterrupt) else "failed", str(exc))
                raise
        return self._record("finished", "")

    # -- one batch --------------------------------------------------------------------------------------------

    def _take(self, rows: pl.DataFrame, number: int) -> None:
        if rows.is_empty() and not rows.width:
            return
        sorted_out = sort_out(self.name, rows, self.rules, self.checks)
        with lock(self.folder, self.name):
            if sorted_out.refused:
                self._refuse(sorted_out.reasons, sorted_out.refused)
            tally: Counter[str] = Counter()
            if not sorted_out.accepted.is_empty():
                tally = attempted(lambda: self._commit(sorted_out.accepted, number), self.name)
                self._compact_by_the_way()
        self.reasons.update(sorted_out.reasons + [_MISTAKEN] * tally["refused"])
        self.counts.update(tally)
        self.counts.update(rows=rows.height, refused=len(sorted_out.refused))

    def _commit(self, accepted: pl.DataFrame, number: int) -> Counter[str]:
        table = self._opened(accepted)
        note = table.note
        self._settle(note)
        now = max(to_micros(self.context.clock()), note.created + 1)
        if self._late_before is None:
            self._late_before = self._newest_before(table, now)
        own = (self.rules.created, ARRIVED)
        data = pl.Schema({name: kind for name, kind in table.schema.items() if name not in own})
        rows, schema = fit(self.name, accepted, data, fixed=self.rules.key)
        if any(kind != schema[name] for name, kind in data.items()):
            self._widen(table, schema, note)
            table, note = table.refresh(), table.note
        found = self._compare(rows, table, schema, number)
        if found is None:
            return Counter(repeated=rows.height)
        self._set_aside(found)
        if found.rows.is_empty():
            return self._tally(found, None)
        arrived = (found.step + now).cast(pl.Int64)
        ready = found.rows.with_columns(self._counting(found.rows, arrived, table))
        tally = self._tally(found, ready)
        last: Micros = arrived.max()  # type: ignore[assignment]
        newest = [each for each in (self._newest(ready, now), self._newest_before(table, now)) if each is not None]
        history = last if ARRIVED in ready.columns else note.history
        changed = note.changed + tally["changed"]
        after = Note(last, max(newest, default=None), self.id, history=history, changed=changed)
        self._append(table, ready, after, note, tally, self._transaction(number))
        self._columns |= {name: None for name in accepted.columns if note.created and name not in data}
        return tally

    def _counting(self, rows: pl.DataFrame, arrived: pl.Series, table: StoredTable) -> list[pl.Series]:
        """From when rows count: from their arrival on, history from when it could be known.

        Of a key with several contents that could be known at the same moment the later one has to count later.
        """
        created = self.rules.created
        if not self.history:
            return [arrived.cast(TIME).alias(created)]
        known, again = rows.select(self.rules.known).to_series(), pl.Series([0]).new_from_index(0, rows.height)
        if self.rules.key and self.rules.keep == "last":
            again = self._earlier(rows, table)
        past = (known <= arrived).fill_null(value=True)
        counting = (known + again).fill_null(0).zip_with(past, arrived)
        reached = arrived.zip_with(past, pl.Series([None], dtype=pl.Int64).new_from_index(0, rows.height))
        return [counting.cast(TIME).alias(created), reached.cast(TIME).alias(ARRIVED)]

    def _earlier(self, rows: pl.DataFrame, table: StoredTable) -> pl.Series:
        """How many contents there are of the key of each row that count from the same moment, before it."""
        same = [*self.rules.key, "__known"]
        wanted = rows.select(*self.rules.key, self.rules.known.alias("__known"))
        wanted = wanted.with_columns(pl.int_range(pl.len()).over(same).alias("__rank"))
        if ARRIVED not in table.schema:
            return wanted["__rank"]
        whole = pl.Schema({name: kind for name, kind in table.schema.items() if name in rows.columns} | {ARRIVED: TIME})
        stored = with_columns(table.scan(), whole).filter(pl.col(ARRIVED).is_not_null())
        stored = stored.select(*self.rules.key, self.rules.known.alias("__known"))
        there = (
            stored.join(wanted.lazy(), on=same, how="semi", nulls_equal=True).group_by(same).len("__there").collect()
        )
        joined = wanted.join(there, on=same, how="left", nulls_equal=True, maintain_order="left")
        return joined.select((pl.col("__rank") + pl.col("__there").fill_null(0)).cast(pl.Int64)).to_series()

    def _newest_before(self, table: StoredTable, now: Micros) -> Micros | None:
        """The newest time in the table, of those that were not still to come."""
        mark, column = table.note.watermark, self.rules.arrival
        if mark is None or mark <= now or column is None:
            return mark
        times = table.scan().select(pl.col(column).to_physical()).filter(pl.col(column) <= now).max().collect()
        found: Micros | None = times.item()
        return found

    def _append(
        self,
        table: StoredTable,
        rows: pl.DataFrame,
        after: Note,
        before: Note,
        tally: Counter[str],
        transaction: str | None,
    ) -> None:
        """Commit, with what the ledger will have to know: the version that this commit makes, if it makes one."""
        version = table.version + 1
        made = Artifact.of("table_version", {"table": self.name, "version": version}, created=self.context.clock())
        inputs, outputs = dict(self.inputs), {**self.outputs, f"version_{version}": made.digest}
        previous = before.record.get("artifact")
        if previous is not None and previous not in self.outputs.values():
            inputs[f"version_{before.record['version']}"] = previous
        counts = self.counts + tally
        record = {"artifact": made.digest, "version": version, "inputs": inputs, "outputs": outputs}
        record |= {"counts": dict(counts), "started": self.started, "tags": process_tags()}
        table.append(rows, msgspec.structs.replace(after, record=msgspec.to_builtins(record)), transaction)
        self.inputs, self.outputs = inputs, outputs
        self.artifacts.append(made)

    def _opened(self, rows: pl.DataFrame) -> StoredTable:
        if self.table is not None:
            return self.table.refresh()
        path = self.folder / self.name
        self.table = StoredTable.open(self.name, path)
        if self.table is None:
            schema = pl.Schema({**rows.schema, self.rules.created: TIME})
            self.table = StoredTable.create(self.name, path, schema, self.rules)
            self._made = True
        if self.table.rules != self.rules:
            raise Invalid(f"The table {self.name!r} was made by another process with other rules. Try again.")
        return self.table

    def _compare(self, rows: pl.DataFrame, table: StoredTable, schema: pl.Schema, number: int) -> Compared | None:
        """The batch beside the table; None where it was committed before as a whole."""
        if self.rules.keep != "all":
            return compare(rows, self._stored(rows, table, schema), self.rules)
        transaction = self._transaction(number)
        if transaction is not None and table.holds(transaction):
            return None
        zero, no = pl.Series("step", [0] * rows.height, pl.Int64), pl.Series([False] * rows.height, dtype=pl.Boolean)
        return Compared(rows, zero, no, rows.clear(), 0)

    def _stored(self, rows: pl.DataFrame, table: StoredTable, schema: pl.Schema) -> Stored:
        """What the batch is compared with. A row that repeats another one has its times, one of the same key has not."""
        key, time = self.rules.key or tuple(rows.columns), self.rules.event_time
        near = table.between(time, *self._bounds(rows)) if time in key else None
        whole = pl.Schema({**schema, FILE: pl.String()})
        return lambda files: with_columns(table.scan(near if files is None else files, named=FILE), whole)

    def _bounds(self, rows: pl.DataFrame) -> tuple[Micros | None, Micros | None]:
        if self.rules.event_time is None or rows.is_empty():
            return None, None
        times: Any = rows[self.rules.event_time].to_physical()
        return times.min(), times.max()

    def _transaction(self, number: int) -> str | None:
        return None if self.batch is None or self.rules.keep != "all" else f"batch:{self.batch}:{number}"

    def _newest(self, rows: pl.DataFrame, now: Micros) -> Micros | None:
        """The newest time of rows, without those that are still to come: they would make late all that follows."""
        if self.rules.arrival is None:
            return int(rows[self.rules.created].to_physical().max())  # type: ignore[arg-type]
        times = rows[self.rules.arrival].to_physical()
        found: Micros | None = times.filter(times <= now).max()  # type: ignore[assignment]
        return found

    def _tally(self, found: Compared, ready: pl.DataFrame | None) -> Counter[str]:
        changed = int(found.changed.sum())
        tally = Counter(new=found.rows.height - changed, changed=changed, repeated=found.repeated)
        tally.update(refused=found.mistaken.height)
        if ready is not None and self.rules.arrival is not None and not self.history and self._late_before is not None:
            late = ready[self.rules.arrival].to_physical() < self._late_before
            tally.update(late=int(late.sum()))
        return tally

    # -- what is refused --------------------------------------------------------------------------------------

    def _set_aside(self, found: Compared) -> None:
        if found.mistaken.height:
            self._refuse([_MISTAKEN] * found.mistaken.height, [as_json(row) for row in found.mistaken.to_dicts()])

    def _refuse(self, reasons: list[str], rows: list[str]) -> None:
        """Keep refused rows, each once."""
        names = [
            hashlib.sha256(f"{reason}\n{row}".encode()).hexdigest() for reason, row in zip(reasons, rows, strict=True)
        ]
        batch = pl.DataFrame({"digest": names, "reason": reasons, "row": rows})
        name = refused_name(self.name)
        attempted(lambda: self._keep_refused(name, batch), name)

    def _keep_refused(self, name: str, batch: pl.DataFrame) -> None:
        path = self.folder / name
        table = StoredTable.open(name, path)
        if table is None:
            schema = pl.Schema({**batch.schema, "run": pl.String(), "created": TIME})
            table = StoredTable.create(name, path, schema, _QUARANTINE)
        fresh = compare(batch, lambda files: table.scan(files, named=FILE), _QUARANTINE).rows
        if fresh.height:
            moment = max(to_micros(self.context.clock()), table.note.created + 1)
            rows = fresh.with_columns(run=pl.lit(self.id), created=pl.lit(moment, pl.Int64).cast(TIME))
            table.append(rows, Note(moment, moment, self.id))

    # -- around it --------------------------------------------------------------------------------------------

    def _widen(self, table: StoredTable, schema: pl.Schema, note: Note) -> None:
        """Rewrite a table whose whole numbers meet fractions, if none of them is too great for a float."""
        old = table.schema
        for name, kind in schema.items():
            if old.get(name, kind) != kind:
                great = table.scan().select(pl.col(name).abs().max()).collect().item()
                if great is not None and great > EXACT:
                    raise Invalid(
                        f"The column {name!r} of table {self.name!r} holds whole numbers beyond 2**53, and the new rows "
                        "hold fractions. Nothing was written. Give the fractions a column of another name."
                    )
        whole = pl.Schema({**old, **schema})
        rows = with_columns(table.scan(), pl.Schema({name: whole[name] for name in old}))
        widened = msgspec.structs.replace(note, what="widen", by=self.id)
        table.rewrite(rows.collect_batches(chunk_size=STEP), pl.Schema({name: whole[name] for name in old}), widened)

    def _compact_by_the_way(self) -> None:
        """Many small files make every later comparison slow, so they are put together before that is felt."""
        if self.table is None or self.table.version % MANY:
            return
        table = self.table.refresh()
        if int((table.files["size_bytes"] < SMALL).sum()) >= MANY // 2:
            table.compact(table.note, target=SMALL)

    def _settle(self, note: Note) -> None:
        """Write into the ledger what the process before us committed and did not live to write."""
        if note.run in self._settled or not note.record:
            return
        self._settled.add(note.run)
        try:
            self.context.ledger.run(note.run)
        except NotFound:
            if not is_alive(note.record.get("tags", {})):
                self._write_for_the_dead(note)

    def _write_for_the_dead(self, note: Note) -> None:
        record = note.record
        spec = {"table": self.name, "version": record["version"]}
        run = Run(
            id=note.run,
            kind="ingest",
            name=self.name,
            status="killed",
            started=msgspec.convert(record["started"], type=type(self.started)),
            ended=self.context.clock(),
            inputs=record["inputs"],
            outputs={f"version_{record['version']}": record["artifact"]},
            metrics={name: float(value) for name, value in record["counts"].items()},
            error="The process died before it had written this; its rows until then are in the table.",
        )
        self.context.ledger.write(Artifact.of("table_version", spec, created=self.context.clock()), run)

    def _name_file(self, path: Path, content: Digest) -> None:
        """The file as an artifact: its name and the digest of its bytes, not the bytes, which may have to be erased."""
        spec = {"name": path.name, "size": path.stat().st_size}
        made = Artifact.of("file", spec, content=content, created=self.started)
        self.artifacts.append(made)
        self.inputs["file"] = made.digest

    def _record(self, status: Any, error: str) -> Ingested:
        version = self.table.version if self.table is not None else 0
        counts = {name: int(self.counts[name]) for name in ("rows", *COUNTED)}
        run = Run(
            id=self.id,
            kind="ingest",
            name=self.name,
            status=status,
            started=self.started,
            ended=self.context.clock(),
            user=self.context.user,
            host=self.context.host,
            inputs=self.inputs,
            outputs=self.outputs,
            parameters={"table": self.name, "batch": self.batch, **({"history": True} if self.history else {})},
            metrics={name: float(value) for name, value in counts.items()},
            error=error,
        )
        try:
            self.context.ledger.write(*self.artifacts, run)
        except TrivetError as exc:
            raise TrivetError(
                f"{exc} The table {self.name!r} has {counts['new'] + counts['changed']:,} more rows all the same: ingest them "
                "again when the ledger can be written, which changes nothing but that."
            ) from exc
        return Ingested(
            self.name,
            version,
            **counts,
            reasons=dict(self.reasons),
            run=self.id,
            columns=tuple(self._columns),
            remarks=tuple(self._remarks(counts)),
        )

    def _remarks(self, counts: Mapping[str, int]) -> Iterator[str]:
        """What people do not expect, once they have done it."""
        if self._made and self.rules.event_time is None:
            yield (
                "No event time was declared, so each row happened when it reached us. If a column says when, drop the table "
                "and ingest with event_time, --event-time on the command line."
            )
        if self.history and counts["repeated"] and self.table is not None and ARRIVED not in self.table.schema:
            yield (
                f"{counts['repeated']:,} rows were there, ingested without history, and count from when they reached us. Drop "
                "the table and ingest them again, if they shall count from when they happened."
            )


def with_columns(rows: pl.LazyFrame, schema: pl.Schema) -> pl.LazyFrame:
    """Stored rows with exactly these columns and types; those that came later are null."""
    have = rows.collect_schema()
    return rows.select(
        (pl.col(name).cast(kind) if name in have else pl.lit(None, kind).alias(name)) for name, kind in schema.items()
    )
