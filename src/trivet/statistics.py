"""Statistics that several legs share: the area under the ROC curve, proportions, and tests of many things at once.

Pure functions over NumPy arrays, with the source of each formula. Labels ``y`` are 0 or 1, scores ``p`` are any
finite numbers that grow with the chance of a 1. What depends on resampling is in ``trivet.training.bootstrap``,
what knows about time in ``trivet.monitoring``. NumPy is imported inside the functions and SciPy only by the
chi-square ones, so that declarations that name a statistic load neither.

Invariant: bounds contain the estimate, and no answer depends on the order of the rows.
"""

from __future__ import annotations

import math
from functools import cache
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec

from trivet.errors import Invalid

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike

    Array: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]

__all__ = [
    "Interval",
    "auc",
    "auc_difference_interval",
    "auc_interval",
    "average_precision",
    "benjamini_hochberg",
    "chi_square",
    "chi_square_quantile",
    "delong",
    "log_losses",
    "mean_interval",
    "normal_quantile",
    "two_proportions",
    "wilson",
]


class Interval(msgspec.Struct, frozen=True):
    """An estimate and the confidence bounds around it."""

    estimate: float
    low: float
    high: float


def normal_quantile(level: float) -> float:
    """Half the width, in standard errors, of a two-sided normal interval that holds with probability ``level``.

    Raises:
        Invalid: ``level`` is not between 0 and 1.

    Example:
        >>> round(normal_quantile(0.95), 4)
        1.96
    """
    if not 0 < level < 1:
        raise Invalid(f"A confidence level is between 0 and 1, not {level!r}. Write 0.95 for 95 %.")
    return NormalDist().inv_cdf((1 + level) / 2)


def auc(y: ArrayLike, p: ArrayLike, weights: ArrayLike | None = None) -> float:
    """The area under the ROC curve: the chance that a 1 scores above a 0, a tie counting one half.

    Worked out from the sums of weights on either side of each score (Mann and Whitney 1947; Hanley and McNeil
    1982), so ties are exact. NaN where one of the classes has no weight.

    Example:
        >>> auc([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8])
        0.75
    """
    import numpy as np

    y, p = np.asarray(y, dtype=float), np.asarray(p, dtype=float)
    weight = np.ones(len(y)) if weights is None else np.asarray(weights, dtype=float)
    _, place = np.unique(p, return_inverse=True)
    positives, negatives = np.bincount(place, weight * y), np.bincount(place, weight * (1 - y))
    pairs = positives.sum() * negatives.sum()
    below = np.cumsum(negatives) - negatives / 2
    return float(positives @ below / pairs) if pairs else math.nan


def average_precision(y: ArrayLike, p: ArrayLike, weights: ArrayLike | None = None) -> Any:
    """The step-wise area under the precision and recall curve: sum of (recall gained) x precision, by score.

    As in scikit-learn's ``average_precision_score``: no interpolation, rows of equal score enter together.
    ``weights`` may have leading axes, one resample of the rows in each; the answer then has them too. NaN where
    the positives have no weight.

    Example:
        >>> round(average_precision([0, 0, 1, 1], [0.1, 0.4, 0.35, 0.8]), 4)
        0.8333
    """
    import numpy as np

    y, p = np.asarray(y, dtype=float), np.asarray(p, dtype=float)
    order = np.argsort(-p, kind="stable")
    y, p = y[order], p[order]
    weight = np.ones(len(y)) if weights is None else np.asarray(weights, dtype=float)[..., order]
    last = np.flatnonzero(np.append(p[1:] != p[:-1], True)) if len(p) else np.array([], dtype=int)
    hits = np.cumsum(weight * y, axis=-1)[..., last]
    chosen = np.cumsum(weight, axis=-1)[..., last]
    precision = np.divide(hits, chosen, out=np.zeros_like(hits), where=chosen > 0)
    gained = np.diff(hits, axis=-1, prepend=0.0)
    total = hits[..., -1] if hits.shape[-1] else np.zeros(hits.shape[:-1])
    area = np.divide((gained * precision).sum(axis=-1), total, out=np.full_like(total, np.nan), where=total > 0)
    return float(area) if area.ndim == 0 else area


def log_losses(y: ArrayLike, p: ArrayLike) -> Array:
    """What each row adds to the log loss: ``-log`` of the probability given to what happened.

    Probabilities are kept one rounding error away from 0 and 1, as scikit-learn does, so a confident mistake
    costs about 36 and not infinity.

    Example:
        >>> log_losses([1, 0], [0.5, 0.25]).round(4).tolist()
        [0.6931, 0.2877]
    """
    import numpy as np

    y, p = np.asarray(y, dtype=float), np.asarray(p, dtype=float)
    margin = np.finfo(float).eps
    given = np.clip(np.where(y == 1, p, 1 - p), margin, 1 - margin)
    losses: Array = -np.log(given)
    return losses


def delong(y: ArrayLike, scores: ArrayLike) -> tuple[Array, Array]:
    """The areas under the ROC curves of several scores of the same rows, and the covariance of these areas.

    ``scores`` has one row per model. DeLong, DeLong and Clarke-Pearson, Biometrics 44 (1988) 837, computed from
    midranks in O(n log n) after Sun and Xu, IEEE Signal Processing Letters 21 (2014) 1389.

    Raises:
        Invalid: a class has fewer than two rows, so that there is no variance to estimate.
    """
    import numpy as np

    y, scores = np.asarray(y, dtype=float), np.atleast_2d(np.asarray(scores, dtype=float))
    positive = y == 1
    n_pos, n_neg = int(positive.sum()), int((~positive).sum())
    if min(n_pos, n_neg) < 2:
        raise Invalid(f"The bounds of an AUC need two rows of each class; there are {n_pos} ones and {n_neg} zeros.")
    above, below = np.empty((len(scores), n_pos)), np.empty((len(scores), n_neg))
    for index, score in enumerate(scores):
        ranks = _midranks(score)
        above[index] = (ranks[positive] - _midranks(score[positive])) / n_neg
        below[index] = 1 - (ranks[~positive] - _midranks(score[~positive])) / n_pos
    covariance = np.cov(above).reshape(len(scores), -1) / n_pos + np.cov(below).reshape(len(scores), -1) / n_neg
    return above.mean(axis=1), covariance


def auc_interval(y: ArrayLike, p: ArrayLike, *, level: float = 0.95) -> Interval:
    """The AUC with bounds: DeLong's variance on the logit scale (Pepe, "The Statistical Evaluation of Medical
    Tests", 2003, section 5.2), which keeps the bounds between 0 and 1 and their coverage near 1.

    A sample that is separated perfectly has no variance; there Newcombe's score interval is used (Statistics in
    Medicine 25 (2006) 559, method 5), whose bound tells how large the sample was.

    Raises:
        Invalid: as ``delong``.

    Example:
        >>> auc_interval([0, 0, 0, 1, 1, 1], [1, 2, 3, 4, 5, 6]).low < 0.75
        True
    """
    import numpy as np

    z = normal_quantile(level)
    areas, covariance = delong(y, p)
    area, error = float(areas[0]), math.sqrt(max(float(covariance[0, 0]), 0.0))
    if area in (0.0, 1.0):
        positives = int(np.sum(np.asarray(y) == 1))
        far = _newcombe(positives, int(np.size(y)) - positives, z)
        return Interval(area, far, 1.0) if area else Interval(area, 0.0, 1 - far)
    centre, spread = math.log(area / (1 - area)), z * error / (area * (1 - area))
    return Interval(area, min(area, _logistic(centre - spread)), max(area, _logistic(centre + spread)))


def auc_difference_interval(y: ArrayLike, p: ArrayLike, other: ArrayLike, *, level: float = 0.95) -> Interval:
    """The AUC of ``p`` less that of ``other`` on the same rows, with bounds by DeLong's paired covariance.

    Raises:
        Invalid: as ``delong``.

    Example:
        >>> auc_difference_interval([0, 0, 1, 1], [1, 3, 2, 4], [1, 3, 2, 4])
        Interval(estimate=0.0, low=0.0, high=0.0)
    """
    import numpy as np

    areas, covariance = delong(y, np.stack([np.asarray(p, dtype=float), np.asarray(other, dtype=float)]))
    difference = float(areas[0] - areas[1])
    variance = float(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    spread = normal_quantile(level) * math.sqrt(max(variance, 0.0))
    return Interval(difference, max(difference - spread, -1.0), min(difference + spread, 1.0))


def wilson(successes: float, trials: float, *, level: float = 0.95) -> Interval:
    """A proportion with Wilson's score bounds (Journal of the American Statistical Association 22 (1927) 209).

    Example:
        >>> bounds = wilson(0, 10)
        >>> bounds.low, round(bounds.high, 4)
        (0.0, 0.2775)
    """
    z = normal_quantile(level)
    if not trials:
        return Interval(math.nan, 0.0, 1.0)
    share = successes / trials
    centre = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    spread = z * math.sqrt(share * (1 - share) / trials + (z / (2 * trials)) ** 2) / (1 + z * z / trials)
    return Interval(share, max(0.0, min(share, centre - spread)), min(1.0, max(share, centre + spread)))


def mean_interval(values: ArrayLike, *, level: float = 0.95) -> Interval:
    """A mean with bounds by the central limit theorem; without bounds (infinite ones) below two values."""
    import numpy as np

    values = np.asarray(values, dtype=float)
    if not len(values):
        return Interval(math.nan, -math.inf, math.inf)
    mean = float(values.mean())
    if len(values) < 2:
        return Interval(mean, -math.inf, math.inf)
    spread = normal_quantile(level) * float(values.std(ddof=1)) / math.sqrt(len(values))
    return Interval(mean, mean - spread, mean + spread)


def two_proportions(successes: float, trials: float, other: float, other_trials: float) -> float:
    """The p-value of "both proportions are the same": the chi-square test of the 2 x 2 table, with Yates's
    correction, which makes it careful for small counts (Supplement to the JRSS 1 (1934) 217).

    Example:
        >>> two_proportions(50, 100, 50, 100), two_proportions(80, 100, 50, 100) < 0.001
        (1.0, True)
    """
    table = ((successes, trials - successes), (other, other_trials - other))
    total = trials + other_trials
    rows, columns = (trials, other_trials), (table[0][0] + table[1][0], table[0][1] + table[1][1])
    if not all(rows) or not all(columns):
        return 1.0
    off = abs(table[0][0] * table[1][1] - table[0][1] * table[1][0])
    statistic = total * max(off - total / 2, 0.0) ** 2 / (rows[0] * rows[1] * columns[0] * columns[1])
    return math.erfc(math.sqrt(statistic / 2))


def chi_square(counts: ArrayLike, other: ArrayLike) -> tuple[float, float]:
    """Pearson's two-sample chi-square: the statistic and the p-value of "both counts come from one distribution".

    Cells that are empty in both samples are left out. With fewer than two cells nothing can differ: (0, 1).

    Example:
        >>> statistic, p_value = chi_square([10, 20, 30], [30, 20, 10])
        >>> round(statistic, 4), p_value < 0.001
        (20.0, True)
    """
    import numpy as np

    table = np.stack([np.asarray(counts, dtype=float), np.asarray(other, dtype=float)])
    table = table[:, table.sum(axis=0) > 0]
    sizes = table.sum(axis=1, keepdims=True)
    if table.shape[1] < 2 or not sizes.all():
        return 0.0, 1.0
    expected = sizes * table.sum(axis=0) / sizes.sum()
    statistic = float(((table - expected) ** 2 / expected).sum())
    from scipy.special import chdtrc

    return statistic, float(chdtrc(table.shape[1] - 1, statistic))


@cache
def chi_square_quantile(level: float, degrees: int) -> float:
    """The value that a chi-square with ``degrees`` of freedom stays below with probability ``level``.

    Example:
        >>> round(chi_square_quantile(0.999, 9), 3)
        27.877
    """
    from scipy.special import chdtri

    return float(chdtri(degrees, 1 - level))


def benjamini_hochberg(p_values: ArrayLike) -> list[float]:
    """Adjusted p-values: calling those below ``q`` discoveries keeps the expected share of false ones below ``q``.

    Benjamini and Hochberg, Journal of the Royal Statistical Society B 57 (1995) 289. Where nothing is there to be
    found, the chance of any discovery at all is at most ``q``.

    Example:
        >>> benjamini_hochberg([0.01, 0.04, 0.03, 0.5])
        [0.04, 0.05333333333333334, 0.05333333333333334, 0.5]
    """
    import numpy as np

    values = np.asarray(p_values, dtype=float)
    order = np.argsort(-values, kind="stable")
    scaled = values[order] * len(values) / np.arange(len(values), 0, -1)
    adjusted = np.empty(len(values))
    adjusted[order] = np.minimum(np.minimum.accumulate(scaled), 1.0)
    return [float(value) for value in adjusted]


def _midranks(values: Array) -> Array:
    """Ranks from 1, tied values sharing the mean of theirs."""
    import numpy as np

    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: Array = (last - (counts - 1) / 2)[place]
    return ranks


def _newcombe(positives: int, negatives: int, z: float) -> float:
    """The lower bound of an AUC of exactly 1: the area whose score test just allows it, by bisection."""
    balance = (positives + negatives) / 2 - 1

    def allowed(area: float) -> bool:
        inner = 1 + balance * ((1 - area) / (2 - area) + area / (1 + area))
        return (1 - area) ** 2 <= z * z * area * (1 - area) * inner / (positives * negatives)

    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if allowed(middle) else (middle, high)
    return high


def _logistic(value: float) -> float:
    return 1 / (1 + math.exp(-value)) if value >= 0 else 1 - 1 / (1 + math.exp(value))
