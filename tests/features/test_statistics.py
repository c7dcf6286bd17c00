from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from trivet.errors import Invalid
from trivet.features import Entity, FeatureView, Source
from trivet.features.engines.contract import Report
from trivet.features.statistics import describe, statistics
from trivet.features.training_set import FeatureColumn, TrainingSet, training_set
from trivet.ledger import RunQuery

START = datetime(2013, 1, 1, tzinfo=UTC)


def made(rows=3000, **columns):
    random = np.random.default_rng(3)
    frame = pl.DataFrame(
        {
            "t": [START + timedelta(hours=h) for h in range(rows)],
            "delay": random.normal(10, 5, rows),
            "carrier": random.choice(["AA", "UA", None], rows, p=[0.5, 0.3, 0.2]),
            "late": random.integers(0, 2, rows),
            **columns,
        }
    )
    features = [FeatureColumn("delay", "congestion:delay", "0" * 64)]
    return TrainingSet(frame, time="t", label="late", entities=[], features=features, report=Report(rows=rows))


def test_numbers_agree_with_numpy():
    train = made()
    found = {each.name: each for each in describe(train).columns}["delay"]
    values = train.to_polars()["delay"].to_numpy()
    assert (found.mean, found.low, found.high) == (values.mean(), values.min(), values.max())
    assert math.isclose(found.std, values.std(ddof=1), rel_tol=1e-12)
    assert found.quantiles["0.95"] == np.quantile(values, 0.95)
    assert (found.feature, found.distinct, found.nulls, found.odd) == ("congestion:delay", 3000, 0, 0)
    assert len(found.bars) == 20
    assert sum(bar.rows for bar in found.bars) == 3000
    assert sum(bar.positive for bar in found.bars) == train.to_polars()["late"].sum()


def test_categories_come_by_frequency_with_their_labels():
    train = made()
    found = {each.name: each for each in describe(train).columns}["carrier"]
    assert [bar.name for bar in found.bars] == ["AA", "UA"]
    expected = train.to_polars().filter(carrier="AA")
    assert (found.bars[0].rows, found.bars[0].positive) == (expected.height, expected["late"].sum())
    assert (found.distinct, found.low, found.high) == (2, "AA", "UA")
    assert found.nulls == train.to_polars()["carrier"].null_count()


def test_time_is_cut_into_periods_with_the_rate_of_the_label():
    found = describe(made(24 * 90))
    assert (found.every, len(found.periods)) == ("1w", 13)
    assert found.periods[1].rows == 168
    assert 0.3 < found.periods[1].label < 0.7
    assert sum(each.rows for each in found.periods) == 24 * 90


@pytest.mark.parametrize("rows", [0, 1, 2])
def test_little_odd_and_nested_values_are_described(rows):
    odd = pl.Series([math.nan, math.inf], dtype=pl.Float64)[:rows]
    train = made(rows, odd=odd, none=pl.Series([None] * rows), many=pl.Series([[1]] * rows, dtype=pl.List(pl.Int64)))
    found = {each.name: each for each in describe(train).columns}
    assert (found["odd"].odd, found["odd"].mean, found["odd"].bars) == (rows, None, [])
    assert (found["none"].nulls, found["many"].distinct) == (rows, None)


def test_the_order_of_rows_does_not_count():
    train = made()
    shuffled = made()
    shuffled._table = train.to_polars().sample(fraction=1, shuffle=True, seed=1)
    one, other = ([each.bars for each in describe(x).columns] for x in (train, shuffled))
    assert one == other


def test_they_are_worked_out_once_and_recorded(context):
    source = Source("flights", pl.DataFrame({"tail": ["A"], "delay": [1.0]}))
    view = FeatureView("v", entity=Entity("tail"), source=source, features=["delay"])
    spine = pl.DataFrame({"tail": ["A", "B"], "t": [START, START], "late": [True, False]})
    train = training_set(context, spine, [view], time="t", label="late")
    found = statistics(context, train)
    assert found == statistics(context, train.artifact) == describe(train)
    assert len(context.ledger.runs(RunQuery(kind="statistics", input=train.artifact.digest))) == 1
    assert found.to_polars()["name"].to_list() == ["tail", "t", "late", "delay"]
    with pytest.raises(Invalid, match="Only a recorded"):
        statistics(context, train.before(START))
