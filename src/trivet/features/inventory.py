"""What the current definitions stand on: their sources and entities by name, with the views that use them.

A source or an entity has no version of its own: it stands inside the views. Where views declare one name differently, each
declaration is listed. Nothing is read but the catalogue; what was recorded of a source's data is asked of the ledger.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trivet.errors import NotFound
from trivet.features.catalogue import Catalogue
from trivet.ledger import Artifact
from trivet.pipelines.context import Context

if TYPE_CHECKING:
    from trivet.features.definitions import Entity, Source

__all__ = ["ListedEntity", "ListedSource", "entities", "one_of", "snapshots", "sources"]


@dataclass(frozen=True)
class ListedSource:
    """A source as the current views declare it.

    Attributes:
        name: how it is called.
        declared: its declarations; one, where all views agree.
        views: the views that read it, directly or through a query, a function or another view.
    """

    name: str
    declared: tuple[Source, ...]
    views: tuple[str, ...]

    @property
    def source(self) -> Source:
        """The declaration; of several that of the first view."""
        return self.declared[0]

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {"name": self.name, "views": list(self.views), "declared": [each.to_spec() for each in self.declared]}


@dataclass(frozen=True)
class ListedEntity:
    """An entity as the current views declare it.

    Attributes:
        name: how it is called.
        declared: its declarations; one, where all views agree.
        views: the views of it.
        features: their features, as references.
    """

    name: str
    declared: tuple[Entity, ...]
    views: tuple[str, ...]
    features: tuple[str, ...]

    @property
    def entity(self) -> Entity:
        """The declaration; of several that of the first view."""
        return self.declared[0]

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        declared = [each.to_spec() for each in self.declared]
        return {"name": self.name, "views": list(self.views), "features": list(self.features), "declared": declared}


def sources(context: Context) -> list[ListedSource]:
    """The sources of the current views, those beneath queries, functions and views included, by name."""
    declared: dict[str, dict[Source, None]] = {}
    views: dict[str, dict[str, None]] = {}
    for listed in Catalogue(context).list("feature_view"):
        for source in _beneath(listed.view.source):
            declared.setdefault(source.name, {})[source] = None
            views.setdefault(source.name, {})[listed.name] = None
    return [ListedSource(name, tuple(declared[name]), tuple(views[name])) for name in sorted(declared)]


def entities(context: Context) -> list[ListedEntity]:
    """The entities of the current views, by name."""
    listed = Catalogue(context).list("feature_view")
    names = sorted({each.view.entity.name for each in listed})
    found = []
    for name in names:
        mine = [each for each in listed if each.view.entity.name == name]
        declared = tuple(dict.fromkeys(each.view.entity for each in mine))
        features = tuple(feature for each in mine for feature in each.features)
        found.append(ListedEntity(name, declared, tuple(each.name for each in mine), features))
    return found


def one_of(noun: str, name: str, listed: Iterable[Any]) -> Any:
    """The one called ``name``.

    Raises:
        NotFound: there is none; the nearest names are offered.
    """
    named = {each.name: each for each in listed}
    if name not in named:
        raise NotFound(noun, name, named, hint="" if named else "Define a feature view first.")
    return named[name]


def snapshots(context: Context, name: str, *, most: int = 50) -> Sequence[Artifact]:
    """What is on record of a source's data, the newest first, of the newest of all sources' records."""
    return [each for each in context.ledger.artifacts(kind="source", limit=40 * most) if each.spec.get("name") == name][
        :most
    ]


def _beneath(source: Source) -> Iterator[Source]:
    if source.view is not None:
        yield from _beneath(source.view.source)
        return
    yield source
    for each in source.inputs:
        yield from _beneath(each)
