"""Learning curves that fit a picture: a metric over its steps, thinned so that no extreme is lost, and smoothed.

Pure functions of points. Thinning is M4 (Jugel, Jerzak, Hackenbroich, Markl: M4: A Visualization-Oriented Time Series Data
Aggregation, VLDB 2014): of each column of the picture the first, last, least and greatest point, which draws the same
picture as all points do.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from trivet.errors import Invalid
from trivet.ledger import Ledger

__all__ = ["At", "curve", "smooth", "thin"]


class At(NamedTuple):
    """A value at a step."""

    step: int
    value: float


def curve(ledger: Ledger, run: str, metric: str, *, most: int = 1000, smoothing: float = 0.0) -> list[At]:
    """The points of a metric of a run by step, smoothed and then thinned to about ``most``.

    Raises:
        NotFound: there is no such run.
        Invalid: as ``smooth`` and ``thin``.
    """
    points = [At(each.step, each.value) for each in ledger.metrics(run, metric)]
    return thin(smooth(points, smoothing), most)


def thin(points: Sequence[At], most: int) -> list[At]:
    """At most ``most`` points (four at least) that draw the same picture.

    Raises:
        Invalid: ``most`` is below 4.

    Example:
        >>> line = [At(step, 100.0 if step == 77 else 1 / (step + 1)) for step in range(1000)]
        >>> few = thin(line, 40)
        >>> len(few) <= 40, At(77, 100.0) in few, few[0] == line[0], few[-1] == line[-1]
        (True, True, True, True)
    """
    if most < 4:
        raise Invalid(f"{most} points are too few for a curve. Ask for 4 at least.")
    if len(points) <= most:
        return list(points)
    first, columns = points[0].step, most // 4
    width = (points[-1].step - first) / columns or 1.0
    kept: list[At] = []
    column: list[At] = []
    place = 0
    for point in points:
        here = min(columns - 1, int((point.step - first) / width))
        if here != place:
            kept += _four(column)
            column, place = [], here
        column.append(point)
    return kept + _four(column)


def smooth(points: Sequence[At], weight: float) -> list[At]:
    """The exponential moving average with its start corrected, as TensorBoard's; 0 leaves all as it is.

    What is no number breaks nothing: it stays where it is.

    Raises:
        Invalid: ``weight`` is not from 0 to below 1.

    Example:
        >>> [round(at.value, 3) for at in smooth([At(0, 1.0), At(1, 1.0), At(2, 4.0)], 0.5)]
        [1.0, 1.0, 2.714]
    """
    if not 0 <= weight < 1:
        raise Invalid(f"smoothing={weight} makes no sense. Give a number from 0 to below 1.")
    if weight == 0:
        return list(points)
    found, mean, share = [], 0.0, 1.0
    for point in points:
        if math.isfinite(point.value):
            mean, share = weight * mean + (1 - weight) * point.value, share * weight
        found.append(At(point.step, mean / (1 - share)) if math.isfinite(point.value) else point)
    return found


def _four(column: Iterable[At]) -> list[At]:
    """The first, last, least and greatest, each once, in the order of their steps."""
    line = list(enumerate(column))
    if not line:
        return []
    finite = [one for one in line if math.isfinite(one[1].value)] or line
    ends = [line[0], line[-1], min(finite, key=lambda one: one[1].value), max(finite, key=lambda one: one[1].value)]
    return [point for _, point in sorted(dict(ends).items())]
