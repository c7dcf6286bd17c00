"""What an edit of a definition changes, in words, and what that means to those who use it.

A pure comparison of two declarations of one name. Each change has an effect: ``safe`` alters no value that anyone
reads, ``values`` alters values under the same name, and ``breaking`` takes away what was asked for by name: a feature,
the keys of an entity, an answer without a new request value. Who is affected is ``trivet.features.usage``'s business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import unified_diff
from typing import Any, Literal, TypeAlias

import msgspec

from trivet.features.definitions import Entity, FeatureView, Source
from trivet.features.functions import Portable
from trivet.features.on_demand import OnDemand
from trivet.features.references import Definition
from trivet.features.services import FeatureService
from trivet.types import duration_text

__all__ = ["Change", "Effect", "Expand", "differences", "worst"]

Effect: TypeAlias = Literal["safe", "values", "breaking"]
Expand: TypeAlias = Callable[[str], Iterable[str]]
"""From ``"weather:*"`` to the references that it means now."""
_EFFECTS: tuple[Effect, ...] = ("safe", "values", "breaking")
_SOURCE_WORDS = {
    "path": "data", "event_time": "event time", "known_at": "known-at column", "known_after": "known after",
    "created": "created column", "column_times": "times of columns", "timezone": "zone", "order": "order",
    "personal": "personal data", "ambiguous": "rule for ambiguous times", "nonexistent": "rule for nonexistent times",
    "table": "table", "entry": "function",
}  # fmt: skip


class Change(msgspec.Struct, frozen=True, omit_defaults=True):
    """One difference between two versions.

    Attributes:
        what: a sentence's middle: ``"feature temp is gone"``.
        effect: ``safe``, ``values`` or ``breaking``.
        features: whom it touches, by their short names; empty for everything.
        diff: of text, the lines that were taken out and put in.
    """

    what: str
    effect: Effect
    features: tuple[str, ...] = ()
    diff: str = ""

    def __str__(self) -> str:
        mark = "" if self.effect == "safe" else f" [{'changes values' if self.effect == 'values' else 'breaking'}]"
        return "\n".join([f"{self.what}{mark}", *(f"    {line}" for line in self.diff.splitlines())])


def worst(changes: Iterable[Change]) -> Effect:
    """The gravest effect; ``safe`` of none.

    Example:
        >>> worst([Change("a", "values"), Change("b", "safe")])
        'values'
    """
    return _EFFECTS[max((_EFFECTS.index(each.effect) for each in changes), default=0)]


def differences(before: Definition, after: Definition, expand: tuple[Expand, Expand] | None = None) -> list[Change]:
    """What differs, the gravest first; nothing where the two are the same.

    Args:
        before: the definition that is current.
        after: the one that would be.
        expand: of services: what ``"weather:*"`` means before and after; taken by the letter without.

    Example:
        >>> from trivet.features import Entity, FeatureView, Source, mean
        >>> def weather(window, **options):
        ...     source = Source("readings", "readings.parquet", event_time="hour")
        ...     features = {"wind": mean("wind", window)}
        ...     return FeatureView("weather", entity=Entity("place"), source=source, features=features, **options)
        >>> for change in differences(weather("1h"), weather("3h", owner="ada")):
        ...     print(change)
        feature wind was mean('wind', '1h'), is mean('wind', '3h') [changes values]
        owner was '', is 'ada'
    """
    found: list[Change] = []
    if isinstance(before, FeatureView) and isinstance(after, FeatureView):
        found += _view(before, after)
    elif isinstance(before, OnDemand) and isinstance(after, OnDemand):
        found += _on_demand(before, after)
    elif isinstance(before, FeatureService) and isinstance(after, FeatureService):
        found += _service(before, after, expand or (_itself, _itself))
    found += _said(before, after)
    return sorted(found, key=lambda change: -_EFFECTS.index(change.effect))


def _view(before: FeatureView, after: FeatureView) -> Iterator[Change]:
    yield from _entity(before.entity, after.entity)
    old, new = ({name: str(each) for name, each in view.features.items()} for view in (before, after))
    yield from _features(old, new, list(before.features) != list(after.features))
    both = [name for name in before.features if name in after.features]
    aged = tuple(name for name in both if old[name] == new[name] and before.ttl_of(name) != after.ttl_of(name))
    if before.ttl != after.ttl:
        what = f"ttl was {_length(before.ttl)}, is {_length(after.ttl)}"
        yield Change(what, "values" if aged else "safe", aged)
    yield from (_onto(each, both) for each in _source(before.source, after.source))


def _onto(change: Change, features: list[str]) -> Change:
    return msgspec.structs.replace(change, features=tuple(features))


def _length(ttl: int | None) -> str:
    return "none" if ttl is None else duration_text(ttl)


def _entity(before: Entity, after: Entity) -> Iterator[Change]:
    if before.keys != after.keys:
        was, now = (", ".join(each.keys) for each in (before, after))
        yield Change(f"the key of {after.name} was {was}, is {now}", "breaking")
    elif before.types != after.types:
        was, now = (", ".join(kind or "any" for kind in each.types) for each in (before, after))
        yield Change(f"the type of {', '.join(after.keys)} was {was}, is {now}", "values")
    if before.name != after.name:
        yield Change(f"the entity was {before.name}, is {after.name}", "breaking")


def _features(old: Mapping[str, str], new: Mapping[str, str], other_order: bool) -> Iterator[Change]:
    gone, added = [name for name in old if name not in new], [name for name in new if name not in old]
    for name in gone:
        called = next((other for other in added if new[other] == old[name]), None)
        if called is None:
            yield Change(f"feature {name} is gone", "breaking", (name,))
        else:
            added.remove(called)
            yield Change(f"feature {name} is now called {called}", "breaking", (name,))
    for name in new:
        if name in added:
            yield Change(f"feature {name} is new: {new[name]}", "safe", (name,))
        elif name in old and old[name] != new[name]:
            yield Change(f"feature {name} was {old[name]}, is {new[name]}", "values", (name,))
    if other_order and set(old) == set(new):
        yield Change("the features stand in another order", "safe")


def _source(before: Source, after: Source) -> Iterator[Change]:
    if before.name != after.name:
        yield Change(f"the source was {before.name}, is {after.name}", "values")
    old, new, label = before.to_spec(), after.to_spec(), f"source {after.name}: "
    for field, word in _SOURCE_WORDS.items():
        if old.get(field) != new.get(field):
            yield Change(f"{label}{word} was {_shown(old.get(field))}, is {_shown(new.get(field))}", "values")
    for word, was, now in (("SQL", before.sql, after.sql), ("query", before.query, after.query)):
        if was != now:
            yield Change(f"{label}the {word} differs", "values", diff=_diff(was or "", now or ""))
    yield from _function(f"{label}the function", before.transform, after.transform)
    yield from _function(f"{label}the function that reads it", before.function, after.function)
    yield from _inputs(label, before, after)
    if before.view is not None and after.view is not None:
        for change in _view(before.view, after.view):
            effect: Effect = "safe" if change.effect == "safe" else "values"
            yield Change(f"view {after.view.name}, which it reads: {change.what}", effect, diff=change.diff)
    elif before.view is not after.view:
        yield Change(f"{label}its rows are{'' if after.view else ' no longer'} the log of a view", "values")


def _inputs(label: str, before: Source, after: Source) -> Iterator[Change]:
    old, new = ({each.name: each for each in source.inputs} for source in (before, after))
    for name in (*old, *(each for each in new if each not in old)):
        if name not in new or name not in old:
            yield Change(f"{label}it {'now reads' if name in new else 'no longer reads'} {name}", "values")
        else:
            yield from _source(old[name], new[name])


def _function(label: str, before: Portable | None, after: Portable | None) -> Iterator[Change]:
    if before != after:
        was, now = (each.text if each is not None else "" for each in (before, after))
        yield Change(f"{label} differs", "values", diff=_diff(was, now))


def _on_demand(before: OnDemand, after: OnDemand) -> Iterator[Change]:
    for name, kind in before.outputs.items():
        if name not in after.outputs:
            yield Change(f"feature {name} is gone", "breaking", (name,))
        elif after.outputs[name] != kind:
            yield Change(f"feature {name} was of type {kind}, is {after.outputs[name]}", "values", (name,))
    for name, kind in after.outputs.items():
        if name not in before.outputs:
            yield Change(f"feature {name} is new, of type {kind}", "safe", (name,))
    for name in (*before.request, *(each for each in after.request if each not in before.request)):
        was, now = before.request.get(name), after.request.get(name)
        if was is None:
            yield Change(f"whoever asks must send {name} ({now})", "breaking")
        elif now is None:
            yield Change(f"{name} is no longer asked of the request", "safe")
        elif was != now:
            yield Change(f"the request's {name} was {was}, is {now}", "breaking")
    old, new = ({each.parameter: f"{each.reference} ({each.type})" for each in view.inputs} for view in (before, after))
    for name in (*old, *(each for each in new if each not in old)):
        if old.get(name) != new.get(name):
            yield Change(f"input {name} was {old.get(name, 'none')}, is {new.get(name, 'none')}", "values")
    yield from _function("the function", before.function, after.function)


def _service(before: FeatureService, after: FeatureService, expand: tuple[Expand, Expand]) -> Iterator[Change]:
    old, new = (_expanded(each.features, meant) for each, meant in zip((before, after), expand, strict=True))
    for name in old:
        if name not in new:
            yield Change(f"feature {name} is no longer part of it", "breaking", (name,))
    for name in new:
        if name not in old:
            yield Change(f"feature {name} is part of it", "safe", (name,))
    if before.features != after.features and set(old) == set(new):
        yield Change(f"its features were {', '.join(before.features)}, are {', '.join(after.features)}", "safe")


def _expanded(references: Iterable[str], expand: Expand) -> list[str]:
    return list(dict.fromkeys(each for reference in references for each in expand(reference)))


def _itself(reference: str) -> Iterable[str]:
    return (reference,)


def _said(before: Definition, after: Definition) -> Iterator[Change]:
    for word in ("description", "owner"):
        was, now = getattr(before, word), getattr(after, word)
        if was != now:
            yield Change(f"{word} was {was!r}, is {now!r}", "safe")
    was, now = (", ".join(f"{k}={v}" if v else k for k, v in (each.tags or {}).items()) for each in (before, after))
    if was != now:
        yield Change(f"tags were {was or 'none'}, are {now or 'none'}", "safe")


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key}={_shown(each)}" for key, each in value.items())
    return "none" if value is None else ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _diff(before: str, after: str) -> str:
    lines = list(unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=2))
    return "\n".join(line for line in lines[2:] if not line.startswith("@@"))
