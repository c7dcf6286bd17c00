"""The right to erasure: one entity's rows taken out of a table, of all its versions, and of what was made from it.

What it covers, in this order: the table and, by removing the files that older versions need, all its versions; the
rows that were refused; the online rows of the entity; and, ``everywhere``, the content of recorded artifacts that
hold such rows or tell its values (statistics, checks of leaks and quality, audits of skew), what learned expectations say,
records of predictions, and rows that other sources refused. What holds them is ``held``'s, which rows of the online store
they reach ``reached``'s. Aggregates over many entities keep what the entity added to them, and so do
models. The commit log never held a value of a row, see ``stored``. Each step may be repeated, so an erasure that was
interrupted is completed by asking again. The ledger keeps a digest under a key of the project's own: without the
key file it tells nothing, and with it the same request is known again.
"""

from __future__ import annotations

import hmac
import os
import secrets
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import polars as pl

from trivet.digest import canonical
from trivet.errors import Invalid, NotFound, TrivetError
from trivet.features.definitions import FeatureView
from trivet.features.online.contract import Key, OnlineStore
from trivet.features.tables.held import Holdings
from trivet.features.tables.ingestion import REFUSED, STEP, refused_name
from trivet.features.tables.stored import StoredTable, attempted, lock
from trivet.ledger import Artifact, Run, RunQuery
from trivet.ledger.erasures import KIND
from trivet.pipelines.context import Context
from trivet.pipelines.recording import begin, end
from trivet.types import Json

__all__ = ["Erased", "Erasure", "OnlineRows"]

OnlineRows: TypeAlias = Callable[[], OnlineStore]
"""Opens the store that features are served from, when it is needed."""

SECRET = Path(".trivet") / "erasure.key"
_PREDICTIONS = "predictions"
_MOST = 1_000_000


class Erased(msgspec.Struct, frozen=True):
    """What an erasure took away, and what it found and left.

    Attributes:
        table: of which table.
        version: its version afterwards.
        rows: how many rows the table lost.
        refused: how many refused rows went.
        online: how many online rows went, by view.
        predictions: how many records of predictions name the entity; gone where ``everywhere``.
        artifacts: recorded artifacts that hold such rows; their content is gone where ``everywhere``.
        tables: how many such rows other tables hold, by name; erase them there.
        everywhere: whether the content of artifacts was removed.
        run: the run on record.
        aside: rows of the entity that other sources refused, by table; gone where ``everywhere``.
        unsure: recorded artifacts of which nobody can tell whether they hold its values: what was made from such rows under
            other names and has numbers, and models that learned from them. They are left.
        forgotten: views of which the online store forgot all rows, because data that they need cannot be read now to
            tell whose is whose. The next materialization writes the others again.
    """

    table: str
    version: int
    rows: int
    refused: int
    online: dict[str, int]
    predictions: int
    artifacts: list[str]
    tables: dict[str, int]
    everywhere: bool
    run: str
    aside: dict[str, int] = {}
    unsure: list[str] = []
    forgotten: list[str] = []

    def __str__(self) -> str:
        gone = f"{self.table}: {self.rows:,} rows and {self.refused:,} refused ones erased from all versions"
        lines = [f"{gone}, and {sum(self.online.values()):,} rows online."]
        if self.artifacts or self.predictions or self.aside:
            what = "removed" if self.everywhere else "left; erase everywhere to remove them"
            held = f"{len(self.artifacts)} artifacts and {self.predictions:,} prediction records"
            held += f" and {sum(self.aside.values()):,} rows that other sources refused" if self.aside else ""
            lines += [f"{held} held it: {what}."]
        if self.forgotten:
            lines += [f"Online all rows of {', '.join(self.forgotten)} were forgotten. Materialize them again."]
        if self.unsure:
            lines += [f"{len(self.unsure)} artifacts may hold it and were left: {', '.join(self.unsure)}."]
        lines += [f"Table {name} holds {rows:,} such rows: erase them there." for name, rows in self.tables.items()]
        return "\n".join(lines)


@dataclass(frozen=True)
class Erasure:
    """One request.

    Attributes:
        context: the project.
        folder: where its tables are.
        table: from which rows go.
        of: column to value; all must hold.
        why: the reason.
        online: opens the online store, if there is one.
    """

    context: Context
    folder: Path
    table: StoredTable
    of: Mapping[str, Any]
    why: str
    online: OnlineRows | None

    def run(self, everywhere: bool) -> Erased:
        """Do it, and record that it was done."""
        matching = self._check()
        name = self.table.name
        parameters: dict[str, Json] = {
            "table": name,
            "columns": [*sorted(self.of)],
            "digest": self._digest(),
            "everywhere": everywhere,
        }
        run = begin(self.context, kind=KIND, name=name, parameters=parameters, tags={"why": self.why})
        try:
            with lock(self.folder, name):
                keys, forgotten = self._keys(matching)
                before = self._from_online(keys, forgotten)  # while the rows are there that tell whose they are
                rows, version = self._from_table(self.table.refresh(), matching, run.id)
                refused = sum(self._from_refused(each, gone=True) for each in self._own_refused())
            online = dict(Counter(before) + Counter(self._from_online(keys, forgotten)))
            held = self._holdings.find()
            found = [*held.content, *held.declared]
            predictions = self._from_predictions(everywhere)
            aside = {name: self._from_refused(name, gone=everywhere) for name in self._refused_of_others()}
            aside = {name: rows for name, rows in aside.items() if rows}
            if everywhere:
                self._forget(held.content)
                self.context.ledger.write(*self._holdings.redactions(held))
        except BaseException as exc:
            end(self.context, run, "killed" if isinstance(exc, KeyboardInterrupt) else "failed", error=str(exc))
            raise
        counts = {"rows": rows, "refused": refused, "online": sum(online.values()), "predictions": predictions}
        self._finish(run, {**counts, "aside": sum(aside.values())}, found if everywhere else ())
        listed = [artifact.id for artifact in found]
        others = self._other_tables()
        return Erased(
            name,
            version,
            rows,
            refused,
            online,
            predictions,
            listed,
            others,
            everywhere,
            run.id,
            aside,
            [each.id for each in held.unsure],
            sorted({view.name for view in forgotten}),
        )

    def earlier(self) -> list[Run]:
        """The finished runs that erased the same, newest first."""
        self._check()
        mine = self._digest()
        runs = self.context.ledger.runs(RunQuery(kind=KIND, name=self.table.name, status="finished", limit=_MOST))
        return [run for run in runs if run.parameters.get("digest") == mine]

    # -- the request ------------------------------------------------------------------------------------------

    def _check(self) -> pl.Expr:
        schema, rules = self.table.schema, self.table.rules
        if not self.of or rules is None:
            raise Invalid("Say whose rows: erase('orders', {'customer': 42}, why='...').")
        if not self.why.strip():
            raise Invalid("Say why: the ledger keeps the reason of every erasure.")
        elsewhere = self._columns_of_refused()
        for column, value in self.of.items():
            if column not in {*schema, *elsewhere}:
                raise NotFound(f"column of table {self.table.name!r}", column, schema.names())
            if value is None:
                raise Invalid(f"Rows without {column!r} are no one's. Give the value whose rows are to be erased.")
        if not set(self.of) <= set(schema):
            return pl.lit(value=False)  # so far only refused rows have such a column
        return pl.all_horizontal(pl.col(name) == pl.lit(value, schema[name]) for name, value in self._values().items())

    def _values(self) -> dict[str, Any]:
        """What is asked for, in the types of the table: text from a command line becomes a number where one is meant."""
        schema = self.table.schema
        try:
            return {n: pl.Series([value]).cast(schema[n])[0] if n in schema else value for n, value in self.of.items()}
        except (pl.exceptions.PolarsError, TypeError) as exc:
            kinds = ", ".join(f"{name} is {schema[name]}" for name in self.of)
            raise Invalid(f"The values do not fit the columns of table {self.table.name!r}: {kinds}.") from exc

    @property
    def _holdings(self) -> Holdings:
        return Holdings(self.context, self._values())

    def _columns_of_refused(self) -> set[str]:
        texts = [text for name in self._own_refused() for text in self._refused_rows(name)["row"]]
        return {column for text in texts for column in msgspec.json.decode(text)}

    def _refused_rows(self, name: str) -> pl.DataFrame:
        table = StoredTable.open(name, self.folder / name)
        return pl.DataFrame(schema={"row": pl.String}) if table is None else table.whole().collect()

    def _own_refused(self) -> list[str]:
        """Where rows of this table went that were refused: when they came, or when features were made of them."""
        return list(
            dict.fromkeys([refused_name(self.table.name), refused_name(self.table.name.replace(".", "_")[:55])])
        )

    def _refused_of_others(self) -> list[str]:
        found = sorted(path.parent.name for path in self.folder.glob(f"*{REFUSED}/_delta_log"))
        return [name for name in found if name not in self._own_refused()]

    def _digest(self) -> str:
        """A digest that only this project can work out."""
        return hmac.new(self._secret(), canonical([self.table.name, self._values()]), "sha256").hexdigest()

    def _secret(self) -> bytes:
        path = self.context.root / SECRET
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(secrets.token_bytes(32))
            try:
                os.link(draft, path)  # of two processes the first wins, and nobody sees half a key
            except FileExistsError:
                pass
            finally:
                draft.unlink()
        return path.read_bytes()

    # -- what goes --------------------------------------------------------------------------------------------

    def _keys(self, matching: pl.Expr) -> tuple[dict[FeatureView, list[Key]], list[FeatureView]]:
        """The online keys that rows of the entity reach, or that the request names, of every version of every view.

        And the views that read the table and cannot be traced now, because other data of theirs cannot be read.
        """
        from trivet.features.online.encoding import online_key
        from trivet.features.tables.reached import reached, reads_table

        found: dict[FeatureView, list[Key]] = {}
        untraced: list[FeatureView] = []
        for view in self._views():
            names, asked = view.entity.keys, set(self.of)
            keys = [online_key(tuple(self._values()[each] for each in names))] if asked == set(names) else []
            if asked < set(names) <= set(self.table.schema):
                keys += [online_key(row) for row in self.table.scan().filter(matching).select(names).collect().rows()]
            if reads_table(view, self.context.root, self.table.path):
                try:
                    keys += reached(view, self.context.root, self.table.path, matching)
                except TrivetError:
                    untraced.append(view)
            if keys:
                found[view] = list(dict.fromkeys(keys))
        return found, untraced

    def _views(self) -> list[FeatureView]:
        ledger = self.context.ledger
        digests = {each.digest for each in ledger.pointers(name="feature_view/*", history=True) if each.digest}
        return [FeatureView.from_spec(ledger.artifact(digest).spec) for digest in sorted(digests)]

    def _from_table(self, table: StoredTable, matching: pl.Expr, run: str) -> tuple[int, int]:
        rows = int(table.scan().filter(matching).select(pl.len()).collect().item())
        if rows:
            attempted(lambda: self._rewrite(table.refresh(), ~matching, run), table.name)
        self._sweep(table)
        return rows, table.refresh().version

    def _rewrite(self, table: StoredTable, kept: pl.Expr, run: str = "") -> None:
        rows = table.whole().filter(kept.fill_null(value=True))
        note = msgspec.structs.replace(table.note, what=KIND, by=run)
        table.rewrite(rows.collect_batches(chunk_size=STEP), table.schema, note)

    def _from_refused(self, name: str, *, gone: bool) -> int:
        """How many refused rows of a table are the entity's; taken out of it where they are to be ``gone``."""
        table, rows = StoredTable.open(name, self.folder / name), self._refused_rows(name)
        if table is None:
            return 0
        mine = pl.Series([self._holdings.is_meant(msgspec.json.decode(text)) for text in rows["row"]], dtype=pl.Boolean)
        if gone and mine.any():
            attempted(lambda: table.refresh().rewrite(iter([rows.filter(~mine)]), table.schema, table.note), name)
        if gone:
            self._sweep(table)
        return int(mine.sum())

    def _sweep(self, table: StoredTable, *, unfinished: bool = True) -> None:
        """Also where nothing was found: an erasure that was killed may have left the files of older versions."""
        table.refresh().sweep(table.note, hours=0, unfinished=unfinished)
        if table.rules is None:
            table.refresh().forget_log()

    def _from_online(
        self, keys: Mapping[FeatureView, Sequence[Key]], forgotten: Sequence[FeatureView]
    ) -> dict[str, int]:
        if self.online is None:
            return {}
        store = self.online()
        for view in forgotten:
            store.drop(view.online_name)
        gone: dict[str, int] = {}
        for view, mine in keys.items():
            if rows := store.erase(view.online_name, mine):
                gone[view.name] = gone.get(view.name, 0) + rows
        self._from_states(store, keys)
        return gone

    def _from_states(self, store: OnlineStore, keys: Mapping[FeatureView, Sequence[Key]]) -> None:
        """What was pushed: the states of the entity; those of views that would lose rows among others are made anew."""
        from trivet.features.live import LiveView, live_name, why_not
        from trivet.features.online.encoding import encode_key

        kept = set(store.views())
        for view in self._views():
            name, ours = live_name(view), self.table.name in {leaf.name for leaf in view.source.leaves}
            theirs = view in keys and set(self.of) <= set(view.entity.keys)  # of no one else: the whole key goes
            if name in kept and ours and theirs and why_not(view) is None:
                beside = LiveView(view).beside(store, [encode_key(key) for key in keys[view]])
                store.erase(name, [*beside, *keys[view]])
            elif name in kept and (ours or view in keys):
                store.drop(name)

    def _from_predictions(self, everywhere: bool) -> int:
        """Records of predictions that name the entity among their keys or were sent its values."""
        table = StoredTable.open(_PREDICTIONS, self.folder / _PREDICTIONS)
        told = [] if table is None else [name for name in ("entities", "request") if name in table.schema]
        if table is None or not told:
            return 0
        mine = pl.lit(value=False)
        for name in told:
            different = table.whole().select(pl.col(name).unique()).collect().to_series().drop_nulls()
            mine |= pl.col(name).is_in([text for text in different if self._holdings.told(msgspec.json.decode(text))])
        rows = int(table.whole().select(mine.fill_null(value=False).sum()).collect().item() or 0)
        if rows and everywhere:
            attempted(lambda: self._rewrite(table.refresh(), ~mine), _PREDICTIONS)
            self._sweep(table, unfinished=False)  # a service may be writing
        return rows

    # -- what was recorded ------------------------------------------------------------------------------------

    def _other_tables(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for path in sorted(self.folder.glob("*/_delta_log")):
            name = path.parent.name
            table = None if "__" in name or name == self.table.name else StoredTable.open(name, path.parent)
            if table is not None and table.rules is not None and set(self.of) <= set(table.schema):
                rows = table.scan().filter(self._holdings.matches(table.schema)).select(pl.len()).collect().item()
                found |= {name: int(rows)} if rows else {}
        return found

    def _forget(self, artifacts: Sequence[Artifact]) -> None:
        for artifact in reversed(artifacts):  # reports first: they are found by what they are made from
            for file in artifact.files.values():
                self.context.blobs.forget(file.digest)

    def _finish(self, run: Run, metrics: Mapping[str, int], forgotten: Sequence[Artifact]) -> None:
        inputs = {f"erased_{number}": artifact.digest for number, artifact in enumerate(forgotten)}
        done = msgspec.structs.replace(run, inputs=inputs)
        end(self.context, done, "finished", metrics={name: float(value) for name, value in metrics.items()})
