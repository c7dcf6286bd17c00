"""Removing a table as a whole: refused while something in use is made from it, and recorded with the reason.

The folder is first renamed, which happens at once or not at all, and then removed; what a process that died has left of
it goes with the next removal. Whose rows are to go out of a table that stays, that is ``erasure``'s.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from trivet.errors import Invalid, NotFound, Refused
from trivet.features.definitions import FeatureView
from trivet.features.online.contract import OnlineStore
from trivet.features.tables.ingestion import refused_name
from trivet.features.tables.stored import StoredTable, lock
from trivet.pipelines.context import Context
from trivet.pipelines.recording import begin, end

__all__ = ["Dropped", "Dropping"]

KIND = "drop"
_GONE = ".dropped__"


class Dropped(msgspec.Struct, frozen=True):
    """What a removal did.

    Attributes:
        table: its name.
        rows: how many it had, corrections included.
        refused: how many refused rows went with it.
        views: current feature views that read it and now find nothing.
        run: the run on record.
    """

    table: str
    rows: int
    refused: int
    views: tuple[str, ...]
    run: str

    def __str__(self) -> str:
        told = f"{self.table} is removed, with {self.rows:,} rows and {self.refused:,} refused ones."
        return f"{told} It was read by: {', '.join(self.views)}." if self.views else told


@dataclass(frozen=True)
class Dropping:
    """One removal.

    Attributes:
        context: the project.
        folder: where its tables are.
        table: which goes.
        why: the reason.
        online: opens the online store, if there is one.
    """

    context: Context
    folder: Path
    table: StoredTable
    why: str
    online: Callable[[], OnlineStore] | None

    def run(self, *, force: bool) -> Dropped:
        """Do it, and record that it was done.

        Raises:
            Refused: something in use is made from the table, and it is not forced.
            Invalid: there is no reason.
        """
        name = self.table.name
        if not self.why.strip():
            raise Invalid(f"Say why the table {name!r} goes: drop({name!r}, why='...'). The ledger keeps the reason.")
        current, all_of_them = self._views()
        users = [] if force else self._users(current)
        if users:
            raise Refused(
                f"The table {name!r} is in use: {'; '.join(users)}. Retire what uses it, or force it: "
                "force=True, --force on the command line."
            )
        run = begin(
            self.context, kind=KIND, name=name, parameters={"table": name, "force": force}, tags={"why": self.why}
        )
        try:
            self._forget_states(all_of_them)
            with lock(self.folder, name):
                rows = [self._remove(each, run.id) for each in (name, refused_name(name))]
        except BaseException as exc:
            end(self.context, run, "killed" if isinstance(exc, KeyboardInterrupt) else "failed", error=str(exc))
            raise
        end(self.context, run, "finished", metrics={"rows": float(rows[0]), "refused": float(rows[1])})
        return Dropped(name, rows[0], rows[1], tuple(sorted(current)), run.id)

    def _remove(self, name: str, run: str) -> int:
        """Remove a folder of a table, if there is one, and answer how many rows it had."""
        table = StoredTable.open(name, self.folder / name)
        rows = 0 if table is None else int(table.files["num_records"].sum())
        if table is not None:
            table.path.rename(self.folder / f"{_GONE}{name}__{run}")
        for left in self.folder.glob(f"{_GONE}{name}__*"):
            shutil.rmtree(left)
        return rows

    def _views(self) -> tuple[dict[str, FeatureView], list[FeatureView]]:
        """The current views that read the table by name, and all versions of any."""
        from trivet.features.catalogue import CURRENT

        ledger, current, found = self.context.ledger, {}, {}
        for pointer in ledger.pointers(name="feature_view/*", history=True):
            if pointer.digest is None:
                continue
            if pointer.digest not in found:
                found[pointer.digest] = FeatureView.from_spec(ledger.artifact(pointer.digest).spec)
            if pointer.label == CURRENT:
                current[pointer.name] = found[pointer.digest]
        mine = [view for view in found.values() if self._reads(view)]
        return {view.name: view for view in current.values() if self._reads(view)}, mine

    def _reads(self, view: FeatureView) -> bool:
        folder = self.table.path.resolve()
        leaves = [leaf.data for leaf in view.source.leaves]
        return any((self.context.root / data).resolve() == folder for data in leaves if isinstance(data, str | Path))

    def _users(self, views: dict[str, FeatureView]) -> list[str]:
        """Who uses the views where it would be felt."""
        from trivet.features.usage import Usage

        usage, told = Usage(self.context), []
        for name in sorted(views):
            try:
                alive = usage.of(name).alive
            except NotFound:
                continue
            told += [f"view {name} is used by {', '.join(map(str, alive))}"] if alive else []
        return told

    def _forget_states(self, views: list[FeatureView]) -> None:
        """What was pushed is of rows that are gone; a table of the same name begins anew."""
        if not views or self.online is None:
            return
        from trivet.features.live import live_name

        store = self.online()
        kept = set(store.views())
        for name in {live_name(view) for view in views} & kept:
            store.drop(name)
