"""Finding features by what they are called and what is said of them.

Every word that is asked for must occur: in names, tags, descriptions, columns, entities, sources. Where it occurs
decides the rank, by a sum that anyone can redo: a name counts more than a tag, a tag more than a description, the whole
word more than its beginning, its beginning more than a part. A word that occurs nowhere stands for the nearest words
that do, and what is found says so. Nothing is indexed: definitions are few, and reading them takes milliseconds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

import msgspec

from trivet.features.catalogue import Listed
from trivet.features.definitions import FeatureView, Source
from trivet.features.on_demand import OnDemand
from trivet.features.services import FeatureService

__all__ = ["Found", "find_features"]

_FEATURE, _NAME, _TAG, _SAID, _DETAIL = 8, 5, 4, 2, 1
_WHOLE, _START, _PART = 4, 3, 1
_WORD = re.compile(r"[^\W_]+")


class Found(msgspec.Struct, frozen=True):
    """A feature, or a service, that fits what was asked for.

    Attributes:
        reference: ``weather:temp``; of a service its name.
        name, kind, version: of the definition that it belongs to.
        entity: empty of on-demand views and services.
        declaration: how it is computed.
        score: the higher, the better it fits; 0 where no words were asked for.
        near: words that were asked for and stand for others: ``{"dealy": "delay"}``.
        deprecated: until when it may be used, and what to use instead, in words; empty where it may go on.
    """

    reference: str
    name: str
    kind: str
    version: int
    entity: str
    declaration: str
    description: str
    owner: str
    tags: dict[str, str]
    score: int = 0
    near: dict[str, str] = {}
    deprecated: str = ""

    def __str__(self) -> str:
        return f"{self.reference}  {self.declaration}"


def find_features(
    listed: Iterable[Listed],
    words: str = "",
    *,
    tag: str | None = None,
    owner: str | None = None,
    entity: str | None = None,
    kind: str | None = None,
) -> list[Found]:
    """The features that fit, the best first and equals by name.

    Args:
        listed: where to look.
        words: all must occur, whole or in part, in any order and case.
        tag: ``"live"``, or ``"team=ops"`` for a tag with a value.
        owner: who owns it, in any case.
        entity: what it describes.
        kind: ``feature_view``, ``on_demand`` or ``feature_service``.

    Example:
        >>> from datetime import UTC, datetime
        >>> from trivet.features import Entity, FeatureView, Source, mean
        >>> source = Source("flights", "flights.parquet", event_time="dep")
        >>> view = FeatureView("congestion", entity=Entity("origin"), source=source, features={"late_1h": mean("delay", "1h")})
        >>> stored = [Listed("congestion", 1, view, view.digest, datetime(2026, 1, 1, tzinfo=UTC), "ada", "")]
        >>> [each.reference for each in find_features(stored, "delay origin")], find_features(stored, "dealy")[0].near
        (['congestion:late_1h'], {'dealy': 'delay'})
    """
    chosen = [each for each in listed if _fits(each, tag, owner, entity, kind)]
    places = [(found, _places(found, each)) for each in chosen for found in _features(each)]
    asked = _WORD.findall(words.lower())
    ranked = _ranked(places, asked)
    if asked and not ranked:
        known = sorted({word for _, texts in places for text, _ in texts for word in _WORD.findall(text)})
        near = {word: next(iter(get_close_matches(word, known, 1, 0.7)), word) for word in asked}
        instead = {word: other for word, other in near.items() if word != other}
        ranked = _ranked(places, [near[word] for word in asked], instead) if instead else []
    return ranked


def _ranked(
    places: list[tuple[Found, list[tuple[str, int]]]], asked: list[str], near: Mapping[str, str] = {}
) -> list[Found]:
    found = []
    for feature, texts in places:
        scores = [max((_score(word, text) * weight for text, weight in texts), default=0) for word in asked]
        if all(scores):
            found.append(msgspec.structs.replace(feature, score=sum(scores), near=dict(near)))
    return sorted(found, key=lambda each: (-each.score, each.reference))


def _score(word: str, text: str) -> int:
    if word not in text:
        return 0
    parts = _WORD.findall(text)
    return _WHOLE if word in parts else _START if any(part.startswith(word) for part in parts) else _PART


def _fits(listed: Listed, tag: str | None, owner: str | None, entity: str | None, kind: str | None) -> bool:
    own = listed.definition
    tags = own.tags or {}
    name, sign, value = (tag or "").partition("=")
    return (
        (not tag or (name in tags and (not sign or tags[name] == value)))
        and (not owner or own.owner.lower() == owner.lower())
        and (not entity or (isinstance(own, FeatureView) and own.entity.name == entity))
        and (not kind or listed.kind == kind)
    )


def _features(listed: Listed) -> Iterator[Found]:
    own = listed.definition
    about: dict[str, Any] = {
        "name": listed.name,
        "kind": listed.kind,
        "version": listed.version,
        "entity": own.entity.name if isinstance(own, FeatureView) else "",
        "description": own.description,
        "owner": own.owner,
        "tags": dict(own.tags or {}),
    }
    if isinstance(own, FeatureService):
        yield Found(reference=listed.name, declaration=", ".join(own.features), **about)
    else:
        for name, feature in own.features.items():
            yield Found(reference=f"{listed.name}:{name}", declaration=str(feature), **about)


def _places(found: Found, listed: Listed) -> list[tuple[str, int]]:
    """Texts in which words are looked for, with their weights."""
    own, feature = listed.definition, found.reference.partition(":")[2]
    tags = " ".join(f"{name} {value}" for name, value in found.tags.items())
    details = [found.declaration, found.owner, found.entity, listed.kind]
    if isinstance(own, FeatureView):
        details += [*own.entity.keys, *own.features[feature].columns, *_sources(own.source)]
    elif isinstance(own, OnDemand):
        details += [*own.request, *(each.reference for each in own.inputs)]
    texts = [(feature, _FEATURE), (found.name, _NAME), (tags, _TAG), (found.description, _SAID)]
    return [(text.lower(), weight) for text, weight in [*texts, (" ".join(details), _DETAIL)] if text]


def _sources(source: Source) -> Iterator[str]:
    yield source.name
    yield from [source.data] if isinstance(source.data, str) else []
    yield from [source.function.entry] if source.function is not None else []
    for each in source.inputs:
        yield from _sources(each)
    if source.view is not None:
        yield source.view.name
        yield from _sources(source.view.source)
