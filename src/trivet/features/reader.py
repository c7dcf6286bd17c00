"""Reading features at prediction time: rows of the online store, judged by the rule of the training set.

This is the hot path: all views are one question to the store, and what depends on the definitions alone is prepared when a
reader is made. The store keeps what was known; whether it is still good is decided now, at the moment of the prediction, by
``trivet.features.judged``, exactly as the training set decided it at the moment of each row. ``trivet.features.batch`` judges
by the same rule, columns at a time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import repeat
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
from trivet.features.storedkeys import stored_types
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
            ``unmaterialized``: the store has nothing of this view, or has lost it, so nothing can be said. What is
            computed on demand and null says which of its inputs is why: ``unmaterialized``, ``missing``, ``expired``.
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
        self._names = [view.name for view in self.views]
        self._pushed = [(place, view.live) for place, view in enumerate(self.views) if view.live is not None]
        self.entities = [view.entity for view in self.views]
        self._untyped = any(None in entity.types for entity in self.entities)
        self._arrange()
        self._read = [feature.name for view in self.views for feature in view.features]
        self.names = tuple(
            self._read if self._computation is None else (each.reference for each in self.selection or ())
        )

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
        vectors = [
            FeatureVector(*(dict(zip(self._read, each, strict=True)) for each in judged))
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

    def learn(self) -> bool:
        """Take over the types that the store has for keys without declared ones into ``entities``; whether that changed any."""
        if not self._untyped:
            return False
        entities = stored_types(self.store, [(view.name, view.entity) for view in self.views])
        changed, self.entities = entities != self.entities, entities
        self._arrange()
        return changed

    def _arrange(self) -> None:
        """Prepare the keys of each different entity once for all its views."""
        different = list(dict.fromkeys(self.entities))
        declared = {view.entity for view in self.views}
        keys = [_Keys(entity, "is declared as" if entity in declared else "is stored as") for entity in different]
        self._keyed = keys, [different.index(entity) for entity in self.entities]
        self._unsure = any(None in entity.types for entity in different)

    def _judged(self, entities: Sequence[Mapping[str, Any]], at: Micros) -> Sequence[Judged]:
        """What each entity has of all views; types of keys are asked for where nothing is found without them."""
        judged: Sequence[Judged] | None = None
        try:
            judged = self._found(entities, at)
        except Invalid:
            if not self.learn():  # the store may have been filled anew, with keys of another type
                raise
        if judged is None:  # outside of the handler, so that a sentence has no second one behind it
            return self._found(entities, at)
        if self._unsure and any("missing" in each.status for each in judged) and self.learn():
            return self._found(entities, at)
        return judged

    def _found(self, entities: Sequence[Mapping[str, Any]], at: Micros) -> Sequence[Judged]:
        """What each entity has of all views, one view after the other."""
        makers, places = self._keyed
        keyed = [[key(each) for each in entities] for key in makers]
        asked = [[each for each in keys if each is not None] for keys in keyed]
        found = self.seen([asked[which] for which in places], at)
        if len(found) == 1:
            return _column(self.views[0].judgement, keyed[0], *found[0], at)
        values: list[list[Any]] = [[] for _ in entities]
        times: list[list[Micros | None]] = [[] for _ in entities]
        status: list[list[Status]] = [[] for _ in entities]
        for view, which, seen in zip(self.views, places, found, strict=True):
            column = _column(view.judgement, keyed[which], *seen, at)
            for place, part in enumerate(column):
                values[place] += part.values
                times[place] += part.times
                status[place] += part.status
        return list(map(Judged, values, times, status))

    def seen(self, keys: Sequence[Sequence[bytes]], at: Micros) -> list[Seen]:
        """The rows of some keys of each view, in one question to the store.

        Raises:
            Invalid: ``at`` is before the moment that the store was brought up to.
        """
        asked = [*zip(self._names, keys, strict=True), *((live.name, keys[place]) for place, live in self._pushed)]
        found = self.store.get(asked)
        if not self._pushed:
            return list(map(_decoded, self._names, found, repeat(at)))
        pushed = self._from_states(keys, found[len(self.views) :], at)
        own = zip(self._names, found[: len(self.views)], strict=True)
        return [pushed.get(place) or _decoded(name, one, at) for place, (name, one) in enumerate(own)]

    def _from_states(self, keys: Sequence[Sequence[bytes]], found: Sequence[Found], at: Micros) -> dict[int, Seen]:
        """The rows of views that were pushed to, by their place among the views."""
        seen: dict[int, Seen] = {}
        for (place, live), states in zip(self._pushed, found, strict=True):
            if states.watermark is not None:
                check_moment(live.name, at + live.slack, states.watermark)
                wanted = [feature.place for feature in self.views[place].features]
                seen[place] = Seen(at, live.rows(self.store, keys[place], states.rows, at, wanted))
        return seen


def _decoded(name: str, found: Found, at: Micros) -> Seen:
    watermark, rows = found
    if watermark is not None and at < watermark:
        check_moment(name, at, watermark)
    return Seen(watermark, [None if data is None else decode_row(data) for data in rows])


def _live(view: FeatureView) -> LiveView | None:
    """How to read a view to which events may be pushed: its source is, or looks like, a table of the project."""
    source = view.source
    if source.view is None and (source.created is None or not isinstance(source.data, str)):
        return None
    from trivet.features.live import LiveView, why_not

    return LiveView(view) if why_not(view) is None else None


def _computation(selection: Selection) -> Computation:
    from trivet.features.computed import Computation

    return Computation(selection)


def _asked(view: FeatureView, features: list[Asked]) -> AskedView:
    return AskedView(view.online_name, view.entity, features, Judgement(features), _live(view))


def _column(
    judgement: Judgement, keys: Sequence[bytes | None], watermark: Micros | None, rows: Sequence[Row | None], at: Micros
) -> list[Judged]:
    """What one view has for each key, None among them where there is none."""
    judge = judgement.row
    if None not in rows:
        found = [judge(row, watermark, at) for row in rows if row is not None]
    else:
        absent = judgement.absent("unmaterialized" if watermark is None else "missing", known=watermark is not None)
        found = [absent if row is None else judge(row, watermark, at) for row in rows]
    if len(rows) == len(keys):
        return found
    nobody, rest = judgement.absent("missing", known=False), iter(found)
    return [nobody if key is None else next(rest) for key in keys]


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
    """The encoded keys of one entity, and how their types are known."""

    def __init__(self, entity: Entity, known: str) -> None:
        self._entity, self._names, self._known = entity, entity.keys, known
        self._exact = tuple(None if declared is None else _EXACT.get(declared) for declared in entity.types)

    def __call__(self, given: Mapping[str, Any]) -> bytes | None:
        """The encoded key, or None where it has a null and belongs to no one."""
        try:
            key = tuple([given[name] for name in self._names])
        except KeyError as exc:
            needed = ", ".join(self._names)
            raise Invalid(f"The entity {dict(given)!r} lacks the key {exc.args[0]!r}. Give {needed}.") from exc
        if None in key:
            return None
        if tuple(map(type, key)) == self._exact:
            return encode_key(key)
        if self._entity.typed:
            key = typed_key(self._entity, key, known=self._known)
        return encode_key(online_key(key))
