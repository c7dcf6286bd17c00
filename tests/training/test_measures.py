"""Every measure against scikit-learn's, with weights and without, and refusals of what is no number."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from trivet.errors import Invalid, NotFound
from trivet.training.measures import MEASURES, find

moderate = settings(max_examples=50, deadline=None)
ORACLES: dict[str, Callable[..., float]] = {
    "auc": sklearn.metrics.roc_auc_score,
    "average_precision": sklearn.metrics.average_precision_score,
    "log_loss": lambda y, p, sample_weight=None: sklearn.metrics.log_loss(
        y, p, labels=[0, 1], sample_weight=sample_weight
    ),
    "brier": sklearn.metrics.brier_score_loss,
    "accuracy": lambda y, p, sample_weight=None: sklearn.metrics.accuracy_score(
        y, p > 0.5, sample_weight=sample_weight
    ),
    "rmse": sklearn.metrics.root_mean_squared_error,
    "mae": sklearn.metrics.mean_absolute_error,
    "r2": sklearn.metrics.r2_score,
}


def test_every_measure_has_an_oracle() -> None:
    assert set(ORACLES) == set(MEASURES)


@pytest.mark.parametrize("name", ORACLES)
@moderate
@given(data=st.data())
def test_a_measure_is_scikit_learns(name: str, data: st.DataObject) -> None:
    rows = data.draw(st.integers(4, 40))
    weights = data.draw(hnp.arrays(float, rows, elements=st.floats(0.1, 10)))
    if find(name).needs == "value":
        y = data.draw(hnp.arrays(float, rows, elements=st.floats(-1e3, 1e3, width=32)))
        y[:2] = 0.0, 1.0
        p = data.draw(hnp.arrays(float, rows, elements=st.floats(-1e3, 1e3, width=32)))
    else:
        y = data.draw(hnp.arrays(float, rows, elements=st.sampled_from([0.0, 1.0])))
        y[:2] = 0.0, 1.0
        p = data.draw(hnp.arrays(float, rows, elements=st.sampled_from([0.0, 0.1, 0.3, 0.50001, 0.9, 1.0])))
    said = (p > 0.5).astype(float) if name == "accuracy" else p
    assert find(name)(y, said) == pytest.approx(ORACLES[name](y, p), rel=1e-6, abs=1e-9)
    assert find(name)(y, said, weights) == pytest.approx(ORACLES[name](y, p, sample_weight=weights), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("name", MEASURES)
def test_nothing_to_measure_is_undefined(name: str) -> None:
    assert math.isnan(find(name)([], []))


def test_r2_of_a_constant_label_is_undefined() -> None:
    assert math.isnan(find("r2")([2.0, 2.0], [1.0, 2.0]))


def test_an_unknown_measure_names_the_nearest() -> None:
    with pytest.raises(NotFound, match="Did you mean 'rmse'"):
        find("rsme")


def test_lengths_must_agree() -> None:
    with pytest.raises(Invalid, match="about the same rows"):
        find("auc")([0, 1], [0.5])


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_an_answer_that_is_no_number_is_refused(bad: float) -> None:
    with pytest.raises(Invalid, match="1 of 2 rows hold no finite number as answer"):
        find("mae")([0.0, 1.0], [0.5, bad])


def test_large_values_lose_no_digits() -> None:
    y = 1e9 + np.arange(5.0)
    assert find("r2")(y, y + 0.5) == pytest.approx(1 - 0.25 / 2)
