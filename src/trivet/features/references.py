"""Which features a training set or a model asks for: views, ``"weather:*"`` and ``"planes:seats"``.

Resolves references against views at hand and names the columns they become. Where stored views come from is
``trivet.features.catalogue``'s business.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from trivet.errors import Invalid, NotFound
from trivet.features.aggregates import Aggregate
from trivet.features.definitions import FeatureView

__all__ = ["Selected", "resolve", "select_all"]


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


def resolve(
    wanted: Iterable[FeatureView | str] | FeatureView | str,
    find: Callable[[str], FeatureView] | None = None,
    *,
    full_names: bool = False,
    taken: Sequence[str] = (),
) -> list[Selected]:
    """The features that ``wanted`` names, in that order, each once.

    Args:
        wanted: views (all their features) and references, or a single one.
        find: answers the view of a name; without it only views among ``wanted`` are known.
        full_names: call columns ``view__feature``.
        taken: columns that exist already, with which none may collide.

    Raises:
        NotFound: no such view or feature; the nearest are named.
        Invalid: a reference is not ``VIEW:FEATURE``, two different views share a name, or two columns collide.
    """
    items = [wanted] if isinstance(wanted, FeatureView | str) else list(wanted)
    views = _named(item for item in items if isinstance(item, FeatureView))
    chosen: dict[tuple[str, str], FeatureView] = {}
    for item in items:
        if isinstance(item, FeatureView):
            view, features = item, list(item.features)
        else:
            view, features = _parse(item, views, find)
        chosen.update(((view.name, feature), view) for feature in features)
    if not chosen:
        raise Invalid("No features are asked for. Name views or references such as 'weather:*'.")
    return _columns([(view, feature) for (_, feature), view in chosen.items()], full_names, taken)


def select_all(views: Iterable[FeatureView], *, full_names: bool = False) -> list[Selected]:
    """All features of ``views``.

    Raises:
        Invalid: as ``resolve``.
    """
    return resolve(views, full_names=full_names)


def _named(views: Iterable[FeatureView]) -> dict[str, FeatureView]:
    named: dict[str, FeatureView] = {}
    for view in views:
        if named.setdefault(view.name, view) != view:
            raise Invalid(f"Two different views are called {view.name!r}. Rename one.")
    return named


def _parse(
    item: object, views: dict[str, FeatureView], find: Callable[[str], FeatureView] | None
) -> tuple[FeatureView, list[str]]:
    name, colon, feature = item.partition(":") if isinstance(item, str) else ("", "", "")
    if not name or bool(colon) != bool(feature):
        raise Invalid(f"{item!r} names no features. Give a view, 'weather:*' or 'weather:temp'.")
    if name not in views:
        if find is None:
            raise NotFound("feature view", name, views)
        views[name] = find(name)
    view = views[name]
    if feature in ("", "*"):
        return view, list(view.features)
    if feature not in view.features:
        raise NotFound("feature", f"{name}:{feature}", [f"{name}:{each}" for each in view.features])
    return view, [feature]


def _columns(chosen: list[tuple[FeatureView, str]], full_names: bool, taken: Sequence[str]) -> list[Selected]:
    names = [f"{view.name}__{feature}" if full_names else feature for view, feature in chosen]
    many = Counter([*taken, *names])
    for (view, feature), name in zip(chosen, names, strict=True):
        if many[name] > 1:
            others = [f"{v.name}:{f}" for (v, f), n in zip(chosen, names, strict=True) if n == name and v is not view]
            clash = f"feature {others[0]!r}" if others else f"a column of the spine called {name!r}"
            offer = "Rename one." if full_names else "Pass full_names=True for columns named 'view__feature'."
            raise Invalid(f"Feature '{view.name}:{feature}' collides with {clash}. {offer}")
    return [Selected(view, feature, name) for (view, feature), name in zip(chosen, names, strict=True)]
