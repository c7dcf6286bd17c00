"""What Polars alone decides; that it means what rows mean is in ``tests/features/test_predicates.py``."""

from __future__ import annotations

import polars as pl
import pytest

from trivet.features.engines.filters import expression, satisfied
from trivet.features.predicates import parse


@pytest.mark.parametrize("dtype", [pl.Int8, pl.UInt16, pl.Int64, pl.UInt64, pl.Int128, pl.Float32, pl.Decimal(9, 3)])
def test_any_kind_of_number_meets_any_literal(dtype):
    frame = pl.DataFrame({"n": pl.Series([0, 1, 2, None], dtype=dtype)})
    for text, expected in {
        "n > 0.5": [False, True, True, None],
        "n <= 1.0": [True, True, False, None],
        "n != 1.25": [True, True, True, None],
        "n < 1e30": [True, True, True, None],
        "n > -1e30": [True, True, True, None],
        "n in (1, 1e30, 0.25)": [False, True, False, None],
        "n in (1e30)": [False, False, False, None],
    }.items():
        assert frame.select(found=expression(parse(text), frame.schema))["found"].to_list() == expected, text


def test_an_empty_table_satisfies_nothing():
    assert satisfied(parse("n > 1"), pl.DataFrame({"n": []}, {"n": pl.Int64})).tolist() == []
