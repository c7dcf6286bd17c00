from __future__ import annotations

from functools import partial

import polars as pl
import pytest

from trivet.errors import Invalid
from trivet.features import Source
from trivet.features.sources import read, snapshots_of

ROWS = pl.DataFrame({"x": [1, 2]})


def doubled(factor=2):
    return (ROWS * factor).to_pandas()


def rows(function):
    source = Source("s", function)
    return read(source, ["x"], snapshots_of([source]))["x"].to_list()


def test_functions_are_called_whenever_rows_are_read():
    calls = []

    def load():
        calls.append(1)
        return ROWS.head(len(calls))

    assert [rows(load), rows(load)] == [[1], [1, 2]]
    assert rows(doubled) == rows(partial(doubled, factor=2)) == [2, 4]


def raising():
    raise KeyError("the shop")


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (raising, r"sources.test_memory:raising of source 's' raised KeyError: 'the shop'"),
        (lambda: [1, 2], r"of source 's' answered is a list. Give a pandas"),
        (lambda: None, r"answered is a NoneType"),
        (lambda t: ROWS, r"takes the parameter 't'"),
    ],
)
def test_functions_that_fail_get_a_sentence(function, sentence):
    with pytest.raises(Invalid, match=sentence):
        rows(function)


def test_a_function_of_another_process_says_so():
    source = Source.from_spec(Source("s", doubled).to_spec())
    with pytest.raises(Invalid, match=r"has no data.* Its function .*:doubled is in another process"):
        snapshots_of([source])
