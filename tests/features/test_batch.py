"""The batch answer is the reader's answer, column by column."""

from __future__ import annotations

from datetime import UTC, timedelta

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trivet.errors import Invalid, NotFound
from trivet.features import Entity, FeatureView, Source, count, latest, select_all
from trivet.features.batch import read_frame
from trivet.features.materialize import Materializer
from trivet.features.online.memory import MemoryStore
from trivet.features.reader import FeatureReader
from trivet.testing.engines import SCHEMA, moments, tables, views
from trivet.types import from_micros, to_micros

HOUR = 3_600_000_000
VIEW = FeatureView(
    "v",
    entity=Entity("pair", keys=("a", "b")),
    source=Source("s", event_time="e"),
    features={"x": latest("x"), "n": count("2h")},
    ttl="1h",
)


@settings(max_examples=60, deadline=None, database=None)
@given(views(), tables(), moments, st.sampled_from([0, 1, 3600, 86_400]), st.booleans())
def test_the_frame_says_what_the_vectors_say(view, rows, until, later, materialized):
    store, at = MemoryStore(), to_micros(until + timedelta(seconds=later))
    if materialized:
        Materializer([view], {"events": pl.DataFrame(rows, SCHEMA)}, store).advance(until)
    keys = [{"a": a, "b": b} for a in (1, 2, 11, None, 7) for b in (1, 2, 12, None)]
    frame = pl.DataFrame(keys, {"a": pl.Int64, "b": pl.Int64})
    reader = FeatureReader(select_all([view]), store)
    answer = read_frame(reader, frame.select(view.entity.keys), at, times=True, status=True)
    for row, vector in zip(answer.to_dicts(), reader(keys, at), strict=True):
        for name in view.features:
            reference, when = f"view:{name}", row[f"{name}__time"]
            assert repr(row[name]) == repr(vector.values[reference])
            assert row[f"{name}__status"] == vector.status[reference]
            assert (None if when is None else to_micros(when)) == vector.times[reference]


@pytest.mark.parametrize("make", [lambda f: f, lambda f: f.to_pandas(), lambda f: f.to_arrow(), lambda f: f.lazy()])
def test_frames_of_any_make(make):
    store = MemoryStore()
    data = pl.DataFrame({"a": [1], "b": ["z"], "e": [from_micros(HOUR)], "x": [2.5]})
    Materializer([VIEW], {"s": data}, store).advance(from_micros(HOUR))
    asked = make(pl.DataFrame({"a": [1, 2], "b": ["z", "z"], "more": [True, False]}))
    assert isinstance(asked, pl.DataFrame | pl.LazyFrame | pd.DataFrame | pa.Table)
    answer = read_frame(FeatureReader(select_all([VIEW]), store), asked, HOUR + 1, times=True)
    assert answer.columns == ["a", "b", "more", "x", "x__time", "n", "n__time"]
    assert answer["x"].to_list() == [2.5, None]
    assert answer["n"].to_list() == [0, 0]
    assert answer["x__time"].to_list() == [from_micros(HOUR).astimezone(UTC), None]


def test_what_does_not_fit_is_told():
    reader = FeatureReader(select_all([VIEW]), MemoryStore())
    with pytest.raises(NotFound, match="'b'"):
        read_frame(reader, pl.DataFrame({"a": [1]}), HOUR)
    with pytest.raises(Invalid, match="has a column 'x' already"):
        read_frame(reader, pl.DataFrame({"a": [1], "b": ["z"], "x": [1]}), HOUR)
    assert read_frame(reader, pl.DataFrame({"a": [], "b": []}), HOUR).height == 0
