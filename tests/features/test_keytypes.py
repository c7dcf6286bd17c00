from __future__ import annotations

from datetime import date

import numpy as np
import polars as pl
import pytest

from trivet.errors import Invalid, NotFound
from trivet.features import Entity, FeatureView, Source, select_all
from trivet.features.engines.local import LocalEngine
from trivet.features.keytypes import check_keys, typed_key
from trivet.features.materialize import Materializer
from trivet.features.online.memory import MemoryStore
from trivet.features.reader import FeatureReader
from trivet.types import as_utc, to_micros

ROWS = pl.DataFrame({"plane": [1, 2], "seats": [100, 200]})
NOON = as_utc("2013-01-01T12:00:00Z")


def view(**options):
    return FeatureView("planes", entity=Entity("plane", **options), source=Source("p"), features=["seats"])


def asked(spine, declared, rows=ROWS):
    spine = pl.DataFrame({"plane": spine, "t": [NOON] * len(spine)})
    return LocalEngine().point_in_time(spine, select_all([declared]), {"p": rows}, time="t").frame["seats"].to_list()


def test_typed_keys_come_back_from_json_and_change_the_digest_only_where_declared():
    typed = Entity("route", keys={"a": "string", "b": None})
    assert Entity.from_spec(typed.to_spec()) == typed
    assert Entity("route", keys=("a", "b")).to_spec() == {"name": "route", "keys": ["a", "b"]}
    assert Entity("plane", key="tail", type="string").types == ("string",)
    with pytest.raises(NotFound, match="Did you mean 'string'"):
        Entity("plane", type="strin")
    with pytest.raises(Invalid, match="both keys= and type="):
        Entity("plane", keys=("a", "b"), type="int")


@pytest.mark.parametrize(
    ("declared", "fits", "others"),
    [
        ("int", [pl.Series([1]), pl.Series([1.0, None]), pl.Series([None])], [pl.Series(["1"]), pl.Series([1.5])]),
        ("string", [pl.Series(["a"]), pl.Series(["a"], dtype=pl.Categorical)], [pl.Series([1]), pl.Series([True])]),
        ("bool", [pl.Series([True])], [pl.Series([1])]),
        ("date", [pl.Series([date(2013, 1, 1)])], [pl.Series(["2013-01-01"]), pl.Series([NOON])]),
        ("float", [pl.Series([1.5]), pl.Series([1])], [pl.Series(["1"])]),
    ],
)
def test_columns_of_another_type_are_refused(declared, fits, others):
    entity = Entity("e", key="k", type=declared)
    for column in fits:
        check_keys(entity, column.alias("k").to_frame(), "the spine")
    for column in others:
        with pytest.raises(Invalid, match=rf"Key column 'k' of the spine has type .* declares '{declared}'"):
            check_keys(entity, column.alias("k").to_frame(), "the spine")
    check_keys(entity, pl.DataFrame({"other": [1]}), "the spine")


def test_spine_and_source_are_held_to_the_declared_type():
    assert asked([2], view(type="int")) == [200]
    assert asked([2.0, None], view(type="int")) == [200, None]
    with pytest.raises(Invalid, match="of the spine has type String, and entity 'plane' declares 'int'"):
        asked(["2"], view(type="int"))
    with pytest.raises(Invalid, match="of source 'p' has type Int64, and entity 'plane' declares 'string'"):
        asked(["2"], view(type="string"))
    with pytest.raises(Invalid, match="no row would match"):
        asked(["2"], view())


def test_keys_of_requests_are_held_to_the_declared_type():
    declared, store = view(type="int"), MemoryStore()
    Materializer([declared], {"p": ROWS}, store).advance(NOON)
    reader = FeatureReader(select_all([declared]), store)
    for key in (2, 2.0, np.int64(2)):
        assert reader([{"plane": key}], to_micros(NOON))[0].values == {"planes:seats": 200}
    assert reader([{"plane": None}], to_micros(NOON))[0].status == {"planes:seats": "missing"}
    with pytest.raises(Invalid, match=r"Key 'plane' of entity 'plane' is '2', of type str, and is declared as 'int'"):
        reader([{"plane": "2"}], to_micros(NOON))


@pytest.mark.parametrize(
    ("declared", "fits", "others"),
    [
        ("string", {"a": "a"}, [1, True]),
        ("bool", {True: True}, ["true", 1]),
        ("date", {date(2013, 1, 1): "2013-01-01", "2013-01-01": "2013-01-01"}, [NOON, "1.1.2013", 3]),
        ("float", {1.5: 1.5, 2: 2}, ["1.5", True]),
        ("int", {2: 2}, [2.5, True, "2"]),
    ],
)
def test_values_of_another_type_are_refused(declared, fits, others):
    entity = Entity("e", key="k", type=declared)
    for value, key in fits.items():
        assert typed_key(entity, (value,)) == (key,)
    for value in others:
        with pytest.raises(Invalid, match=f"declared as '{declared}'"):
            typed_key(entity, (value,))
