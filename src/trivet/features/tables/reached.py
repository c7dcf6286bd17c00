"""Which keys of feature views the rows of an entity reach: those whose rows would be others without them.

A view need not be keyed by what an erasure names: it may be keyed by order and tell the customer, or call the customer
something else. So what each view reads is worked out twice, with the rows and without, and the keys that differ are told.
"""

from __future__ import annotations

from pathlib import Path

import polars as pl

from trivet.features.definitions import FeatureView
from trivet.features.engines.local import LocalEngine
from trivet.features.logs import with_logs
from trivet.features.online.contract import Key
from trivet.features.online.encoding import online_key
from trivet.features.sources import Snapshots, read, snapshot_of
from trivet.features.sources.contract import unreadable
from trivet.features.sources.memory import FrameSnapshot

__all__ = ["reached", "reads_table"]

_MANY = "__many"


def reads_table(view: FeatureView, root: Path, folder: Path) -> list[str]:
    """The names under which a view reads the table in ``folder``, directly or beneath queries and views."""
    found = []
    for leaf in view.source.leaves:
        path = leaf.data.removeprefix("delta:") if isinstance(leaf.data, str) else None
        if path is not None and "://" not in path and (root / path).resolve() == folder.resolve():
            found.append(leaf.name)
    return found


def reached(view: FeatureView, root: Path, folder: Path, matching: pl.Expr) -> list[Key]:
    """The online keys of a view that read rows of the table in ``folder`` which match.

    Raises:
        NotFound, Invalid: data of another source of the view cannot be read now.
    """
    whole = {leaf.name: snapshot_of(leaf, root) for leaf in view.source.leaves}
    rest, kept = dict(whole), ~matching.fill_null(value=False)
    try:
        for name in reads_table(view, root, folder):
            rest[name] = FrameSnapshot(name, whole[name].rows().filter(kept).collect(), cut=whole[name].cut)
        return _differing(view, whole, rest)
    except pl.exceptions.PolarsError as exc:
        raise unreadable(view.source.name, exc) from exc


def _differing(view: FeatureView, whole: Snapshots, rest: Snapshots) -> list[Key]:
    """The keys whose rows are others where the one is read and where the other is."""
    before, after = (_counted(view, each) for each in (whole, rest))
    gone = pl.concat([before, after.with_columns(-pl.col(_MANY))])
    columns = [name for name in gone.columns if name != _MANY]
    differing = gone.group_by(columns).agg(pl.col(_MANY).sum()).filter(pl.col(_MANY) != 0)
    keys = differing.select(view.entity.keys).drop_nulls().unique(maintain_order=True)
    return [online_key(row) for row in keys.rows()]


def _counted(view: FeatureView, data: Snapshots) -> pl.DataFrame:
    """How often each row that the view reads is there."""
    source = view.source
    columns = [*view.entity.keys, *(each for feature in view.features.values() for each in feature.columns)]
    known = with_logs([source], data, LocalEngine().point_in_time)
    rows = read(source, dict.fromkeys([*columns, *source.time_columns]), known)
    return rows.group_by(rows.columns).agg(pl.len().cast(pl.Int64).alias(_MANY))
