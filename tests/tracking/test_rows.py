"""Differences of tables, beside plain dictionaries and counters."""

from collections import Counter

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trivet.errors import NotFound
from trivet.tracking.rows import compare_rows

ROWS = st.lists(st.tuples(st.integers(0, 6), st.sampled_from(["a", "b", None]), st.integers(0, 2)), max_size=12)
SCHEMA = {"k": pl.Int64, "x": pl.String, "y": pl.Int64}


def frame(rows):
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


@given(ROWS, ROWS)
@settings(max_examples=150, deadline=None)
def test_rows_by_key_as_a_dictionary_has_them(before, after):
    found = compare_rows(frame(before), frame(after), ["k"])
    left, right = numbered(before), numbered(after)
    assert (found.before, found.after) == (len(before), len(after))
    assert found.added == len(right.keys() - left.keys())
    assert found.removed == len(left.keys() - right.keys())
    both = left.keys() & right.keys()
    assert found.changed == sum(left[key] != right[key] for key in both)
    cells = {column.name: column.cells or 0 for column in found.columns}
    for place, column in ((0, "x"), (1, "y")):
        assert cells.get(column, 0) == sum(left[key][place] != right[key][place] for key in both)


def numbered(rows):
    seen, found = Counter(), {}
    for key, *rest in rows:
        found[key, seen[key]] = tuple(rest)
        seen[key] += 1
    return found


@given(ROWS, ROWS)
@settings(max_examples=100, deadline=None)
def test_whole_rows_as_a_counter_has_them(before, after):
    left, right = frame(before).select("x", "y"), frame(after).select("x", "y")
    if not found_key(left, right):
        found = compare_rows(left, right)
        one, other = Counter(left.rows()), Counter(right.rows())
        assert (found.added, found.removed) == ((other - one).total(), (one - other).total())
        assert found.before - found.removed + found.added == found.after


def found_key(left, right):
    return compare_rows(left, right).key


def test_a_key_is_found_where_a_column_tells_rows_apart():
    before = pl.DataFrame({"group": ["a", "a"], "id": [1, 2], "x": [1.0, 2.0]})
    after = pl.DataFrame({"group": ["a", "b"], "id": [2, 3], "x": [2.5, 3.0]})
    found = compare_rows(before, after)
    assert found.key == ("id",)
    assert found.summary == "1 added, 1 removed, 1 changed"


def test_columns_come_go_and_change_their_type():
    found = compare_rows(pl.DataFrame({"k": [1, 2], "old": [1, 2]}), pl.DataFrame({"k": [1.0, 2.0], "new": ["a", "b"]}))
    assert {(column.name, column.before, column.after) for column in found.columns} == {
        ("k", "Int64", "Float64"),
        ("old", "Int64", ""),
        ("new", "", "String"),
    }


def test_a_column_that_moved_says_how_far_and_one_that_shook_does_not():
    before = pl.DataFrame(
        {"k": range(2000), "x": [float(i % 100) for i in range(2000)], "y": [float(i % 50) for i in range(2000)]}
    )
    after = before.with_columns(x=pl.col("x") + 40, y=pl.Series([float((i + 7) % 50) for i in range(2000)]))
    columns = {column.name: column for column in compare_rows(before, after).columns}
    assert columns["x"].moved
    assert columns["x"].effect > 0.25
    assert columns["x"].means == (49.5, 89.5)
    assert columns["x"].cells == columns["y"].cells == 2000
    assert not columns["y"].moved
    assert columns["y"].effect < 0.01


def test_it_reads_well():
    before = pl.DataFrame({"id": [1, 2, 3], "price": [5.0, None, 7.0]})
    text = str(compare_rows(before, before.with_columns(price=pl.lit(9.0)), name="inputs.train"))
    first, *rest = text.splitlines()
    assert first == "inputs.train: 3 -> 3 rows; by id: 0 added, 0 removed, 3 changed"
    assert "price" in rest[1]
    assert "6 -> 9" in rest[1]
    assert "0.333333 -> 0" in rest[1]


def test_equal_tables_do_not_differ():
    rows = pl.DataFrame({"id": [1, 2], "x": ["a", None]})
    found = compare_rows(rows, rows)
    assert (found.added, found.removed, found.changed, found.columns) == (0, 0, 0, ())


def test_a_key_that_is_not_there_is_refused():
    with pytest.raises(NotFound, match="no column of the key 'ids'"):
        compare_rows(pl.DataFrame({"id": [1]}), pl.DataFrame({"id": [1]}), ["ids"])
