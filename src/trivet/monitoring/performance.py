"""How good the live model has been, period by period, as far as the truth has arrived.

Only *matured* predictions count: those old enough that their labels should be known. Comparing younger ones would
prefer labels that come early, and these are seldom like the others. Invariant: every number has its bounds and the
count it rests on; a period without labels has no numbers, never good ones.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Literal, TypeAlias

import msgspec
import numpy as np
import polars as pl

from trivet import statistics
from trivet.errors import Invalid, NotFound
from trivet.statistics import Interval
from trivet.types import Duration, as_duration, as_utc

__all__ = ["CALENDAR", "Period", "Reference", "performance"]

CALENDAR = {"hour": "1h", "day": "1d", "week": "1w", "month": "1mo", "quarter": "1q", "year": "1y"}
"""Calendar periods, in UTC; weeks begin on Monday."""

Shift: TypeAlias = Literal["stable", "shift", "not enough data"]
SHIFT_FALSE_ALARMS = 0.01
_FEW_OF_A_CLASS = 5  # labels of either class below which an AUC has no honest bounds
_FEW = 30  # labels below which a shift of the base rate is not judged


class Reference(msgspec.Struct, frozen=True):
    """The base rate that the model was trained on: ``positives`` of ``rows``."""

    positives: float
    rows: int


class Period(msgspec.Struct, frozen=True):
    """One period of predictions.

    Attributes:
        start, end: the period, half open.
        rows: predictions made; ``matured`` are old enough to be judged, ``labelled`` of these have a label.
        coverage: ``labelled / matured``, None where nothing is matured.
        mean_score: of all predictions.
        metrics: name to estimate with bounds, over the labelled. Two classes: ``base_rate`` (Wilson), ``auc``
            (DeLong), ``log_loss``, and ``calibration``, the mean label less the mean score. Numbers: ``mse``,
            ``mae``, ``bias``.
        shift: whether the base rate left the reference's, and ``shift_p`` the adjusted p-value.
    """

    start: datetime
    end: datetime
    rows: int
    matured: int
    labelled: int
    coverage: float | None
    mean_score: float | None
    metrics: dict[str, Interval]
    shift: Shift = "not enough data"
    shift_p: float | None = None


def performance(
    joined: pl.DataFrame,
    *,
    every: str = "day",
    maturity: Duration = "0s",
    now: datetime,
    kind: Literal["classification", "regression"] = "classification",
    reference: Reference | None = None,
    level: float = 0.95,
) -> list[Period]:
    """The periods from the first prediction to the last, in order; those without any are among them.

    Args:
        joined: predictions with their labels, from ``trivet.monitoring.labels.join``: ``at``, ``score``, ``label``.
        every: ``hour``, ``day``, ``week``, ``month``, ``quarter`` or ``year``, in UTC, or a duration (``6h``) counted
            from 1970.
        maturity: how old a prediction is when its label should be known.
        now: the present.
        kind: whether labels are 0 and 1 and scores the probability of 1, or both are numbers.
        reference: the base rate in training, to test for a shift.
        level: of the bounds.

    Raises:
        NotFound: ``every`` is no period, or a column is missing.
        Invalid: a classifier's labels are not 0 and 1.
    """
    for name in ("at", "score", "label"):
        if name not in joined.columns:
            raise NotFound("column", name, joined.columns)
    length = _length(every)
    old = as_utc(now) - pl.duration(microseconds=as_duration(maturity))
    framed = joined.select("at", "score", pl.col("label").cast(pl.Float64), start=pl.col("at").dt.truncate(length))
    framed = framed.with_columns(matured=pl.col("at") <= old).sort("at", maintain_order=True)
    _check_labels(framed["label"], kind)
    periods = [_period(group, start, end, kind, level) for start, end, group in _periods(framed, length)]
    return periods if reference is None or kind == "regression" else _shifts(periods, reference)


def _length(every: str) -> str:
    if every in CALENDAR:
        return CALENDAR[every]
    try:
        micros = as_duration(every)
    except Invalid as exc:
        raise NotFound("period", every, CALENDAR, hint="Or write a duration, for example 6h.") from exc
    if micros <= 0:
        raise Invalid(f"A period is longer than nothing, not {every!r}.")
    return f"{micros}us"


def _check_labels(labels: pl.Series, kind: str) -> None:
    other = labels.drop_nulls().unique().sort()
    if kind == "classification" and not set(other.to_list()) <= {0.0, 1.0}:
        raise Invalid(
            f"Labels of a classifier are 0 and 1, and there is {other.to_list()[-1]!r}. "
            "Give kind='regression' where the model predicts numbers."
        )


def _periods(framed: pl.DataFrame, length: str) -> Iterator[tuple[datetime, datetime, pl.DataFrame]]:
    """Each period from the first prediction to the last with its rows, those without any among them."""
    if not framed.height:
        return
    groups = {group["start"][0]: group for group in framed.partition_by("start", maintain_order=True)}
    starts = pl.datetime_range(min(groups), max(groups), length, time_unit="us", eager=True)
    for start, end in zip(starts, starts.dt.offset_by(length), strict=True):
        yield start, end, groups.get(start, framed.clear())


def _period(group: pl.DataFrame, start: datetime, end: datetime, kind: str, level: float) -> Period:
    matured = group.filter("matured")
    judged = matured.filter(pl.col("label").is_not_null() & pl.col("score").is_finite())
    measure = _classified if kind == "classification" else _regressed
    labels, scores = judged["label"].to_numpy(), judged["score"].to_numpy()
    mean = group["score"].mean()
    return Period(
        start=start,
        end=end,
        rows=group.height,
        matured=matured.height,
        labelled=judged.height,
        coverage=judged.height / matured.height if matured.height else None,
        mean_score=float(mean) if isinstance(mean, float) else None,
        metrics=measure(labels, scores, level) if judged.height else {},
    )


def _classified(y: np.ndarray, p: np.ndarray, level: float) -> dict[str, Interval]:
    found = {"base_rate": statistics.wilson(float(y.sum()), len(y), level=level)}
    if min(int(y.sum()), len(y) - int(y.sum())) >= _FEW_OF_A_CLASS:
        found["auc"] = statistics.auc_interval(y, p, level=level)
    if len(y) >= 2 and ((p >= 0) & (p <= 1)).all():
        loss = statistics.mean_interval(statistics.log_losses(y, p), level=level)
        found["log_loss"] = msgspec.structs.replace(loss, low=max(0.0, loss.low))
        found["calibration"] = statistics.mean_interval(y - p, level=level)
    return found


def _regressed(y: np.ndarray, p: np.ndarray, level: float) -> dict[str, Interval]:
    terms = {"mse": (y - p) ** 2, "mae": np.abs(y - p), "bias": p - y}
    return {name: statistics.mean_interval(values, level=level) for name, values in terms.items() if len(y) >= 2}


def _shifts(periods: list[Period], reference: Reference) -> list[Period]:
    """Test each period's base rate against the reference, all periods together (Benjamini and Hochberg)."""
    tested = [index for index, period in enumerate(periods) if period.labelled >= _FEW]
    p_values = [
        statistics.two_proportions(
            round(periods[index].metrics["base_rate"].estimate * periods[index].labelled),
            periods[index].labelled,
            reference.positives,
            reference.rows,
        )
        for index in tested
    ]
    for index, adjusted in zip(tested, statistics.benjamini_hochberg(p_values), strict=True):
        shift: Shift = "shift" if adjusted <= SHIFT_FALSE_ALARMS else "stable"
        periods[index] = msgspec.structs.replace(periods[index], shift=shift, shift_p=adjusted)
    return periods
