from __future__ import annotations

import polars as pl
import pytest

from trivet.errors import Invalid
from trivet.features import Entity, FeatureView, Source, count, latest, mean, select_all
from trivet.features.batch import read_frame
from trivet.features.materialize import Materializer
from trivet.features.online.contract import Row
from trivet.features.online.memory import MemoryStore
from trivet.features.reader import FeatureReader
from trivet.types import as_utc, to_micros

HOUR = 3_600_000_000
VIEW = FeatureView(
    "v",
    entity=Entity("pair", keys=("a", "b")),
    source=Source("s", event_time="e"),
    features={"x": latest("x"), "y": latest("y", ttl="3h"), "n": count("2h"), "m": mean("x", "2h")},
    ttl="1h",
)


def read(at, row=None, *, watermark=None, key=(1, "z")):
    store = MemoryStore()
    if row is not None:
        store.write(VIEW.online_name, [((1, "z"), row)], watermark=watermark)
    elif watermark is not None:
        store.write(VIEW.online_name, [], watermark=watermark)
    (vector,) = FeatureReader(select_all([VIEW]), store)([{"a": key[0], "b": key[1], "more": 1}], at)
    return vector


ROW = Row(10 * HOUR, [1.5, "text", 3, None], [10 * HOUR, 9 * HOUR, 10 * HOUR, 10 * HOUR])


def test_values_come_back_with_times_and_status():
    vector = read(10 * HOUR, ROW)
    assert vector.values == {"v:x": 1.5, "v:y": "text", "v:n": 3, "v:m": None}
    assert vector.times == {"v:x": 10 * HOUR, "v:y": 9 * HOUR, "v:n": 10 * HOUR, "v:m": 10 * HOUR}
    assert vector.status == {"v:x": "present", "v:y": "present", "v:n": "present", "v:m": "null"}


def test_latest_values_expire_at_the_moment_of_reading():
    assert read(11 * HOUR - 1, ROW).status["v:x"] == "present"
    expired = read(11 * HOUR, ROW)
    assert (expired.values["v:x"], expired.status["v:x"]) == (None, "expired")
    assert (expired.values["v:y"], expired.status["v:y"]) == ("text", "present")


def test_aggregates_expire_when_their_window_has_passed_since_the_last_materialization():
    assert read(12 * HOUR - 1, ROW).status["v:n"] == "present"
    assert read(12 * HOUR, ROW).status["v:n"] == "expired"
    later = read(12 * HOUR, ROW, watermark=11 * HOUR)
    assert (later.values["v:n"], later.times["v:n"], later.status["v:n"]) == (3, 11 * HOUR, "present")


def test_what_is_unknown_is_missing():
    unknown = read(10 * HOUR, ROW, watermark=10 * HOUR, key=(1, "other"))
    assert unknown.values == {"v:x": None, "v:y": None, "v:n": 0, "v:m": None}
    assert set(unknown.status.values()) == {"missing"}
    for vector, status in (
        (read(10 * HOUR), "unmaterialized"),
        (read(10 * HOUR, ROW, watermark=10 * HOUR, key=(None, "z")), "missing"),
    ):
        assert set(vector.values.values()) == {None}
        assert set(vector.status.values()) == {status}
    never = Row(10 * HOUR, [None, None, 0, None], [None, None, 10 * HOUR, 10 * HOUR])
    assert read(10 * HOUR, never).status["v:x"] == "missing"


def test_nothing_from_later_is_answered():
    assert read(10 * HOUR - 1, ROW).status["v:x"] == "missing"


def test_keys_keep_their_type():
    assert read(10 * HOUR, ROW, watermark=10 * HOUR, key=("1", "z")).status["v:x"] == "missing"


def test_many_entities_are_answered_in_order():
    store = MemoryStore()
    rows = [((n, "z"), Row(HOUR, [float(n), None, 0, None], [HOUR] * 4)) for n in range(5)]
    store.write(VIEW.online_name, rows, watermark=HOUR)
    asked = [{"a": n, "b": "z"} for n in (3, None, 1, 9, 3)]
    vectors = FeatureReader(select_all([VIEW]), store)(asked, HOUR)
    assert [vector.values["v:x"] for vector in vectors] == [3.0, None, 1.0, None, 3.0]


def test_an_entity_without_its_key_is_told_so():
    with pytest.raises(Invalid, match=r"lacks the key 'b'. Give a, b."):
        FeatureReader(select_all([VIEW]), MemoryStore())([{"a": 1}], HOUR)


class TestKeysWithoutADeclaredType:
    """They have the types that were materialized."""

    VIEWS = (
        FeatureView("late", entity=Entity("flight"), source=Source("f", event_time="at"), features=["delay"]),
        FeatureView("full", entity=Entity("flight"), source=Source("g", event_time="at"), features=["seats"]),
    )

    def filled(self, store, key, *, at="2013-01-01T10:00Z"):
        moment = as_utc(at)
        rows = {"flight": [key], "at": [moment]}
        sources = {"f": pl.DataFrame(rows | {"delay": [1.5]}), "g": pl.DataFrame(rows | {"seats": [100]})}
        Materializer(self.VIEWS, sources, store).advance(moment)
        return to_micros(moment)

    def status(self, reader, key, at):
        [vector] = reader([{"flight": key}], at)
        return set(vector.status.values())

    def test_a_key_of_another_type_is_refused_with_both(self):
        store = MemoryStore()
        at = self.filled(store, 7)
        reader = FeatureReader(select_all(self.VIEWS), store)
        with pytest.raises(
            Invalid, match="Key 'flight' of entity 'flight' is '7', of type str, and is stored as 'int'"
        ):
            reader([{"flight": "7"}], at)
        assert self.status(reader, 7, at) == {"present"}
        assert self.status(reader, 7.0, at) == {"present"}  # pandas makes whole numbers so, and JSON has but one kind
        assert self.status(reader, 8, at) == {"missing"}
        assert self.status(reader, None, at) == {"missing"}

    def test_known_types_are_never_asked_for_again_and_found_keys_ask_for_none(self):
        store = Asking()
        at = self.filled(store, "N7")
        reader = FeatureReader(select_all(self.VIEWS), store)
        store.asked = 0
        assert self.status(reader, "N7", at) == {"present"}
        assert store.asked == 1
        assert self.status(reader, "N8", at) == {"missing"}
        assert store.asked == 4  # the rows, the types, the rows again
        assert self.status(reader, "N8", at) == {"missing"}
        assert store.asked == 5

    def test_a_view_that_is_filled_anew_with_other_keys_is_understood(self):
        store = MemoryStore()
        at = self.filled(store, 7)
        reader = FeatureReader(select_all(self.VIEWS), store)
        assert self.status(reader, 8, at) == {"missing"}
        for view in self.VIEWS:
            store.drop(view.online_name)
        self.filled(store, "N7")
        assert self.status(reader, "N7", at) == {"present"}
        with pytest.raises(Invalid, match="is stored as 'string'"):
            reader([{"flight": 8}], at)

    def test_a_frame_is_refused_too(self):
        store = MemoryStore()
        at = self.filled(store, 7)
        reader = FeatureReader(select_all(self.VIEWS), store)
        assert read_frame(reader, pl.DataFrame({"flight": [7, 8]}), at)["delay"].to_list() == [1.5, None]
        with pytest.raises(Invalid, match="has type String, and entity 'flight' is stored with 'int'"):
            read_frame(reader, pl.DataFrame({"flight": ["7"]}), at)

    def test_a_store_that_nobody_materialized_says_nothing_of_types(self):
        store = MemoryStore()
        for view in self.VIEWS:
            store.write(view.online_name, [], watermark=1)
        reader = FeatureReader(select_all(self.VIEWS), store)
        assert self.status(reader, 7, 1) == self.status(reader, "7", 1) == {"missing"}


class Asking(MemoryStore):
    """Counts how often it is asked."""

    asked = 0

    def get(self, wanted):
        self.asked += 1
        return super().get(wanted)
