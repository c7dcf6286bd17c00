"""What a source had at a moment in the past: the data behind ``as_known_at``.

Whoever has versions of its own is asked for them: a table of the project for the rows that had reached it, a Delta table for
the version that was the newest. Files, databases and functions have none, so what runs recorded of them is taken, and only
what was recorded of the very same declaration: two sources may share a name. A frame that was defined with a view is what
the catalogue had then. Nothing on record is an error, never other data.
"""

from __future__ import annotations

import tempfile
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from trivet.errors import NotFound
from trivet.features.definitions import FeatureView, Source
from trivet.features.places import is_database, local
from trivet.features.snapshots import record_snapshot
from trivet.features.sources import Snapshot
from trivet.features.sources.delta import DeltaTables
from trivet.features.sources.files import FileSnapshot
from trivet.features.tables.stored import Note, StoredTable
from trivet.ledger import Artifact, Run, RunQuery
from trivet.pipelines.context import Context
from trivet.types import Micros, from_micros, to_micros

__all__ = ["Known", "as_known"]

_KINDS = ("training_set", "materialize")


class Known(NamedTuple):
    """What a source had, and in words which version or record that is."""

    data: Artifact
    what: str


def as_known(leaf: Source, moment: datetime, context: Context, views: Collection[str] = ()) -> Known:
    """The data that a source had at a moment in the past.

    Args:
        leaf: a source with data of its own, its path told relative to the project's folder.
        moment: when.
        context: the project.
        views: the names of the views that read it; of frames that were handed over, only what was recorded of one of
            these is known to be theirs.

    Raises:
        NotFound: nothing is known of the source until then; the first moment of which something is known is named.
        Invalid: a table cannot be read.
    """
    if isinstance(leaf.data, Snapshot):
        return Known(record_snapshot(leaf.data, context), "the frame that its view was defined with then")
    if (table := _own_table(leaf, context)) is not None:
        return _of_table(leaf, table, moment, context)
    if DeltaTables().claims(leaf, context.root):
        snapshot, at = DeltaTables().open_at(leaf, context.root, moment)
        return Known(record_snapshot(snapshot, context), f"version {snapshot.version} of {_text(at)}")
    return _of_records(leaf, moment, context, views)


def _own_table(leaf: Source, context: Context) -> StoredTable | None:
    """The table of the project that is read, if it is one."""
    if not isinstance(leaf.data, str) or is_database(leaf.data) or (path := local(leaf.data)) is None:
        return None
    folder = (context.root / path).resolve()
    if folder.parent != (context.root / context.settings.serving.records).resolve():
        return None
    table = StoredTable.open(folder.name, folder)
    return None if table is None or table.rules is None else table


def _of_table(leaf: Source, table: StoredTable, moment: datetime, context: Context) -> Known:
    """The rows that had reached a table, with the columns that it had."""
    arrival, until = table.arrived.to_physical(), to_micros(moment)
    version, note, schema = _version_at(table, until)
    if not note.created:
        first = table.scan().select(arrival.min()).collect().item()
        raise _unknown(leaf, moment, None if first is None else f"Its first rows are of {_text(from_micros(first))}.")
    rows = table.scan().filter(arrival <= until).sort(arrival, maintain_order=True)
    rows = rows.select(pl.col(name).cast(kind) for name, kind in schema.items())
    with tempfile.TemporaryDirectory(prefix="trivet-as-known-") as folder:
        rows.sink_parquet(Path(folder) / "rows.parquet")
        data = record_snapshot(FileSnapshot(leaf.name, Path(folder) / "rows.parquet", cut=leaf.cut), context)
    return Known(data, f"version {version} of {_text(from_micros(note.created))}")


def _version_at(table: StoredTable, until: Micros) -> tuple[int, Note, pl.Schema]:
    """The version that brought the newest rows until a moment; later ones without rows may have other columns."""

    def created(version: int) -> Micros:
        return table.note_at(version)[0].created

    versions = range(table.version + 1)
    newest = created(max(bisect_right(versions, until, key=created) - 1, 0))
    first = bisect_left(versions, newest, key=created)
    return first, *table.note_at(first)


def _of_records(leaf: Source, moment: datetime, context: Context, views: Collection[str]) -> Known:
    """What the newest run until then recorded of the same declaration.

    Late data and backfills that came after the moment are not in it. What was materialized without the rows that were
    refused is not what a training set is made from, and passed over.
    """
    until, first = list[Run](), list[Run]()
    for kind in _KINDS:
        for run in _records(leaf, kind, context, views):
            if run.started <= moment:
                until.append(run)
                break
            first.append(run)
    if until:
        run = max(until, key=lambda each: (each.started, each.id))
        data = context.ledger.artifact(run.inputs[f"sources.{leaf.name}"])
        return Known(data, f"as recorded {_text(run.started)} by {run.kind} {run.id}")
    started = min((run.started for run in first), default=None)
    raise _unknown(leaf, moment, None if started is None else f"The first is of {_text(started)}.")


def _records(leaf: Source, kind: str, context: Context, views: Collection[str]) -> Iterator[Run]:
    """The runs that recorded the data of a source, the newest first."""
    slot, same = f"sources.{leaf.name}", dict[str, bool]()
    before = None
    while runs := context.ledger.runs(RunQuery(kind=kind, before=before)):
        for run in runs:
            left_out = run.parameters.get("left_out")
            if slot not in run.inputs or (isinstance(left_out, list) and leaf.name in left_out):
                continue
            digests = [digest for name, digest in run.inputs.items() if name.startswith("views.")]
            for digest in digests:
                if digest not in same:
                    same[digest] = _reads_the_same(context.ledger.artifact(digest), leaf, views)
            if any(same[digest] for digest in digests):
                yield run
        before = runs[-1].id


def _reads_the_same(artifact: Artifact, leaf: Source, views: Collection[str]) -> bool:
    """Whether a recorded view reads the data that ``leaf`` declares."""
    if artifact.kind != "feature_view":
        return False
    view = FeatureView.from_spec(artifact.spec)
    handed = leaf.data is None or not isinstance(leaf.data, str)
    if handed and leaf.function is None and view.name not in views:
        return False  # frames are no part of a declaration, so any two would seem to be the same
    return any(each.name == leaf.name and _read_of(each) == _read_of(leaf) for each in view.source.leaves)


def _read_of(leaf: Source) -> dict[str, Any]:
    """What of a declaration decides which rows and columns are read; of a frame, all that is told of it."""
    spec = leaf.to_spec()
    if "path" not in spec and "function" not in spec:
        return spec
    parts = ("path", "function", "entry", "table", "query", "order", "nulls")
    return {"cut": sorted(leaf.cut), **{part: spec[part] for part in parts if part in spec}}


def _unknown(leaf: Source, moment: datetime, since: str | None) -> NotFound:
    return NotFound(
        "record of source",
        f"{leaf.name} as of {_text(moment)}",
        hint=since or "Nothing was ever recorded of this declaration of it.",
    )


def _text(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
