"""Reading features at prediction time: rows of the online store, judged by the rule of the training set.

Nothing here but dictionaries: this is the hot path. The store keeps what was known; whether it is still good is
decided now, at the moment of the prediction, exactly as the training set decided it at the moment of each row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, Literal, NamedTuple, TypeAlias

import msgspec

from trivet.errors import Invalid
from trivet.features.aggregates import COUNTS
from trivet.features.online.contract import Key, OnlineStore, Row
from trivet.features.references import Selected
from trivet.types import Micros, from_micros

__all__ = ["FeatureReader", "FeatureVector", "Status"]

Status: TypeAlias = Literal["present", "null", "missing", "expired"]


class FeatureVector(msgspec.Struct):
    """The features of one request, by reference: ``view:feature``.

    Attributes:
        values: as a training set of that moment would have them.
        times: event time of the row that a latest value came from; for an aggregate the moment it was computed for.
        status: ``present``; ``null``: known to be empty; ``missing``: nothing was ever seen for this key;
            ``expired``: older than its time to live, or an aggregate so old that its window has passed.
    """

    values: dict[str, Any]
    times: dict[str, Micros | None]
    status: dict[str, Status]


class _Feature(NamedTuple):
    place: int
    name: str
    limit: Micros | None  # ttl of a latest value, window of an aggregate
    windowed: bool
    nothing: int | None  # what the aggregate of no rows is


class _View(NamedTuple):
    name: str
    keys: tuple[str, ...]
    features: list[_Feature]


class FeatureReader:
    """Answers feature vectors for entities. Safe to share among threads if the store is.

    Args:
        features: what to read.
        store: where from.
    """

    def __init__(self, features: Sequence[Selected], store: OnlineStore) -> None:
        self._store = store
        views = dict.fromkeys(each.view for each in features)
        self._views = [
            _View(view.online_name, view.entity.keys, [_feature(each) for each in features if each.view == view])
            for view in views
        ]

    def __call__(self, entities: Sequence[Mapping[str, Any]], at: Micros) -> list[FeatureVector]:
        """The features of each of ``entities`` at the moment ``at``.

        Raises:
            Invalid: an entity lacks a key, or ``at`` is before the moment that the store was brought up to: it
                keeps one row for each key, so it cannot tell what was known before.
        """
        vectors = [FeatureVector({}, {}, {}) for _ in entities]
        for name, keys, features in self._views:
            wanted = [_key(entity, keys) for entity in entities]
            # The watermark first: rows that are written in between are newer than it says, never older.
            watermark = self._store.watermark(name)
            _check_moment(name, at, watermark)
            rows = self._store.read(name, [key for key in wanted if key is not None])
            found = iter(rows)
            for vector, key in zip(vectors, wanted, strict=True):
                row = None if key is None else next(found)
                if row is None:
                    _fill_missing(vector, features, known=key is not None and watermark is not None)
                else:
                    _fill(vector, features, row, max(row.as_of, watermark or row.as_of), at)
        return vectors


def _check_moment(view: str, at: Micros, watermark: Micros | None) -> None:
    if watermark is not None and at < watermark:
        raise Invalid(
            f"The online store has {view.partition('@')[0]!r} as of {from_micros(watermark):%Y-%m-%d %H:%M:%S} UTC, so it "
            f"cannot say what was known at {from_micros(at):%Y-%m-%d %H:%M:%S} UTC. Ask about that moment or later; a "
            "training set answers about the past."
        )


def _feature(selected: Selected) -> _Feature:
    view, own = selected.view, selected.aggregate
    limit = own.window if own.windowed else view.ttl_of(selected.feature)
    if limit is not None and not own.windowed:
        limit += own.lag  # a lagged value ages from the moment that it looks at
    nothing = 0 if own.operation in COUNTS else None
    return _Feature(list(view.features).index(selected.feature), selected.reference, limit, own.windowed, nothing)


def _key(entity: Mapping[str, Any], keys: tuple[str, ...]) -> Key | None:
    """The key, or None where it has a null and belongs to no one."""
    try:
        key = tuple([entity[name] for name in keys])
    except KeyError as exc:
        raise Invalid(f"The entity {dict(entity)!r} lacks the key {exc.args[0]!r}. Give {', '.join(keys)}.") from exc
    if None in key:
        return None
    return tuple(part.isoformat() if isinstance(part, date) else part for part in key)


def _fill(vector: FeatureVector, features: list[_Feature], row: Row, as_of: Micros, at: Micros) -> None:
    values, times, status = vector.values, vector.times, vector.status
    for place, name, limit, windowed, _ in features:
        value, time = row.values[place], as_of if windowed else row.times[place]
        times[name] = time
        if time is None or (time > at and not windowed):  # never seen, or not yet at that moment
            values[name], times[name], status[name] = None, None, "missing"
        elif limit is not None and time <= at - limit:
            values[name], status[name] = None, "expired"
        else:
            values[name], status[name] = value, "null" if value is None else "present"


def _fill_missing(vector: FeatureVector, features: list[_Feature], *, known: bool) -> None:
    """Of a key that was never seen an aggregate counts nothing, as in training; of no key nothing is known."""
    for feature in features:
        vector.values[feature.name] = feature.nothing if known else None
        vector.times[feature.name] = None
        vector.status[feature.name] = "missing"
