"""From the declaration of a source to its data at hand: which kind of place it is, and opening it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from trivet.errors import Invalid
from trivet.features.definitions import Source
from trivet.features.sources.contract import Place, Snapshot
from trivet.features.sources.databases import Databases
from trivet.features.sources.delta import DeltaTables
from trivet.features.sources.files import Files
from trivet.features.sources.folders import Folders
from trivet.features.sources.memory import Frames, Functions
from trivet.features.sources.recorded import Recorded

__all__ = ["PLACES", "leaves_of", "same_data", "snapshot_of", "snapshots_of"]

PLACES: tuple[Place, ...] = (Recorded(), Functions(), Frames(), Databases(), DeltaTables(), Folders(), Files())
"""All kinds; the first that claims a source has it."""


def snapshot_of(source: Source, root: Path = Path()) -> Snapshot:
    """The data that ``source`` was declared with; relative paths start at ``root``.

    Raises:
        Invalid: it has no data, or they cannot be used.
        NotFound: a table of a database, or a column of which something is told, does not exist.
    """
    if source.data is None and source.function is None:
        lost = f" Its function {source.entry} was not stored; define it again." if source.entry else ""
        raise Invalid(f"Source {source.name!r} has no data. Declare it with a path or a data frame.{lost}")
    if isinstance(source.data, Snapshot):
        return source.data
    snapshot = next(place for place in PLACES if place.claims(source, root)).open(source, root)
    snapshot.check_columns(source.told)
    return snapshot


def snapshots_of(sources: Iterable[Source], root: Path = Path()) -> dict[str, Snapshot]:
    """The data of all ``sources`` and of those beneath their queries and views, by name.

    Raises:
        Invalid: as ``snapshot_of``, or two different sources share a name.
    """
    return {name: snapshot_of(leaf, root) for name, leaf in leaves_of(sources).items()}


def leaves_of(sources: Iterable[Source]) -> dict[str, Source]:
    """The sources with data of their own, by name.

    Raises:
        Invalid: two sources of one name have different data.
    """
    leaves: dict[str, Source] = {}
    for leaf in (leaf for source in sources for leaf in source.leaves):
        other = leaves.setdefault(leaf.name, leaf)
        if _what(other) != _what(leaf):
            raise Invalid(f"Two sources called {leaf.name!r} have different data. Rename one.")
    return leaves


def same_data(one: Source, other: Source) -> bool:
    """Whether the frames of two sources hold the same rows in the same order, columns that are cut away apart."""
    first, second = (snapshot_of(each).scan() for each in (one, other))
    return first.collect_schema() == second.collect_schema() and first.collect().equals(second.collect())


def _what(leaf: Source) -> tuple[object, ...]:
    """What rows and columns are read: one snapshot serves all sources that agree on that."""
    data = leaf.data if isinstance(leaf.data, str) else id(leaf.data)
    return data, leaf.function, leaf.table, leaf.query, leaf.order, leaf.nulls, frozenset(leaf.cut)
