"""Reading features at prediction time: rows of the online store, judged by the rule of the training set.

Nothing here but dictionaries: this is the hot path, and all views are one question to the store. The store keeps what was
known; whether it is still good is decided now, at the moment of the prediction, exactly as the training set decided it at the
moment of each row. ``trivet.features.batch`` judges by the same rule, columns at a time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import msgspec

from trivet.errors import Invalid
from trivet.features.aggregates import COUNTS
from trivet.features.definitions import Entity, FeatureView
from trivet.features.keytypes import typed_key
from trivet.features.online.contract import Found, OnlineStore, Row
from trivet.features.online.encoding import decode_row, encode_key
from trivet.features.references import Selected, Selection
from trivet.types import Micros, from_micros

if TYPE_CHECKING:
    from trivet.features.computed import Computation
    from trivet.features.live import LiveView

__all__ = ["Asked", "AskedView", "FeatureReader", "FeatureVector", "Seen", "Status", "check_moment"]

Status: TypeAlias = Literal["present", "null", "missing", "expired", "unmaterialized"]


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


class Asked(NamedTuple):
    """One feature to read, with what decides whether its value is still good."""

    place: int
    name: str
    column: str
    limit: Micros | None  # ttl of a latest value, window of an aggregate
    windowed: bool
    nothing: int | None  # what the aggregate of no rows is


class AskedView(NamedTuple):
    """One view to read: under which name, by which keys, what of it; and how, where events are pushed to it."""

    name: str
    entity: Entity
    features: list[Asked]
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
        self.views = [
            AskedView(
                view.online_name, view.entity, [_feature(each) for each in features if each.view == view], _live(view)
            )
            for view in views
        ]

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
        vectors = [FeatureVector({}, {}, {}) for _ in entities]
        keys = [[_key(entity, view.entity) for entity in entities] for view in self.views]
        asked = [[key for key in wanted if key is not None] for wanted in keys]
        for view, wanted, (watermark, rows) in zip(self.views, keys, self.seen(asked, at), strict=True):
            if len(rows) == len(wanted):
                for vector, row in zip(vectors, rows, strict=True):
                    _answer(vector, view.features, row, watermark, at)
            else:
                rest = iter(rows)
                for vector, key in zip(vectors, wanted, strict=True):
                    if key is None:
                        _fill_missing(vector, view.features, known=False, status="missing")
                    else:
                        _answer(vector, view.features, next(rest), watermark, at)
        if self._computation is not None:
            self._computation.fill(vectors, entities, request, at)
        return vectors

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
                seen[place] = Seen(at, live.rows(self.store, keys[place], states.rows, at, wanted))
        rest = zip(seen, self.views, found[: len(asked)], strict=True)
        return [own or _decoded(view.name, one, at) for own, view, one in rest]


def _decoded(name: str, found: Found, at: Micros) -> Seen:
    check_moment(name, at, found.watermark)
    return Seen(found.watermark, [None if data is None else decode_row(data) for data in found.rows])


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


def _answer(
    vector: FeatureVector, features: list[Asked], row: Row | None, watermark: Micros | None, at: Micros
) -> None:
    if row is not None:
        _fill(vector, features, row, row.as_of if watermark is None else max(row.as_of, watermark), at)
    elif watermark is None:
        _fill_missing(vector, features, known=False, status="unmaterialized")
    else:
        _fill_missing(vector, features, known=True, status="missing")


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


def _key(entity: Mapping[str, Any], described: Entity) -> bytes | None:
    """The encoded key, or None where it has a null and belongs to no one."""
    keys = described.keys
    try:
        key = tuple([entity[name] for name in keys])
    except KeyError as exc:
        raise Invalid(f"The entity {dict(entity)!r} lacks the key {exc.args[0]!r}. Give {', '.join(keys)}.") from exc
    if None in key:
        return None
    if described.typed:
        return encode_key(typed_key(described, key))
    return encode_key(tuple([part.isoformat() if isinstance(part, date) else part for part in key]))


def _fill(vector: FeatureVector, features: list[Asked], row: Row, as_of: Micros, at: Micros) -> None:
    values, times, status = vector.values, vector.times, vector.status
    for place, name, _, limit, windowed, _ in features:
        value, time = row.values[place], as_of if windowed else row.times[place]
        times[name] = time
        if time is None or (time > at and not windowed):  # never seen, or not yet at that moment
            values[name], times[name], status[name] = None, None, "missing"
        elif limit is not None and time <= at - limit:
            values[name], status[name] = None, "expired"
        else:
            values[name], status[name] = value, "null" if value is None else "present"


def _fill_missing(vector: FeatureVector, features: list[Asked], *, known: bool, status: Status) -> None:
    """Of a key that was never seen an aggregate counts nothing, as in training; of no key nothing is known."""
    for feature in features:
        vector.values[feature.name] = feature.nothing if known else None
        vector.times[feature.name] = None
        vector.status[feature.name] = status
