"""How good a model's answers are: the measures by name, each a function of what happened and what was said.

A measure is either a *mean*: a function of the averages of a few terms per row (log loss, accuracy, RMSE), or
*ranked*: a function of the order of all rows (AUC, average precision). ``trivet.training.bootstrap`` uses that
difference to find bounds quickly; ``trivet.training.gates`` only knows names and directions.

Invariant: each agrees with scikit-learn's function of the same meaning, with and without weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from trivet import statistics
from trivet.errors import Invalid, NotFound

__all__ = ["MEASURES", "Array", "Mean", "Measure", "Needs", "Ranked", "as_arrays", "find"]

Array: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]
Needs: TypeAlias = Literal["probability", "class", "value"]
"""What the model must answer: the probability of the last class, the class itself, or a number."""


@dataclass(frozen=True)
class Measure:
    """One measure.

    Attributes:
        name: how gates and metrics call it.
        greater_is_better: whether a greater value is a better model.
        needs: what the model must answer.
        title: how people call it.
    """

    name: str
    greater_is_better: bool
    needs: Needs
    title: str

    def __call__(self, y: ArrayLike, p: ArrayLike, weights: ArrayLike | None = None) -> float:
        """The value for what happened, ``y``, and what was said, ``p``; NaN where it is not defined."""
        y, p = as_arrays(y, p)
        weight = np.ones(len(y)) if weights is None else np.asarray(weights, dtype=float)
        return float(self.weighted(y, p, weight[None, :])[0])

    def weighted(self, y: Array, p: Array, weights: Array) -> Array:
        """The value for each row of ``weights``, shaped (resamples, rows)."""
        raise NotImplementedError


@dataclass(frozen=True)
class Mean(Measure):
    """A function of the means of per-row terms.

    Attributes:
        terms: from (y, p) to an array (rows, k).
        combine: from means, shaped (..., k), to values, shaped (...).
    """

    terms: Callable[[Array, Array], Array]
    combine: Callable[[Array], Array]

    def weighted(self, y: Array, p: Array, weights: Array) -> Array:
        """See ``Measure.weighted``."""
        totals = weights.sum(axis=1, keepdims=True)
        means = _ratio(weights @ self.terms(y, p), totals)
        return self.combine(means)


@dataclass(frozen=True)
class Ranked(Measure):
    """A function of the order of the rows by score."""

    area: Callable[[Array, Array, Array], Array]

    def weighted(self, y: Array, p: Array, weights: Array) -> Array:
        """See ``Measure.weighted``."""
        return self.area(y, p, weights)


def find(name: str) -> Measure:
    """The measure called ``name``.

    Raises:
        NotFound: there is none; the nearest is named.

    Example:
        >>> find("rmse")([1.0, 3.0], [1.0, 1.0]).__round__(3)
        1.414
    """
    try:
        return MEASURES[name]
    except KeyError:
        raise NotFound("measure", name, MEASURES) from None


def as_arrays(y: ArrayLike, *said: ArrayLike) -> tuple[Array, ...]:
    """``y`` and answers about the same rows, as float arrays of one length.

    Raises:
        Invalid: the lengths differ, or something is not a finite number.
    """
    arrays = tuple(np.asarray(values, dtype=float) for values in (y, *said))
    if len({array.shape for array in arrays}) > 1 or arrays[0].ndim != 1:
        shapes = ", ".join(str(array.shape) for array in arrays)
        raise Invalid(f"Labels and answers must be about the same rows, one number each; their shapes are {shapes}.")
    for what, array in zip(("label", "answer", "answer of the baseline"), arrays, strict=False):
        if bad := int((~np.isfinite(array)).sum()):
            raise Invalid(f"{bad} of {len(array)} rows hold no finite number as {what}.")
    return arrays


def _ratio(sums: Array, totals: Array) -> Array:
    return np.divide(sums, totals, out=np.full_like(sums, np.nan), where=totals > 0)


def _only(means: Array) -> Array:
    return means[..., 0]


def _spread_terms(y: Array, p: Array) -> Array:
    centred = y - (y.mean() if len(y) else 0.0)  # variance about a nearby point loses no digits
    return np.stack([(y - p) ** 2, centred**2, centred], axis=1)


def _explained(means: Array) -> Array:
    spread = means[..., 1] - means[..., 2] ** 2
    return 1 - np.divide(means[..., 0], spread, out=np.full_like(spread, np.nan), where=spread > 0)


def _auc(y: Array, p: Array, weights: Array) -> Array:
    return np.array([statistics.auc(y, p, weight) for weight in weights])


def _average_precision(y: Array, p: Array, weights: Array) -> Array:
    area: Array = statistics.average_precision(y, p, weights)
    return area


MEASURES: dict[str, Measure] = {
    measure.name: measure
    for measure in (
        Ranked("auc", True, "probability", "area under the ROC curve", _auc),
        Ranked("average_precision", True, "probability", "average precision", _average_precision),
        Mean("log_loss", False, "probability", "log loss", lambda y, p: statistics.log_losses(y, p)[:, None], _only),
        Mean("brier", False, "probability", "Brier score", lambda y, p: ((p - y) ** 2)[:, None], _only),
        Mean("accuracy", True, "class", "accuracy", lambda y, p: (y == p)[:, None].astype(float), _only),
        Mean(
            "rmse",
            False,
            "value",
            "root mean squared error",
            lambda y, p: ((y - p) ** 2)[:, None],
            lambda means: np.sqrt(means[..., 0]),
        ),
        Mean("mae", False, "value", "mean absolute error", lambda y, p: np.abs(y - p)[:, None], _only),
        Mean("r2", True, "value", "share of variance explained", _spread_terms, _explained),
    )
}
"""The measures by name. Formulas: AUC after Mann and Whitney (1947); average precision as the step-wise sum of
precision over recall; log loss the mean negative log likelihood; Brier, Monthly Weather Review 78 (1950) 1; R2 is
1 - residual / total sum of squares."""
