"""A warning where sums, counts and means are made over a table of the project that has corrections.

A correction is a row of its own, and windows take rows as they are: what was said first and what corrects it both count.
That keeps what a training set of an earlier moment said, and is seldom meant where amounts are added up.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterable

from trivet.features.definitions import FeatureView
from trivet.features.tables.stored import StoredTable
from trivet.pipelines.context import Context

__all__ = ["CorrectionsCounted", "warn_of_corrections"]

_ADDING = frozenset({"sum", "count", "mean", "std", "quantile"})
_TOLD: set[tuple[str, str, str]] = set()
"""What this process was warned of, by project, view and table, as with features that are deprecated."""


class CorrectionsCounted(UserWarning):
    """A window adds up rows of a table of which some correct others."""


def warn_of_corrections(context: Context, views: Iterable[FeatureView]) -> None:
    """Warn, once in a process, of each view with windows over a table that has corrections."""
    folder = (context.root / context.settings.serving.records).resolve()
    for view in views:
        first = view
        while first.source.view is not None:
            first = first.source.view
        data = first.source.data
        names = [name for name, each in first.features.items() if each.windowed and each.operation in _ADDING]
        if not names or first.source.derived or first.source.created is None or not isinstance(data, str):
            continue
        path = (context.root / data).resolve()
        if path.parent != folder or (key := (str(context.root), first.name, path.name)) in _TOLD:
            continue
        table = StoredTable.open(path.name, path)
        if table is not None and table.rules is not None and table.rules.keep == "last" and table.note.changed:
            _TOLD.add(key)
            warnings.warn(_sentence(first.name, names, path.name, table.note.changed), CorrectionsCounted, _levels())


def _levels() -> int:
    """How far up the line stands that called Trivet: a training set defines its views as well."""
    frame, level = inspect.currentframe(), 0
    while frame is not None and frame.f_globals.get("__name__", "").startswith("trivet."):
        frame, level = frame.f_back, level + 1
    return level


def _sentence(view: str, names: list[str], table: str, changed: int) -> str:
    told = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
    return (
        f"Windows of view {view!r} ({told}) count a correction and what it corrects, and table {table!r} has {changed:,} "
        "corrections. For events that are added up make the table with keep='first', or ingest a correction as the "
        "difference; the current content of a key is what tv.latest answers."
    )
