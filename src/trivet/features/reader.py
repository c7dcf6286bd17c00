"""Reading features at prediction time: rows of the online store, judged by the rule of the training set.

This is the hot path: all views are one question to the store, and what depends on the definitions alone is prepared when a
reader is made. The store keeps what was known; whether it is still good is decided now, at the moment of the prediction, by
``trivet.features.judged``, exactly as the training set decided it at the moment of each row. ``trivet.features.batch`` judges
by the same rule, columns at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from trivet.errors import Invalid
from trivet.features.aggregates import COUNTS
from trivet.features.definitions import Entity, FeatureView
from trivet.features.judged import Asked, Judged, Judgement, Status
from trivet.features.keytypes import typed_key
from trivet.features.online.contract import Found, OnlineStore, Row
from trivet.features.online.encoding import decode_row, encode_key, online_key
from trivet.features.references import Selected, Selection
from trivet.types import Micros, from_micros

if TYPE_CHECKING:
    from trivet.features.computed import Computation
    from trivet.features.live import LiveView

__all__ = ["Asked", "AskedView", "FeatureReader", "FeatureVector", "Seen", "Status", "check_moment"]


class FeatureVector(msgspec.Struct):
    """The features of one request, by reference: ``view:feature``.

    Attributes:
        values: as a training set of that moment would have them.
        times: event time of the row that a latest value came from; for an aggregate the moment it was computed for.
        status: ``present``; ``null``: known to be empty; ``missing``: nothing was ever seen for this key;
            ``expired``: older than its time to live, or an aggregate so old that its window has passed;
            ``unmaterialized``: the store has nothing of this view, or has lost it, so nothing can be said.
    """

    values: dict[str, Any]
    times: dict[str, Micros | None]
    status: dict[str, Status]

    def __repr__(self) -> str:
        """Each feature with its value, and why there is none."""
        said = (f"{name}={value!r}" + self._reason(name) for name, value in self.values.items())
        return f"<FeatureVector {', '.join(said)}>"

    def _reason(self, name: str) -> str:
        status = self.status.get(name, "present")
        return "" if status == "present" else f" ({status})"


class AskedView(NamedTuple):
    """One view to read: under which name, by which keys, what of it; and how, where events are pushed to it."""

    name: str
    entity: Entity
    features: list[Asked]
    judgement: Judgement
    live: LiveView | None = None


class Seen(NamedTuple):
    """What one view has: up to when, None if never, and a row or None for each key."""

    watermark: Micros | None
    rows: list[Row | None]


class FeatureReader:
    """Answers feature vectors for entities. Safe to share among threads if the store is.

    Args:
        features: what to read, and with a selection what to compute of that.
        store: where from.
    """

    def __init__(self, features: Sequence[Selected] | Selection, store: OnlineStore) -> None:
        self.store = store
        self._computation: Computation | None = None
        self.selection = features if isinstance(features, Selection) else None
        if isinstance(features, Selection):
            self._computation = _computation(features) if features.steps else None
            features = features.read
        for each in features:
            each.view.check_served(each.feature)
        views = dict.fromkeys(each.view for each in features)
        self.views = [_asked(view, [_feature(each) for each in features if each.view == view]) for view in views]
        self._keys = {view.entity: _Keys(view.entity) for view in self.views}
        read = [feature.name for view in self.views for feature in view.features]
        self.names = tuple(read if self._computation is None else (each.reference for each in self.selection or ()))

    def __call__(
        self, entities: Sequence[Mapping[str, Any]], at: Micros, request: Sequence[Mapping[str, Any]] = ()
    ) -> list[FeatureVector]:
        """The features of each of ``entities`` at the moment ``at``.

        Args:
            entities: whom it is about, each with its keys.
            at: the moment.
            request: what on-demand views ask the caller for, for each of ``entities``.

        Raises:
            Invalid: a request value is missing, an on-demand function fails, an entity lacks a key, or ``at`` is before
                the moment that the store was brought up to: it keeps one row for each key, so it cannot tell what was
                known before.
        """
        names = [feature.name for view in self.views for feature in view.features]
        vectors = [
            FeatureVector(*(dict(zip(names, each, strict=True)) for each in judged))
            for judged in self._judged(entities, at)
        ]
        if self._computation is not None:
            self._computation.fill(vectors, entities, request, at)
        return vectors

    def rows(
        self, entities: Sequence[Mapping[str, Any]], at: Micros, request: Sequence[Mapping[str, Any]] = ()
    ) -> Sequence[Judged]:
        """The same as sequences in the order of ``names``, which costs less where that order is used again and again."""
        if self._computation is None:
            return self._judged(entities, at)
        vectors = self(entities, at, request)
        return [
            Judged(
                [vector.values[name] for name in self.names],
                [vector.times[name] for name in self.names],
                [vector.status[name] for name in self.names],
            )
            for vector in vectors
        ]

    def _judged(self, entities: Sequence[Mapping[str, Any]], at: Micros) -> Sequence[Judged]:
        """What each entity has of all views, one view after the other."""
        keyed = {entity: [key(each) for each in entities] for entity, key in self._keys.items()}
        asked = {entity: [key for key in keys if key is not None] for entity, keys in keyed.items()}
        found = self.seen([asked[view.entity] for view in self.views], at)
        columns = [
            _column(view.judgement, keyed[view.entity], seen, at) for view, seen in zip(self.views, found, strict=True)
        ]
        if len(columns) == 1:
            return columns[0]
        if not columns:  # what is computed of the request alone
            return [Judged((), (), ())] * len(entities)
        return [Judged(*map(_joined, zip(*parts, strict=True))) for parts in zip(*columns, strict=True)]

    def seen(self, keys: Sequence[Sequence[bytes]], at: Micros) -> list[Seen]:
        """The rows of some keys of each view, in one question to the store.

        Raises:
            Invalid: ``at`` is before the moment that the store was brought up to.
        """
        pushed = [(place, view.live) for place, view in enumerate(self.views) if view.live is not None]
        asked = [(view.name, own) for view, own in zip(self.views, keys, strict=True)]
        found = self.store.get([*asked, *((live.name, keys[place]) for place, live in pushed)])
        seen: list[Seen | None] = [None] * len(asked)
        for (place, live), states in zip(pushed, found[len(asked) :], strict=True):
            if states.watermark is not None:
                check_moment(live.name, at + live.slack, states.watermark)
                wanted = [feature.place for feature in self.views[place].features]
                seen[place] = Seen(at, [None if data is None else live.row(data, at, wanted) for data in states.rows])
        rest = zip(seen, self.views, found[: len(asked)], strict=True)
        return [own or _decoded(view.name, one, at) for own, view, one in rest]


def _decoded(name: str, found: Found, at: Micros) -> Seen:
    check_moment(name, at, found.watermark)
    return Seen(found.watermark, [None if data is None else decode_row(data) for data in found.rows])


def _live(view: FeatureView) -> LiveView | None:
    """How to read a view to which events may be pushed: its source is, or looks like, a table of the project."""
    source = view.source
    if source.created is None or not isinstance(source.data, str) or source.derived or source.view is not None:
        return None
    from trivet.features.live import LiveView

    return LiveView(view)


def _computation(selection: Selection) -> Computation:
    from trivet.features.computed import Computation

    return Computation(selection)


def _asked(view: FeatureView, features: list[Asked]) -> AskedView:
    return AskedView(view.online_name, view.entity, features, Judgement(features), _live(view))


def _column(judgement: Judgement, keys: Sequence[bytes | None], seen: Seen, at: Micros) -> list[Judged]:
    """What one view has for each key, None among them where there is none."""
    watermark, rows = seen
    absent = judgement.absent("unmaterialized" if watermark is None else "missing", known=watermark is not None)
    found = [absent if row is None else judgement.row(row, watermark, at) for row in rows]
    if len(rows) == len(keys):
        return found
    nobody, rest = judgement.absent("missing", known=False), iter(found)
    return [nobody if key is None else next(rest) for key in keys]


def _joined(parts: Iterable[Sequence[Any]]) -> list[Any]:
    return [each for part in parts for each in part]


def check_moment(view: str, at: Micros, watermark: Micros | None) -> None:
    """Refuse a question about a moment before the store's.

    Raises:
        Invalid: ``at`` is before ``watermark``.
    """
    if watermark is not None and at < watermark:
        raise Invalid(
            f"The online store has {view.partition('@')[0]!r} as of {from_micros(watermark):%Y-%m-%d %H:%M:%S} UTC, so it "
            f"cannot say what was known at {from_micros(at):%Y-%m-%d %H:%M:%S} UTC. Ask about that moment or later; a "
            "training set answers about the past."
        )


def _feature(selected: Selected) -> Asked:
    view, own = selected.view, selected.aggregate
    limit = own.window if own.windowed else view.ttl_of(selected.feature)
    if limit is not None and not own.windowed:
        limit += own.lag  # a lagged value ages from the moment that it looks at
    nothing = 0 if own.operation in COUNTS else None
    place = list(view.features).index(selected.feature)
    return Asked(place, selected.reference, selected.column, limit, own.windowed, nothing)


_EXACT = {"string": str, "int": int, "bool": bool}


class _Keys:
    """The encoded keys of one entity."""

    def __init__(self, entity: Entity) -> None:
        self._entity, self._names = entity, entity.keys
        self._exact = [None if declared is None else _EXACT.get(declared) for declared in entity.types]

    def __call__(self, given: Mapping[str, Any]) -> bytes | None:
        """The encoded key, or None where it has a null and belongs to no one."""
        try:
            key = tuple([given[name] for name in self._names])
        except KeyError as exc:
            needed = ", ".join(self._names)
            raise Invalid(f"The entity {dict(given)!r} lacks the key {exc.args[0]!r}. Give {needed}.") from exc
        if None in key:
            return None
        if [type(part) for part in key] == self._exact:
            return encode_key(key)
        if self._entity.typed:
            return encode_key(typed_key(self._entity, key))
        return encode_key(online_key(key))
