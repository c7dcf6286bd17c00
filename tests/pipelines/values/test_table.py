"""Tables come back in the form they had: library, types, index, categories."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from tests.pipelines.values.frames import tables
from trivet.errors import Corrupt, Invalid
from trivet.ledger import Artifact
from trivet.pipelines import values


def back(value, context):
    return values.load(values.save(value, context), context.blobs)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(tables())
def test_arrow_tables_come_back_with_equal_identity(context, table):
    artifact = values.save(table, context)
    again = values.load(artifact, context.blobs)
    assert again.schema.equals(table.schema)
    assert repr(again.to_pydict()) == repr(table.to_pydict())  # repr, because NaN is not equal to NaN
    assert values.save(again, context).digest == artifact.digest


PANDAS = {
    "range": pd.RangeIndex(3),
    "shifted range": pd.RangeIndex(5, 11, 2),
    "text": pd.Index(["a", "b", "c"], name="key"),
    "several": pd.MultiIndex.from_tuples([("a", 1), ("a", 2), ("b", 1)], names=["x", "y"]),
    "times": pd.date_range("2020-01-01", periods=3, tz="Europe/Berlin"),
}


@pytest.mark.parametrize("index", PANDAS)
def test_pandas_frames_come_back_with_index_and_types(context, index):
    frame = pd.DataFrame(
        {
            "i": [1, 2, 3],
            "small": np.array([1, 2, 3], "int8"),
            "f": [0.5, np.nan, 1.5],
            "nullable": pd.array([1, None, 3], "Int64"),
            "truth": pd.array([True, None, False], "boolean"),
            "plain_truth": [True, False, True],
            "text": ["a", None, "c"],
            "when": pd.to_datetime(["2020-01-01", None, "2020-01-03"]),
            "zoned": pd.to_datetime(["2020-01-01"] * 3).tz_localize("UTC"),
            "span": pd.to_timedelta([1, 2, None], unit="s"),
            "category": pd.Categorical(["u", "v", None], ["w", "v", "u"], ordered=True),
            "loose": pd.Categorical(["u", "v", "u"]),
        },
        index=PANDAS[index],
    )
    again = back(frame, context)
    assert_frame_equal(again, frame, check_freq=False)
    assert values.save(again, context).digest == values.save(frame, context).digest


def test_the_index_counts(context):
    frame = pd.DataFrame({"x": [1, 2]})
    assert values.save(frame, context).digest != values.save(frame.set_axis([1, 2]), context).digest
    assert values.save(frame, context).digest != values.save(frame.set_axis(pd.RangeIndex(1, 3)), context).digest


def test_a_slice_of_a_pandas_frame_has_the_digest_of_its_copy(context):
    frame = pd.DataFrame({"x": range(10), "y": list("abcdefghij")})
    part = frame[3:6]
    assert values.save(part, context).digest == values.save(part.copy(), context).digest
    assert_frame_equal(back(part, context), part)


def test_polars_frames_come_back_with_types(context):
    frame = pl.DataFrame(
        {
            "i": pl.Series([1, None], dtype=pl.Int16),
            "text": ["a", None],
            "category": pl.Series(["u", "v"], dtype=pl.Categorical),
            "enum": pl.Series(["u", None], dtype=pl.Enum(["v", "u", "w"])),
            "list": [[1.5], None],
            "struct": [{"a": 1, "b": "x"}, None],
            "array": pl.Series([[1, 2], [3, 4]], dtype=pl.Array(pl.Int64, 2)),
            "when": pl.Series([0, 1]).cast(pl.Datetime("us", "UTC")),
            "span": pl.Series([0, 1]).cast(pl.Duration("ms")),
            "decimal": pl.Series(["1.50", None]).cast(pl.Decimal(10, 2)),
            "bytes": [b"x", None],
            "nothing": pl.Series([None, None], dtype=pl.Null),
        }
    )
    again = back(frame, context)
    assert again.schema == frame.schema
    assert again.equals(frame)
    assert values.save(again, context).digest == values.save(frame, context).digest
    empty = frame.clear()
    assert back(empty, context).schema == frame.schema


def test_the_codes_of_a_polars_categorical_are_an_accident(context):
    one = pl.DataFrame({"x": pl.Series(["a", "b"], dtype=pl.Categorical)})
    other = pl.DataFrame({"x": pl.Series(["b", "a"], dtype=pl.Categorical)}).reverse()
    assert values.save(one, context).digest == values.save(other, context).digest


def test_the_same_content_in_another_library_has_the_same_content_digest(context):
    data = {"x": [1, 2], "t": ["a", "b"]}
    found = [values.save(frame, context) for frame in (pa.table(data), pl.DataFrame(data), pd.DataFrame(data))]
    assert len({artifact.content for artifact in found}) == 1
    assert len({artifact.digest for artifact in found}) == 3


def test_any_parquet_reader_understands_the_file(context):
    frame = pd.DataFrame({"c": pd.Categorical(["u", "v"], ["w", "v", "u"])})
    artifact = values.save(frame, context)
    table = pq.read_table(pa.BufferReader(context.blobs.read(artifact.files["data.parquet"].digest)))
    assert table["c"].to_pylist() == ["u", "v"]


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (pl.DataFrame({"o": [object()]}), "'o' holds Python objects"),
        (pl.LazyFrame({"x": [1]}), r"LazyFrame is none. Call .collect\(\) first"),
        (pd.Series([1]), r"Call .to_frame\(\) first"),
        (pd.DataFrame({"x": [1, "a"]}), "cannot be stored as a table"),
        (pa.table([[1], [2]], names=["a", "a"]), "several columns with the name 'a'"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "cannot be stored|several columns"),
    ],
)
def test_what_is_no_table_is_a_sentence(context, value, sentence):
    with pytest.raises(Invalid, match=sentence):
        values.save(value, context, kind="table")


def test_damage_is_corrupt(context):
    spec = {"form": "arrow"}
    artifact = Artifact.of("table", spec, {"data.parquet": context.blobs.put(b"PAR1")}, created=context.clock())
    with pytest.raises(Corrupt, match="not readable as a table"):
        values.load(artifact, context.blobs)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(table=tables(nesting=False), form=st.sampled_from(["polars", "pandas"]))
def test_saving_what_was_loaded_changes_nothing(context, table, form):
    for name in table.column_names:
        if pa.types.is_fixed_size_binary(table[name].type) or pa.types.is_null(table[name].type):
            table = table.drop_columns([name])
    if not table.num_columns:
        return
    frame = pl.from_arrow(table) if form == "polars" else table.to_pandas()
    artifact = values.save(frame, context)
    assert values.save(values.load(artifact, context.blobs), context).content == artifact.content
