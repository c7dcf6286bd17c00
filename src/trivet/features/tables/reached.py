"""Which keys of feature views the rows of an entity reach: those whose rows would be others without them.

A view need not be keyed by what an erasure names: it may be keyed by order and tell the customer, or call the customer
something else. So what each view reads is worked out twice, with the rows and without, and the keys that differ are told.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import polars as pl

from trivet.features.definitions import FeatureView
from trivet.features.engines.local import LocalEngine
from trivet.features.logs import with_logs
from trivet.features.online.contract import Key
from trivet.features.online.encoding import online_key
from trivet.features.sources import Snapshot, read, snapshot_of

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
    rest: dict[str, Snapshot | pl.DataFrame] = dict(whole)
    for name in reads_table(view, root, folder):
        rest[name] = whole[name].scan().filter(~matching.fill_null(value=False)).collect()
    before, after = (_counted(view, each) for each in (whole, rest))
    gone = pl.concat([before, after.with_columns(-pl.col(_MANY))])
    columns = [name for name in gone.columns if name != _MANY]
    differing = gone.group_by(columns).agg(pl.col(_MANY).sum()).filter(pl.col(_MANY) != 0)
    return [online_key(row) for row in differing.select(view.entity.keys).unique(maintain_order=True).rows()]


def _counted(view: FeatureView, data: Mapping[str, Snapshot | pl.DataFrame]) -> pl.DataFrame:
    """How often each row that the view reads is there."""
    source = view.source
    columns = [*view.entity.keys, *(each for feature in view.features.values() for each in feature.columns)]
    known = with_logs([source], data, LocalEngine().point_in_time)
    rows = read(source, dict.fromkeys([*columns, *source.time_columns]), known)
    return rows.group_by(rows.columns).agg(pl.len().cast(pl.Int64).alias(_MANY))
