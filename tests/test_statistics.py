"""The shared statistics against slow, obvious oracles and against SciPy and scikit-learn."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.metrics import average_precision_score, log_loss, roc_auc_score

from trivet import statistics
from trivet.errors import Invalid

moderate = settings(max_examples=60, deadline=None)
scores = st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 1.0]), min_size=4, max_size=40)


@st.composite
def labelled(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Labels with both classes and scores with many ties."""
    p = np.array(draw(scores))
    y = np.array(draw(st.lists(st.sampled_from([0.0, 1.0]), min_size=len(p), max_size=len(p))))
    y[:2], y[2:4] = 0.0, 1.0
    return y, p


def auc_by_pairs(y: np.ndarray, p: np.ndarray) -> float:
    pairs = list(product(p[y == 1], p[y == 0]))
    return sum(1.0 if a > b else 0.5 if a == b else 0.0 for a, b in pairs) / len(pairs)


@moderate
@given(labelled())
def test_auc_counts_pairs_and_halves_ties(rows: tuple[np.ndarray, np.ndarray]) -> None:
    y, p = rows
    assert statistics.auc(y, p) == pytest.approx(auc_by_pairs(y, p), abs=1e-12)
    assert statistics.auc(y, p) == pytest.approx(roc_auc_score(y, p), abs=1e-12)


@moderate
@given(labelled(), st.data())
def test_weights_are_repetitions(rows: tuple[np.ndarray, np.ndarray], data: st.DataObject) -> None:
    y, p = rows
    times = data.draw(hnp.arrays(int, len(y), elements=st.integers(0, 3)))
    times[:4] += 1
    again_y, again_p = np.repeat(y, times), np.repeat(p, times)
    assert statistics.auc(y, p, times) == pytest.approx(statistics.auc(again_y, again_p), abs=1e-12)
    assert statistics.average_precision(y, p, times) == pytest.approx(
        average_precision_score(again_y, again_p), abs=1e-12
    )


def test_measures_of_one_class_are_undefined() -> None:
    assert math.isnan(statistics.auc([1, 1], [0.2, 0.4]))
    assert math.isnan(statistics.auc([], []))
    assert math.isnan(statistics.average_precision([0, 0], [0.2, 0.4]))
    assert math.isnan(statistics.average_precision([], []))


@moderate
@given(labelled())
def test_log_losses_are_scikit_learns(rows: tuple[np.ndarray, np.ndarray]) -> None:
    y, p = rows
    assert statistics.log_losses(y, p).mean() == pytest.approx(log_loss(y, p, labels=[0, 1]), rel=1e-9)


def delong_by_pairs(y: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """The covariance straight from the definition of the placement values."""
    positive, negative = scores[:, y == 1], scores[:, y == 0]
    won = (positive[:, :, None] > negative[:, None, :]) + 0.5 * (positive[:, :, None] == negative[:, None, :])
    above, below = won.mean(axis=2), won.mean(axis=1)
    return np.cov(above) / positive.shape[1] + np.cov(below) / negative.shape[1]


@moderate
@given(labelled(), st.data())
def test_delong_is_the_covariance_of_placements(rows: tuple[np.ndarray, np.ndarray], data: st.DataObject) -> None:
    y, p = rows
    other = np.array(data.draw(st.permutations(p.tolist())))
    areas, covariance = statistics.delong(y, np.stack([p, other]))
    assert areas == pytest.approx([auc_by_pairs(y, p), auc_by_pairs(y, other)], abs=1e-12)
    assert covariance == pytest.approx(delong_by_pairs(y, np.stack([p, other])), abs=1e-12)


@moderate
@given(labelled(), st.sampled_from([0.8, 0.95, 0.999]))
def test_bounds_contain_the_estimate_and_stay_in_range(rows: tuple[np.ndarray, np.ndarray], level: float) -> None:
    found = statistics.auc_interval(*rows, level=level)
    assert 0 <= found.low <= found.estimate <= found.high <= 1
    same = statistics.auc_difference_interval(*rows, rows[1], level=level)
    assert (same.estimate, same.low, same.high) == (0, 0, 0)


def test_a_perfect_sample_is_no_certainty() -> None:
    small = statistics.auc_interval([0] * 5 + [1] * 5, range(10))
    large = statistics.auc_interval([0] * 500 + [1] * 500, range(1000))
    assert 0.5 < small.low < 0.85
    assert 0.98 < large.low < 1
    reverse = statistics.auc_interval([1] * 5 + [0] * 5, range(10))
    assert reverse.high == pytest.approx(1 - small.low)


def test_bounds_of_an_auc_need_two_of_each_class() -> None:
    with pytest.raises(Invalid, match="there are 1 ones and 3 zeros"):
        statistics.auc_interval([0, 0, 0, 1], [1, 2, 3, 4])


@moderate
@given(st.integers(1, 500), st.data(), st.sampled_from([0.9, 0.95, 0.99]))
def test_wilson_is_scipys(trials: int, data: st.DataObject, level: float) -> None:
    successes = data.draw(st.integers(0, trials))
    expected = scipy.stats.binomtest(successes, trials).proportion_ci(level, method="wilson")
    found = statistics.wilson(successes, trials, level=level)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_wilson_of_nothing_says_nothing() -> None:
    found = statistics.wilson(0, 0)
    assert math.isnan(found.estimate)
    assert (found.low, found.high) == (0.0, 1.0)


@moderate
@given(st.lists(st.tuples(st.integers(0, 60), st.integers(1, 60)), min_size=2, max_size=8))
def test_chi_square_is_scipys(cells: list[tuple[int, int]]) -> None:
    table = np.array(cells).T
    table[0, 0] += 1
    expected = scipy.stats.chi2_contingency(table, correction=False)
    assert statistics.chi_square(*table) == pytest.approx((expected.statistic, expected.pvalue), rel=1e-7, abs=1e-12)


def test_chi_square_without_a_difference_to_see() -> None:
    assert statistics.chi_square([5, 0], [7, 0]) == (0.0, 1.0)
    assert statistics.chi_square([0, 0], [7, 2]) == (0.0, 1.0)


@moderate
@given(st.integers(2, 200), st.integers(2, 200), st.data())
def test_two_proportions_is_the_corrected_test(trials: int, other_trials: int, data: st.DataObject) -> None:
    successes, other = data.draw(st.integers(1, trials - 1)), data.draw(st.integers(1, other_trials - 1))
    expected = scipy.stats.chi2_contingency([[successes, trials - successes], [other, other_trials - other]])
    found = statistics.two_proportions(successes, trials, other, other_trials)
    assert found == pytest.approx(expected.pvalue, rel=1e-6, abs=1e-12)


def test_two_proportions_of_nothing_are_equal() -> None:
    assert statistics.two_proportions(0, 0, 5, 10) == 1.0
    assert statistics.two_proportions(0, 10, 0, 20) == 1.0


@moderate
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_benjamini_hochberg_is_scipys(values: list[float]) -> None:
    assert statistics.benjamini_hochberg(values) == pytest.approx(scipy.stats.false_discovery_control(values))


@pytest.mark.parametrize("degrees", [1, 9, 30])
def test_chi_square_quantile_is_scipys(degrees: int) -> None:
    assert statistics.chi_square_quantile(0.999, degrees) == pytest.approx(scipy.stats.chi2.ppf(0.999, degrees))


@pytest.mark.parametrize("level", [0.0, 1.0, 95])
def test_a_level_is_a_probability(level: float) -> None:
    with pytest.raises(Invalid, match=r"Write 0\.95"):
        statistics.normal_quantile(level)


def test_means_with_bounds() -> None:
    values = np.random.default_rng(0).normal(3, 1, 200)
    found = statistics.mean_interval(values)
    expected = scipy.stats.norm.interval(0.95, values.mean(), scipy.stats.sem(values))
    assert (found.low, found.high) == pytest.approx(expected)
    assert statistics.mean_interval([2.0]).high == math.inf
    assert math.isnan(statistics.mean_interval([]).estimate)
