"""Confidence bounds of a measure, and of the difference between two models on the same rows.

The method follows from the measure, and every answer names it:

* ``delong``: AUC, by its variance in closed form (``trivet.statistics``): 82,000 rows take milliseconds;
* ``wilson``: accuracy, a plain proportion; ``newcombe``: differences of accuracy, by the score interval for paired
  proportions;
* ``bca``: measures that are functions of means, by the bias-corrected and accelerated bootstrap (Efron, Journal of
  the American Statistical Association 82 (1987) 171). The acceleration comes from the exact jackknife, which
  means allow in one pass;
* ``bootstrap-logit``: average precision, by the bootstrap's standard error on the logit scale (Boyd, Eng and Page,
  ECML PKDD 2013, find logit bounds to keep their coverage for precision and recall);
* ``bootstrap-normal``: differences of average precision;
* ``none``: fewer than twenty rows to resample, or five of either class to rank.

A resample is how often each row is drawn, not a copy of the rows: terms, sorting and ties are worked out once.
Resamples beyond ``resamples`` are drawn where a bound far in the tail needs them (simultaneous bounds of many slices).

Invariant: the same arguments give the same bounds, whatever the number of threads; bounds contain the estimate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from statistics import NormalDist

import msgspec
import numpy as np
from numpy.typing import ArrayLike

from trivet import statistics
from trivet.errors import Invalid
from trivet.statistics import Interval
from trivet.training.measures import Array, Mean, Measure, as_arrays, find

__all__ = ["Bounds", "bounds", "difference"]

_CELLS = 1_000_000  # rows x resamples in memory at once: 8 MB of weights
_EDGE = 1e-9  # as near as the logit scale goes to 0 and 1
_FEWEST = 20  # rows to resample
_FEWEST_OF_A_CLASS = 5  # rows of either class for ranked measures
_IN_TAIL = 10  # resamples that should lie beyond each bound


class Bounds(msgspec.Struct, frozen=True):
    """An estimate with its confidence bounds.

    Attributes:
        estimate: the measure on the rows given, NaN where there are too few to define it.
        low, high: the bounds; infinite where the rows cannot bound it.
        level: the chance that such bounds contain the true value.
        method: how the bounds were found.
        rows: how many rows they rest on.
    """

    estimate: float
    low: float
    high: float
    level: float
    method: str
    rows: int


def bounds(
    measure: str | Measure, y: ArrayLike, p: ArrayLike, *, level: float = 0.95, resamples: int = 1000, seed: int = 0
) -> Bounds:
    """A measure of the answers ``p`` to the labels ``y``, with two-sided confidence bounds.

    Raises:
        NotFound: there is no measure of that name.
        Invalid: lengths differ, a number is not finite, or ``level`` is not between 0 and 1.

    Example:
        >>> found = bounds("accuracy", [1, 0, 1, 1], [1, 0, 1, 0])
        >>> found.estimate, round(found.low, 2), round(found.high, 2), found.method
        (0.75, 0.3, 0.95, 'wilson')
    """
    measure = find(measure) if isinstance(measure, str) else measure
    statistics.normal_quantile(level)  # refuses a level that is none
    y, p = as_arrays(y, p)
    if not _enough(measure, y):
        return Bounds(measure(y, p), -math.inf, math.inf, level, "none", len(y))
    if measure.name == "auc":
        return _bounds(statistics.auc_interval(y, p, level=level), level, "delong", y)
    if measure.name == "accuracy":
        return _bounds(statistics.wilson(float((y == p).sum()), len(y), level=level), level, "wilson", y)
    draws = _resamples(len(y), _enough_draws(resamples, level), seed)
    if isinstance(measure, Mean):
        return _bounds(_bca(measure.terms(y, p), measure.combine, draws, level), level, "bca", y)
    replicates = np.concatenate([measure.weighted(y, p, weights) for weights in draws])
    return _bounds(_logit(measure(y, p), replicates, level), level, "bootstrap-logit", y)


def difference(
    measure: str | Measure,
    y: ArrayLike,
    p: ArrayLike,
    baseline: ArrayLike,
    *,
    level: float = 0.95,
    resamples: int = 1000,
    seed: int = 0,
) -> Bounds:
    """The measure of ``p`` less that of ``baseline``, paired: both answered the same rows ``y``.

    The rows are resampled once for both, so what is hard for both models cancels.

    Raises:
        NotFound: there is no measure of that name.
        Invalid: lengths differ, a number is not finite, or ``level`` is not between 0 and 1.

    Example:
        >>> difference("mae", [1.0, 2.0, 3.0], [1.0, 2.0, 3.0], [2.0, 3.0, 4.0]).estimate
        -1.0
    """
    measure = find(measure) if isinstance(measure, str) else measure
    statistics.normal_quantile(level)
    y, p, baseline = as_arrays(y, p, baseline)
    if not _enough(measure, y):
        return Bounds(measure(y, p) - measure(y, baseline), -math.inf, math.inf, level, "none", len(y))
    if measure.name == "auc":
        return _bounds(statistics.auc_difference_interval(y, p, baseline, level=level), level, "delong", y)
    if measure.name == "accuracy":
        return _bounds(statistics.paired_proportions(y == p, y == baseline, level=level), level, "newcombe", y)
    draws = _resamples(len(y), _enough_draws(resamples, level), seed)
    if isinstance(measure, Mean):
        terms = np.concatenate([measure.terms(y, p), measure.terms(y, baseline)], axis=1)
        return _bounds(_bca(terms, _less(measure.combine), draws, level), level, "bca", y)
    replicates = [measure.weighted(y, p, weights) - measure.weighted(y, baseline, weights) for weights in draws]
    estimate = measure(y, p) - measure(y, baseline)
    return _bounds(_normal(estimate, np.concatenate(replicates), level), level, "bootstrap-normal", y)


def _bounds(interval: Interval, level: float, method: str, y: Array) -> Bounds:
    return Bounds(interval.estimate, interval.low, interval.high, level, method, len(y))


def _enough(measure: Measure, y: Array) -> bool:
    """Whether the rows can tell the spread of the measure; below, bounds would be fiction."""
    if measure.name == "accuracy":
        return len(y) >= 1
    if isinstance(measure, Mean):
        return len(y) >= _FEWEST and (measure.name != "r2" or len(np.unique(y)) >= 2)
    return min(int((y == 1).sum()), int((y != 1).sum())) >= _FEWEST_OF_A_CLASS


def _enough_draws(resamples: int, level: float) -> int:
    if resamples < 100:
        raise Invalid(f"{resamples} resamples are too few for confidence bounds. Take 1000.")
    return max(resamples, math.ceil(2 * _IN_TAIL / (1 - level)))


def _resamples(rows: int, count: int, seed: int) -> Iterator[Array]:
    """How often each row is drawn in each of ``count`` resamples, some resamples at a time."""
    generator = np.random.default_rng(seed)
    size = max(1, _CELLS // rows)
    for start in range(0, count, size):
        some = min(size, count - start)
        drawn = generator.integers(0, rows, (some, rows))
        drawn += np.arange(some)[:, None] * rows
        yield np.bincount(drawn.ravel(), minlength=some * rows).reshape(some, rows).astype(float)


def _less(combine: Callable[[Array], Array]) -> Callable[[Array], Array]:
    def apart(means: Array) -> Array:
        half = means.shape[-1] // 2
        return combine(means[..., :half]) - combine(means[..., half:])

    return apart


def _bca(terms: Array, combine: Callable[[Array], Array], draws: Iterator[Array], level: float) -> Interval:
    rows = len(terms)
    means = terms.mean(axis=0)
    estimate = float(combine(means))
    # einsum adds in a fixed order, unlike a matrix product, whose order depends on the number of threads
    replicates = np.concatenate([combine(np.einsum("bn,nk->bk", weights, terms) / rows) for weights in draws])
    replicates = np.sort(replicates[np.isfinite(replicates)])
    if not len(replicates) or replicates[0] == replicates[-1]:
        return Interval(estimate, estimate, estimate)
    without = combine((means * rows - terms) / (rows - 1))
    lean = without.mean() - without
    cubes, squares = float((lean**3).sum()), float((lean**2).sum())
    acceleration = cubes / (6 * squares**1.5) if squares else 0.0
    below = float((replicates < estimate).mean() + (replicates == estimate).mean() / 2)
    edge = 1 / (len(replicates) + 1)
    bias = NormalDist().inv_cdf(min(max(below, edge), 1 - edge))
    z = statistics.normal_quantile(level)
    low, high = (float(np.quantile(replicates, _bca_level(bias, acceleration, tail))) for tail in (-z, z))
    return Interval(estimate, min(low, estimate), max(high, estimate))


def _bca_level(bias: float, acceleration: float, tail: float) -> float:
    shifted = bias + tail
    stretched = 1 - acceleration * shifted
    return NormalDist().cdf(bias + shifted / stretched) if stretched > 0 else float(tail > 0)


def _logit(estimate: float, replicates: Array, level: float) -> Interval:
    """Normal bounds on the logit scale, the bootstrap's estimate of the bias taken off the centre."""
    inside = np.clip(replicates[np.isfinite(replicates)], _EDGE, 1 - _EDGE)
    logits = np.log(inside / (1 - inside))
    within = min(max(estimate, _EDGE), 1 - _EDGE)
    centre = 2 * math.log(within / (1 - within)) - float(logits.mean())
    spread = statistics.normal_quantile(level) * float(logits.std(ddof=1))
    low, high = (1 / (1 + math.exp(-logit)) for logit in (centre - spread, centre + spread))
    return Interval(estimate, min(low, estimate), max(high, estimate))


def _normal(estimate: float, replicates: Array, level: float) -> Interval:
    spread = statistics.normal_quantile(level) * float(np.std(replicates[np.isfinite(replicates)], ddof=1))
    return Interval(estimate, estimate - spread, estimate + spread)
