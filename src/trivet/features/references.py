"""Which features a training set or a model asks for: views, services, ``"weather:*"`` and ``"planes:seats"``.

Resolves references against definitions at hand, names the columns they become, and says what must be read and
computed for them: an on-demand view needs features that nobody asked for. Where stored definitions come from is
``trivet.features.catalogue``'s business.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from trivet.errors import Invalid, NotFound
from trivet.features.aggregates import Aggregate
from trivet.features.definitions import FeatureView, Source
from trivet.features.on_demand import OnDemand
from trivet.features.services import FeatureService

__all__ = ["Computed", "Definition", "Find", "Selected", "Selection", "resolve", "select_all"]

Definition: TypeAlias = FeatureView | OnDemand | FeatureService
Find: TypeAlias = Callable[[str], Definition]
_DEFINED = (FeatureView, OnDemand, FeatureService)


@dataclass(frozen=True)
class Selected:
    """One feature of one view, and the name of the column that it fills."""

    view: FeatureView
    feature: str
    column: str

    @property
    def reference(self) -> str:
        """``view:feature``."""
        return f"{self.view.name}:{self.feature}"

    @property
    def aggregate(self) -> Aggregate:
        """The feature's declaration."""
        return self.view.features[self.feature]


@dataclass(frozen=True)
class Computed:
    """One output of an on-demand view, and the name of the column that it fills."""

    view: OnDemand
    feature: str
    column: str

    @property
    def reference(self) -> str:
        """``view:feature``."""
        return f"{self.view.name}:{self.feature}"


@dataclass(frozen=True)
class Selection:
    """Everything that was asked for, and what it takes. Iterating goes through what was asked for.

    Attributes:
        columns: what was asked for, in that order.
        read: the features of views that must be read: those among ``columns``, then those that are inputs only, whose
            column is called like their reference.
        steps: on-demand views, each after those that it needs.
        services: the feature services that were named.
    """

    columns: tuple[Selected | Computed, ...]
    read: tuple[Selected, ...]
    steps: tuple[OnDemand, ...] = ()
    services: tuple[FeatureService, ...] = ()

    def __iter__(self) -> Iterator[Selected | Computed]:
        return iter(self.columns)

    def __len__(self) -> int:
        return len(self.columns)

    @property
    def views(self) -> list[FeatureView]:
        """The feature views that are read."""
        return list(dict.fromkeys(each.view for each in self.read))

    @property
    def definitions(self) -> dict[str, FeatureView | OnDemand]:
        """Every view that takes part, by name."""
        found: dict[str, FeatureView | OnDemand] = {each.name: each for each in self.views}
        return found | {each.name: each for each in self.steps}

    @property
    def request(self) -> dict[str, str]:
        """What the caller must send: name to type, as ``OnDemand.request`` has it.

        Raises:
            Invalid: two on-demand views ask for a value of one name with different types.
        """
        asked: dict[str, str] = {}
        for step in self.steps:
            for name, kind in step.request.items():
                if asked.setdefault(name, kind) != kind:
                    raise Invalid(
                        f"The request value {name!r} is asked for as {asked[name]} and as {kind}. Rename one."
                    )
        return asked


def resolve(
    wanted: Iterable[Definition | str] | Definition | str,
    find: Find | None = None,
    *,
    full_names: bool = False,
    taken: Sequence[str] = (),
    root: Path | None = None,
) -> Selection:
    """The features that ``wanted`` names, in that order, each once.

    Args:
        wanted: views and services (all their features) and references, or a single one.
        find: answers the definition of a name; without it only those among ``wanted`` are known.
        full_names: call columns ``view__feature``.
        taken: columns that exist already, with which none may collide.
        root: the project's folder; paths of sources inside it are told relative to it.

    Raises:
        NotFound: no such view, service or feature; the nearest are named.
        Invalid: a reference is not ``VIEW:FEATURE``, two different definitions share a name, two columns collide, or
            on-demand views need one another in a circle.
    """
    items = _listed(wanted)
    names = _Names(items, find, root)
    chosen: dict[tuple[str, str], FeatureView | OnDemand] = {}
    services: dict[str, FeatureService] = {}
    for item in items:
        definition, features = names.parse(item)
        references = [(definition, features)]
        if isinstance(definition, FeatureService):
            services[definition.name] = definition
            references = [names.parse(each) for each in definition.features]
        for view, some in references:
            if isinstance(view, FeatureService):
                raise Invalid(f"{view.name!r} is a feature service, and a service holds no other. Name its features.")
            chosen.update(((view.name, feature), view) for feature in some)
    if not chosen:
        raise Invalid("No features are asked for. Name views or references such as 'weather:*'.")
    columns = _columns([(view, feature) for (_, feature), view in chosen.items()], full_names, taken)
    return _planned(columns, names, tuple(services.values()), taken)


def select_all(views: Iterable[FeatureView], *, full_names: bool = False) -> list[Selected]:
    """All features of ``views``.

    Raises:
        Invalid: as ``resolve``.
    """
    return list(resolve(views, full_names=full_names).read)


def _listed(wanted: object) -> list[Any]:
    if isinstance(wanted, (*_DEFINED, str)):
        return [wanted]
    if not isinstance(wanted, Iterable):
        raise Invalid(f"{wanted!r} names no features. Give a view, 'weather:*' or 'weather:temp', or a list of such.")
    return list(wanted)


class _Names:
    """Definitions by name: those at hand, then those that are found."""

    def __init__(self, items: Iterable[object], find: Find | None, root: Path | None) -> None:
        self._find, self._root = find, root
        self._known: dict[str, Definition] = {}
        self._data: dict[str, object] = {}
        for item in items:
            if isinstance(item, _DEFINED):
                self._add(item)

    def _add(self, definition: Definition) -> None:
        if isinstance(definition, FeatureView) and self._root is not None:
            definition = definition.anchored(self._root)
        if self._known.setdefault(definition.name, definition) != definition:
            raise Invalid(f"Two different views are called {definition.name!r}. Rename one.")
        self._note_data(definition)
        for each in getattr(definition, "given", ()):
            self._add(each)

    def __getitem__(self, name: str) -> Definition:
        if name not in self._known:
            if self._find is None:
                raise NotFound("feature view or service", name, self._known)
            found = self._with_data(self._find(name))
            if any(each.name == found.name and each.digest != found.digest for each in self._known.values()):
                raise Invalid(f"Two versions of {found.name!r} are asked for at once. Ask for one of them.")
            self._known[name] = found
        return self._known[name]

    def _with_data(self, found: Definition) -> Definition:
        """A stored view reads its own frames; one that another view has as well is kept once for all.

        Where two views have different frames for sources of one name, each keeps its own, and ``leaves_of`` refuses them.
        """
        if isinstance(found, FeatureView):
            handed = [
                leaf for leaf in found.source.leaves if not isinstance(leaf.data, str) and leaf.name in self._data
            ]
            found = found.bound({leaf.name: self._data[leaf.name] for leaf in handed if self._is_known(leaf)})
            self._note_data(found)
        return found

    def _is_known(self, leaf: Source) -> bool:
        """Whether the frame of a stored view, if it has one, holds what that of another view of here does."""
        from trivet.features.sources import same_data

        known = self._data[leaf.name]
        return leaf.data is None or leaf.data is known or same_data(leaf, leaf.bound({leaf.name: known}))

    def _note_data(self, definition: Definition) -> None:
        for leaf in definition.source.leaves if isinstance(definition, FeatureView) else ():
            if leaf.data is not None and not isinstance(leaf.data, str):
                self._data.setdefault(leaf.name, leaf.data)

    def parse(self, item: object) -> tuple[Definition, list[str]]:
        """A definition and the features of it that are named."""
        if isinstance(item, _DEFINED):
            return self[item.name], _features(item)
        name, colon, feature = item.partition(":") if isinstance(item, str) else ("", "", "")
        if not name or bool(colon) != bool(feature):
            raise Invalid(f"{item!r} names no features. Give a view, 'weather:*' or 'weather:temp'.")
        definition = self[name]
        if feature in ("", "*"):
            return definition, _features(definition)
        if isinstance(definition, FeatureService):
            raise Invalid(f"{name!r} is a feature service, which is asked for as a whole: give {name!r}.")
        if feature not in definition.features:
            raise NotFound("feature", f"{name}:{feature}", [f"{name}:{each}" for each in definition.features])
        return definition, [feature]


def _features(definition: Definition) -> list[str]:
    return [] if isinstance(definition, FeatureService) else list(definition.features)


def _columns(
    chosen: list[tuple[FeatureView | OnDemand, str]], full_names: bool, taken: Sequence[str]
) -> list[Selected | Computed]:
    names = [f"{view.name}__{feature}" if full_names else feature for view, feature in chosen]
    many = Counter([*taken, *names])
    for (view, feature), name in zip(chosen, names, strict=True):
        if many[name] > 1:
            others = [f"{v.name}:{f}" for (v, f), n in zip(chosen, names, strict=True) if n == name and v is not view]
            clash = f"feature {others[0]!r}" if others else f"a column of the spine called {name!r}"
            offer = "Rename one." if full_names else "Pass full_names=True for columns named 'view__feature'."
            raise Invalid(f"Feature '{view.name}:{feature}' collides with {clash}. {offer}")
    return [
        Selected(view, feature, name) if isinstance(view, FeatureView) else Computed(view, feature, name)
        for (view, feature), name in zip(chosen, names, strict=True)
    ]


def _planned(
    columns: list[Selected | Computed], names: _Names, services: tuple[FeatureService, ...], taken: Sequence[str]
) -> Selection:
    """What must be read and computed for ``columns``."""
    read = {each.reference: each for each in columns if isinstance(each, Selected)}
    steps: dict[str, OnDemand] = {}

    def need(view: OnDemand, path: tuple[str, ...]) -> None:
        if view.name in path:
            raise Invalid(f"On-demand views need one another in a circle: {' > '.join([*path, view.name])}. Break it.")
        if view.name in steps:
            return
        for each in view.inputs:
            found, [feature] = names.parse(each.reference)
            if isinstance(found, OnDemand):
                need(found, (*path, view.name))
            elif isinstance(found, FeatureView):
                read.setdefault(each.reference, Selected(found, feature, each.reference))
        steps[view.name] = view

    for each in columns:
        if isinstance(each, Computed):
            need(each.view, ())
    if hidden := [each.column for each in read.values() if each.column == each.reference and each.column in taken]:
        raise Invalid(f"The spine has a column called {hidden[0]!r}, as a feature that is read. Rename it.")
    return Selection(tuple(columns), tuple(read.values()), tuple(steps.values()), services)
