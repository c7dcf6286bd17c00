"""The digest of a table is a function of its content: all of it, and nothing else."""

from __future__ import annotations

import io
import time

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.pipelines.values.frames import tables
from trivet.digest import canonical
from trivet.pipelines.values.table_digest import parquet_digest, table_digest, type_tag


@settings(max_examples=150, deadline=None)
@given(table=tables(), data=st.data())
def test_chunks_slices_and_copies_do_not_count(table, data):
    expected = table_digest(table)
    cuts = sorted(data.draw(st.lists(st.integers(0, table.num_rows), max_size=3)))
    parts = [table.slice(a, b - a) for a, b in zip([0, *cuts], [*cuts, table.num_rows], strict=True)]
    assert table_digest(pa.concat_tables(parts)) == expected
    padded = pa.concat_tables([table, table, table])
    assert table_digest(padded.slice(table.num_rows, table.num_rows)) == expected
    assert table_digest(table.combine_chunks()) == expected
    assert table_digest(table.replace_schema_metadata({"a": "b"})) == expected


@settings(max_examples=80, deadline=None)
@given(tables())
def test_parquet_keeps_the_digest_of_what_it_can_hold(table):
    assume(not any(pa.types.is_dictionary(column.type) for column in table.columns))  # its order is not kept by Parquet
    stream = io.BytesIO()
    pq.write_table(table, stream)
    assert table_digest(pq.read_table(stream)) == table_digest(table)


@settings(max_examples=150, deadline=None)
@given(table=tables(), data=st.data())
def test_any_other_cell_is_another_digest(table, data):
    """Against an oracle: the canonical encoding of the cells."""
    place = data.draw(st.integers(0, table.num_columns - 1))
    column = table.column(place)
    assume(not pa.types.is_null(column.type) and table.num_rows)
    row, other = data.draw(st.integers(0, table.num_rows - 1)), data.draw(st.integers(0, table.num_rows - 1))
    order = list(range(table.num_rows))
    order[row], order[other] = order[other], order[row]
    changed = table.set_column(place, table.column_names[place], column.take(pa.array(order)))
    if not pa.types.is_dictionary(column.type):
        assert (table_digest(changed) == table_digest(table)) is (cells(changed) == cells(table))
    emptied = column.to_pylist()
    assume(emptied[row] is not None)
    emptied[row] = None
    blank = table.set_column(place, table.column_names[place], pa.chunked_array([pa.array(emptied, column.type)]))
    assert table_digest(blank) != table_digest(table)


def cells(table):
    return canonical([[repr(cell) for cell in column] for column in table.to_pydict().values()])


PAIRS = {
    "boundaries of text": (["ab", "c"], ["a", "bc"]),
    "null or empty": ([None, "a"], ["", "a"]),
    "null or zero": ([None, 1], [0, 1]),
    "null or NaN": ([None, 1.0], [float("nan"), 1.0]),
    "signed zero": ([0.0], [-0.0]),
    "boundaries of lists": ([[1], [2, 3]], [[1, 2], [3]]),
    "null or empty list": ([None, [1]], [[], [1]]),
    "null in a struct": ([{"a": None}], [None]),
    "truth": ([True, False], [False, True]),
}


@pytest.mark.parametrize("name", PAIRS)
def test_pairs_that_must_differ(name):
    left, right = PAIRS[name]
    kind = pa.struct([("a", pa.int64())]) if name == "null in a struct" else None
    assert table_digest(pa.table({"x": pa.array(left, kind)})) != table_digest(pa.table({"x": pa.array(right, kind)}))


def test_names_types_and_order_count():
    base = pa.table({"x": [1], "y": [2]})
    others = [
        base.rename_columns(["x", "z"]),
        base.select(["y", "x"]),
        base.cast(pa.schema([("x", pa.int32()), ("y", pa.int64())])),
        pa.table({"x": pa.array([1], pa.timestamp("us")), "y": [2]}),
        base.slice(0, 0),
    ]
    assert len({table_digest(table) for table in [base, *others]}) == 6


def test_what_lies_under_a_null_and_in_a_nan_does_not_count():
    def with_buffer(values, dtype):
        data = np.array(values, dtype)
        return pa.Array.from_buffers(pa.from_numpy_dtype(dtype), 2, [pa.py_buffer(b"\x02"), pa.py_buffer(data)])

    one, two = (pa.table({"x": with_buffer([n, 1], "int64")}) for n in (7, 9))
    assert table_digest(one) == table_digest(two) == table_digest(pa.table({"x": pa.array([None, 1], pa.int64())}))
    strange = np.array([0x7FF8000000000001, 0xFFF8000000000000], "uint64").view("float64")
    assert table_digest(pa.table({"x": strange})) == table_digest(pa.table({"x": [float("nan")] * 2}))
    text = pa.Array.from_buffers(
        pa.string(), 2, [pa.py_buffer(b"\x02"), pa.py_buffer(np.array([0, 3, 4], "int32")), pa.py_buffer(b"xyza")]
    )
    assert table_digest(pa.table({"x": text})) == table_digest(pa.table({"x": [None, "a"]}))


def test_writers_agree():
    data = {"n": [1, 2, None], "t": ["a", None, "ü"], "f": [0.5, None, 1.5]}
    arrow = pa.table(data)
    assert table_digest(pl.DataFrame(data).to_arrow()) == table_digest(arrow)
    frame = pd.DataFrame({"n": pd.array([1, 2, None], "Int64"), "t": data["t"], "f": pd.array(data["f"], "Float64")})
    assert table_digest(pa.Table.from_pandas(frame)) == table_digest(arrow)
    views = arrow.set_column(1, "t", arrow["t"].cast(pa.string_view()))
    assert table_digest(views) == table_digest(arrow)


def test_categories_and_their_order_count_and_codes_do_not():
    def category(codes, categories, *, ordered=False, index="int32"):
        return pa.table(
            {
                "x": pa.DictionaryArray.from_arrays(
                    pa.array(codes, pa.type_for_alias(index)), categories, ordered=ordered
                )
            }
        )

    base = table_digest(category([0, 1, None], ["a", "b"]))
    assert table_digest(category([0, 1, None], ["a", "b"], index="uint8")) == base
    others = [
        category([1, 0, None], ["b", "a"]),
        category([0, 1, None], ["a", "b", "c"]),
        category([0, 1, None], ["a", "b"], ordered=True),
        category([0, 1, 0], ["a", "b"]),
    ]
    assert base not in {table_digest(other) for other in others}


def test_pinned():
    """A changed digest breaks a promise to users."""
    table = pa.table(
        {
            "n": pa.array([1, None], pa.int64()),
            "f": [0.5, float("nan")],
            "b": [True, None],
            "t": ["a", None],
            "d": pa.array(["x", "y"]).dictionary_encode(),
            "l": [[1], None],
            "s": [{"x": 1}, None],
            "m": pa.array([[("k", 1)], None], pa.map_(pa.string(), pa.int64())),
            "w": pa.array([0, 1], pa.timestamp("us", "UTC")),
        }
    )
    assert table_digest(table) == "10dd7131a99285472c56e4a064e50ff57b87f48cb704a98514957e7af231b56c"


def test_tags():
    assert type_tag(pa.string_view()) == type_tag(pa.string()) == "string"
    assert type_tag(pa.list_(pa.large_string(), 2)) == "list[2]<string>"
    assert type_tag(pa.dictionary(pa.int8(), pa.string(), ordered=True)) == "dictionary<string, ordered>"


def test_speed():
    """200 MB/s on a quiet machine; here it must only not be absurd."""
    rng = np.random.default_rng(0)
    table = pa.table({"f": rng.normal(size=2_000_000), "n": rng.integers(0, 9, 2_000_000)})
    started = time.perf_counter()
    table_digest(table)
    assert table.nbytes / (time.perf_counter() - started) > 50e6


@pytest.mark.parametrize("rows", [0, 1, 1000, 140_000])
def test_the_digest_of_a_file_is_that_of_its_table(tmp_path, rows):
    frame = pl.DataFrame({"x": np.arange(rows)}).with_columns(
        f=pl.when(pl.col("x") % 7 > 0).then(pl.col("x") / 3),
        b=pl.when(pl.col("x") % 5 > 0).then(pl.col("x") % 2 == 0),
        s=pl.when(pl.col("x") % 3 > 0).then(pl.col("x").cast(pl.String)),
        n=pl.lit(None),
        l=pl.concat_list("x", "x"),
        e=(pl.col("x") % 2).cast(pl.String).cast(pl.Enum(["0", "1", "2"])),
    )
    frame.write_parquet(tmp_path / "table.parquet", row_group_size=999)
    table = frame.to_arrow()
    assert parquet_digest(tmp_path / "table.parquet", table.column) == table_digest(table)
