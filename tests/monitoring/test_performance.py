"""Performance by period, over matured and labelled predictions only."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
import scipy.stats
from sklearn.metrics import log_loss, mean_absolute_error, mean_squared_error, roc_auc_score

from tests.monitoring.predictions import START, labels, predictions
from trivet.errors import Invalid, NotFound
from trivet.monitoring.labels import join
from trivet.monitoring.performance import Reference, performance

LATER = datetime(2027, 1, 1, tzinfo=UTC)


def joined(count: int = 1000, **options: float) -> pl.DataFrame:
    made = predictions(count, **options)
    return join(made, labels(made)).frame


def test_each_period_is_measured_alone() -> None:
    frame = joined()
    periods = performance(frame, now=LATER)
    assert [period.start.day for period in periods] == [1, 2, 3, 4, 5, 6, 7]
    for period in periods:
        part = frame.filter((pl.col("at") >= period.start) & (pl.col("at") < period.end))
        y, p = part["label"].to_numpy(), part["score"].to_numpy()
        assert (period.rows, period.labelled, period.coverage) == (len(part), len(part), 1.0)
        assert period.metrics["auc"].estimate == pytest.approx(roc_auc_score(y, p))
        assert period.metrics["log_loss"].estimate == pytest.approx(log_loss(y, p, labels=[0, 1]))
        assert period.metrics["calibration"].estimate == pytest.approx(y.mean() - p.mean())
        wilson = scipy.stats.binomtest(int(y.sum()), len(y)).proportion_ci(method="wilson")
        found = period.metrics["base_rate"]
        assert (found.low, found.high) == pytest.approx((wilson.low, wilson.high))
        assert all(each.low <= each.estimate <= each.high for each in period.metrics.values())


@pytest.mark.parametrize(
    ("every", "starts"),
    [
        ("day", ["01-01", "01-02"]),
        ("week", ["12-29"]),
        ("month", ["01-01"]),
        ("36h", ["01-01"]),
        ("1d", ["01-01", "01-02"]),
    ],
)
def test_periods_are_calendar_periods_or_durations(every: str, starts: list[str]) -> None:
    periods = performance(joined(200), every=every, now=LATER)
    assert [f"{period.start:%m-%d}" for period in periods] == starts
    assert sum(period.rows for period in periods) == 200
    assert all(a.end == b.start for a, b in itertools.pairwise(periods))


def test_a_period_without_predictions_is_there_with_nothing() -> None:
    frame = joined(1000).filter(pl.col("at").dt.day() != 3)
    silent = performance(frame, now=LATER)[2]
    assert (silent.rows, silent.matured, silent.coverage, silent.metrics) == (0, 0, None, {})
    assert silent.end - silent.start == timedelta(days=1)


def test_only_matured_predictions_count() -> None:
    frame = joined(288)  # two days
    now = START + timedelta(days=2)
    first, second = performance(frame, maturity="12h", now=now)
    assert (first.matured, second.matured, second.rows) == (144, 73, 144)
    assert second.labelled == 73


def test_coverage_counts_labels_of_the_matured() -> None:
    frame = joined(144).with_columns(label=pl.when(pl.int_range(pl.len()) % 4 > 0).then("label"))
    (period,) = performance(frame, now=LATER)
    assert (period.matured, period.labelled, period.coverage) == (144, 108, 0.75)


def test_without_labels_there_are_no_numbers() -> None:
    (period,) = performance(joined(100).with_columns(label=pl.lit(None, pl.Float64)), now=LATER)
    assert (period.coverage, period.metrics, period.shift) == (0.0, {}, "not enough data")


def test_one_class_has_a_base_rate_and_no_auc() -> None:
    (period,) = performance(joined(100).with_columns(label=pl.lit(1.0)), now=LATER)
    assert period.metrics["base_rate"].estimate == 1.0
    assert "auc" not in period.metrics


def test_one_label_has_no_spread_and_claims_none() -> None:
    (period,) = performance(joined(1), now=LATER)
    assert set(period.metrics) == {"base_rate"}


def test_a_shift_of_the_base_rate_is_found_and_no_shift_is_not() -> None:
    frame = joined(4000)
    rate = frame["label"].mean()
    assert isinstance(rate, float)
    stable = performance(frame, every="week", now=LATER, reference=Reference(10_000 * rate, 10_000))
    assert {period.shift for period in stable} == {"stable"}
    moved = performance(frame, every="week", now=LATER, reference=Reference(10_000 * (rate - 0.1), 10_000))
    assert moved[1].shift == "shift"


def test_base_rates_shift_falsely_at_most_once_in_a_hundred() -> None:
    generator = np.random.default_rng(0)
    times = pl.Series([START + timedelta(hours=2) * index for index in range(600)], dtype=pl.Datetime("us", "UTC"))
    alarms = 0
    for _ in range(150):
        frame = pl.DataFrame({"at": times, "score": 0.5, "label": (generator.random(600) < 0.2).astype(float)})
        reference = Reference(float(generator.binomial(5000, 0.2)), 5000)
        periods = performance(frame, every="week", now=LATER, reference=reference)
        alarms += any(period.shift == "shift" for period in periods)
    assert alarms <= 4  # at most 1 % expected; 5 or more of 150 would then have a chance below 2 %


def test_numbers_are_measured_as_numbers() -> None:
    frame = joined(100).with_columns(label=pl.col("score") * 3 + 1)
    (period,) = performance(frame, now=LATER, kind="regression", reference=Reference(1, 2))
    y, p = frame["label"], frame["score"]
    assert period.metrics["mse"].estimate == pytest.approx(mean_squared_error(y, p))
    assert period.metrics["mae"].estimate == pytest.approx(mean_absolute_error(y, p))
    assert period.metrics["bias"].estimate == pytest.approx((p - y).mean())
    assert period.shift == "not enough data"


def test_no_predictions_have_no_periods() -> None:
    assert performance(joined(0), now=LATER) == []


def test_refusals() -> None:
    with pytest.raises(NotFound, match=r"There is no period 'wek'\. Did you mean 'week'"):
        performance(joined(2), every="wek", now=LATER)
    with pytest.raises(Invalid, match="longer than nothing"):
        performance(joined(2), every="0s", now=LATER)
    with pytest.raises(Invalid, match="kind='regression'"):
        performance(joined(2).with_columns(label=pl.lit(7.5)), now=LATER)
    with pytest.raises(NotFound, match="There is no column 'score'"):
        performance(joined(2).drop("score"), now=LATER)
