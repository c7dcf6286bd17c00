"""Drift: calibrated, found where it is, compared with SciPy and with a slow index of stability."""

from __future__ import annotations

import itertools
import json
import math
from typing import Any

import numpy as np
import polars as pl
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.drift_calibration import CHANGES, false_alarms, found
from tests.monitoring.predictions import predictions
from trivet.errors import Invalid, NotFound
from trivet.monitoring.drift import Profile, as_frame, drift, profile

moderate = settings(max_examples=50, deadline=None)
values = st.lists(st.none() | st.sampled_from([0.0, 1.0, 2.5, -3.0, 1e6]) | st.floats(-10, 10), min_size=1, max_size=60)


def counts(edges: tuple[float, ...], rows: list[float]) -> list[int]:
    """Rows in each bin, one at a time."""
    bounds = [-math.inf, *edges, math.inf]
    return [sum(low < row <= high for row in rows) for low, high in itertools.pairwise(bounds)]


@moderate
@given(values)
def test_a_profile_counts_every_value_once(rows: list[float | None]) -> None:
    column = profile(pl.DataFrame({"x": pl.Series(rows, dtype=pl.Float64)})).columns[0]
    present = [row for row in rows if row is not None]
    assert list(column.counts) == counts(column.edges, present)
    assert column.nulls + sum(column.counts) == column.rows == len(rows)
    assert list(column.edges) == sorted(set(column.edges))


@moderate
@given(st.lists(st.none() | st.sampled_from("abc"), min_size=1, max_size=60))
def test_a_profile_counts_categories(rows: list[str | None]) -> None:
    column = profile(pl.DataFrame({"x": pl.Series(rows, dtype=pl.String)})).columns[0]
    assert dict(zip(column.categories, column.counts, strict=False)) == {
        value: rows.count(value) for value in set(rows) - {None}
    }
    assert column.nulls == rows.count(None)


def test_quantile_bins_hold_a_tenth_each() -> None:
    column = profile(pl.DataFrame({"x": np.random.default_rng(0).normal(size=10_000)})).columns[0]
    assert column.counts == (1000,) * 10


@moderate
@given(values, values)
def test_a_profile_survives_json_and_finds_the_same(rows: list[float | None], live: list[float | None]) -> None:
    reference = profile(pl.DataFrame({"x": pl.Series(rows, dtype=pl.Float64)}))
    again = Profile.from_json(json.loads(json.dumps(reference.to_json())))
    frame = pl.DataFrame({"x": pl.Series(live, dtype=pl.Float64)})
    assert again == reference
    assert drift(again, frame, min_rows=1) == drift(reference, frame, min_rows=1)


def test_score_and_p_value_are_those_of_the_formulas() -> None:
    generator = np.random.default_rng(1)
    before, now = generator.normal(size=2000), generator.normal(0.4, 1.2, 700)
    reference = profile(pl.DataFrame({"x": before}))
    judged = drift(reference, pl.DataFrame({"x": now}))[0]
    a, b = np.array(reference.columns[0].counts), np.array(counts(reference.columns[0].edges, now.tolist()))
    p, q = (a + 0.5) / (a + 0.5).sum(), (b + 0.5) / (b + 0.5).sum()
    assert judged.score == pytest.approx(sum((q - p) * np.log(q / p)))
    assert judged.threshold == max(0.1, (1 / 2000 + 1 / 700) * scipy.stats.chi2.ppf(0.999, 9))
    assert judged.p_value == pytest.approx(scipy.stats.chi2_contingency([a, b], correction=False).pvalue)
    assert judged.verdict == "drift"
    assert judged.unseen == pytest.approx(np.mean((now < before.min()) | (now > before.max())))


def test_categories_are_tested_as_scipy_does() -> None:
    generator = np.random.default_rng(2)
    before, now = generator.choice(list("abc"), 1000, p=[0.5, 0.3, 0.2]), generator.choice(list("abcd"), 400)
    judged = drift(profile(pl.DataFrame({"x": before})), pl.DataFrame({"x": now}))[0]
    table = [[np.sum(rows == value) for value in "abcd"] for rows in (before, now)]
    assert judged.p_value == pytest.approx(scipy.stats.chi2_contingency(table, correction=False).pvalue)
    assert judged.unseen == pytest.approx(np.mean(now == "d"))
    assert judged.verdict == "drift"


def test_without_drift_there_are_almost_no_alarms() -> None:
    rates = [false_alarms(rows, 100, reference=2000, seed=rows) for rows in (100, 500, 2000)]
    assert sum(rates) / 3 <= 0.01


@pytest.mark.parametrize("change", [name for name in CHANGES if "0.25" not in name])
def test_drift_is_found(change: str) -> None:
    assert found(500, 20, change) >= 0.95


def test_a_large_change_that_few_rows_show_is_not_called() -> None:
    reference = profile(pl.DataFrame({"x": np.arange(1000.0)}))
    judged = drift(reference, pl.DataFrame({"x": np.arange(900.0, 950.0)}))[0]
    assert judged.verdict == "not enough data"
    assert "50 values against 1000 are too few" in judged.reason
    assert drift(reference, pl.DataFrame({"x": np.arange(900.0, 950.0)}), min_rows=50)[0].verdict == "drift"


@pytest.mark.parametrize(
    ("before", "now"),
    [
        ([1.0] * 500, [2.0] * 500),
        ([1.0] * 500, [0.5] * 500),
        ([True] * 500, [False] * 500),
        (["a"] * 500, ["b"] * 500),
        ([0] * 250 + [1] * 250, [1] * 500),
        ([1.0] * 500, [math.inf] * 500),
    ],
)
def test_leaving_a_constant_or_a_value_is_seen(before: list[Any], now: list[Any]) -> None:
    reference = profile(pl.DataFrame({"x": before}))
    assert drift(reference, pl.DataFrame({"x": now}))[0].verdict == "drift"
    assert drift(reference, pl.DataFrame({"x": before}))[0].verdict == "stable"


@pytest.mark.parametrize("live", [pl.DataFrame({"x": [None] * 200}), pl.DataFrame({"y": [1.0] * 200})])
def test_a_column_that_went_missing_has_drifted(live: pl.DataFrame) -> None:
    judged = drift(profile(pl.DataFrame({"x": np.arange(1000.0)})), live)[0]
    assert (judged.verdict, judged.nulls) == ("drift", 1.0)
    assert judged.reason == "nulls went from 0.0% to 100.0%"


def test_nan_is_null_and_other_types_are_left_out() -> None:
    frame = pl.DataFrame({"x": [1.0, math.nan, None], "times": [None, None, None], "list": [[1], [2], [3]]})
    remembered = profile(frame.with_columns(times=pl.lit(None, pl.Datetime)))
    assert [(column.name, column.nulls) for column in remembered.columns] == [("x", 2)]


def test_an_empty_frame_is_neither_good_nor_bad_news() -> None:
    reference = profile(pl.DataFrame({"x": [1.0, 2.0], "c": ["a", "b"]}))
    assert {each.verdict for each in drift(reference, pl.DataFrame())} == {"not enough data"}
    empty = profile(pl.DataFrame({"x": pl.Series([], dtype=pl.Float64)}))
    assert drift(empty, pl.DataFrame({"x": np.arange(500.0)}))[0].verdict == "not enough data"


def test_many_categories_are_kept_in_bounds() -> None:
    frame = pl.DataFrame({"x": [f"v{index % 300}" for index in range(3000)]})
    column = profile(frame).columns[0]
    assert (len(column.categories), len(column.counts), sum(column.counts)) == (50, 51, 3000)
    assert drift(profile(frame), frame)[0].verdict == "stable"


def test_logged_predictions_become_columns() -> None:
    logged = predictions(50)
    training = pl.DataFrame({"x": [0.5], "plan": ["gold"], "gone": [1.0], "score": [0.2]})
    frame = as_frame(logged, profile(training))
    assert frame.columns == ["x", "plan", "gone", "score"]
    assert frame["x"].to_list() == [json.loads(text)["x"] for text in logged["features"]]
    assert set(frame["plan"]) == {"gold", "silver"}
    assert frame["gone"].null_count() == 50
    assert frame["score"].to_list() == logged["score"].to_list()


def test_values_of_another_type_are_no_values() -> None:
    logged = predictions(2).with_columns(features=pl.Series(['{"x": "broken"}', '{"x": true, "plan": 7}']))
    frame = as_frame(logged, profile(pl.DataFrame({"x": [0.5], "plan": ["gold"]})))
    assert frame["x"].to_list() == [None, 1.0]
    assert frame["plan"][1] == "7"


def test_refusals() -> None:
    with pytest.raises(NotFound, match="Did you mean 'delay'"):
        profile(pl.DataFrame({"delay": [1]}), ["dealy"])
    with pytest.raises(Invalid, match="not a profile"):
        Profile.from_json({"rows": "many"})
    with pytest.raises(Invalid, match="no JSON object"):
        as_frame(predictions(1).with_columns(features=pl.lit("[1]")), profile(pl.DataFrame({"x": [1.0]})))
