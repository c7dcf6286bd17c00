"""Bounds: their coverage by simulation, their agreement with SciPy's bootstrap, their speed and repeatability."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
import scipy.stats

from trivet.errors import Invalid, NotFound
from trivet.training.bootstrap import bounds, difference
from trivet.training.measures import MEASURES, find


def draw(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, a good answer and one a little worse, from a known law."""
    generator = np.random.default_rng(seed)
    y = (generator.random(rows) < 0.2).astype(float)
    x = generator.normal(size=rows) + y
    noise = generator.normal(size=rows)
    return y, 1 / (1 + np.exp(1.9 - x)), 1 / (1 + np.exp(1.9 - x - 0.7 * noise))


def said(name: str, p: np.ndarray) -> np.ndarray:
    return (p > 0.5).astype(float) if name == "accuracy" else p


LAW = draw(1_000_000, 12345)


@pytest.mark.parametrize("name", MEASURES)
def test_bounds_hold_as_often_as_they_say(name: str) -> None:
    truth = find(name)(LAW[0], said(name, LAW[1]))
    held = 0
    for seed in range(200):
        y, p, _ = draw(300, seed)
        found = bounds(name, y, said(name, p), resamples=400, seed=seed)
        held += found.low <= truth <= found.high
    assert 0.90 <= held / 200 <= 0.99


@pytest.mark.parametrize("name", ["auc", "log_loss", "accuracy", "average_precision"])
def test_bounds_of_a_difference_hold_as_often_as_they_say(name: str) -> None:
    truth = find(name)(LAW[0], said(name, LAW[1])) - find(name)(LAW[0], said(name, LAW[2]))
    held = 0
    for seed in range(200):
        y, p, other = draw(300, seed)
        found = difference(name, y, said(name, p), said(name, other), resamples=400, seed=seed)
        held += found.low <= truth <= found.high
    assert 0.90 <= held / 200 <= 0.99


def test_bca_is_scipys() -> None:
    y, p, _ = draw(200, 7)
    errors = np.abs(y - p)
    expected = scipy.stats.bootstrap(
        (errors,), np.mean, n_resamples=20_000, method="BCa", rng=np.random.default_rng(1)
    ).confidence_interval
    found = bounds("mae", y, p, resamples=20_000)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.003)


def test_delong_agrees_with_resampling() -> None:
    y, p, other = draw(2000, 3)
    generator = np.random.default_rng(0)
    replicates = []
    for _ in range(1000):
        rows = generator.integers(0, 2000, 2000)
        replicates.append(find("auc")(y[rows], p[rows]) - find("auc")(y[rows], other[rows]))
    found = difference("auc", y, p, other)
    assert (found.high - found.low) / (2 * 1.96) == pytest.approx(np.std(replicates), rel=0.1)


def test_pairing_removes_what_is_hard_for_both() -> None:
    y, p, other = draw(2000, 4)
    alone, paired = bounds("auc", y, p), difference("auc", y, p, other)
    assert paired.high - paired.low < alone.high - alone.low


@pytest.mark.parametrize("name", MEASURES)
def test_the_same_seed_gives_the_same_bounds(name: str) -> None:
    y, p, _ = draw(500, 5)
    assert bounds(name, y, said(name, p), seed=9) == bounds(name, y, said(name, p), seed=9)


@pytest.mark.parametrize("name", MEASURES)
def test_higher_confidence_is_wider(name: str) -> None:
    y, p, _ = draw(500, 6)
    usual, sure = (bounds(name, y, said(name, p), level=level) for level in (0.95, 0.999))
    assert sure.low < usual.low <= usual.estimate <= usual.high < sure.high


@pytest.mark.parametrize("name", MEASURES)
def test_too_few_rows_bound_nothing(name: str) -> None:
    found = bounds(name, [1.0], [1.0])
    assert (found.low, found.high, found.method) == (-math.inf, math.inf, "none")
    assert difference(name, [1.0], [1.0], [0.0]).method == "none"


def test_equal_models_differ_by_exactly_nothing() -> None:
    y, p, _ = draw(300, 8)
    for name in ("auc", "log_loss", "average_precision"):
        found = difference(name, y, p, p)
        assert (found.estimate, found.low, found.high) == (0, 0, 0)


def test_bounds_by_chunks_are_those_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    y, p, _ = draw(300, 9)
    at_once = bounds("average_precision", y, p, resamples=200)
    monkeypatch.setattr("trivet.training.bootstrap._CELLS", 300 * 7)
    assert bounds("average_precision", y, p, resamples=200) == at_once


def test_eighty_thousand_rows_are_quick() -> None:
    y, p, other = draw(82_000, 10)
    start = time.perf_counter()
    difference("auc", y, p, other)
    bounds("log_loss", y, p)
    assert time.perf_counter() - start < 10


def test_refusals() -> None:
    with pytest.raises(NotFound, match="Did you mean 'auc'"):
        bounds("aucc", [0, 1], [0, 1])
    with pytest.raises(Invalid, match="too few for confidence bounds"):
        bounds("mae", [0, 1], [0, 1], resamples=5)
    with pytest.raises(Invalid, match="between 0 and 1"):
        bounds("mae", [0, 1], [0, 1], level=95)
