"""Joining what happened to what was predicted, when the truth comes late, twice, or for no one.

Invariant: every prediction is in the answer exactly once, in its order, and every label is accounted for: joined,
replaced by a later one, or of an unknown prediction.
"""

from __future__ import annotations

import msgspec
import polars as pl

from trivet.errors import Invalid, NotFound

__all__ = ["Joined", "LabelReport", "join"]

QUANTILES = (0.5, 0.9, 0.95, 0.99)
_TIME = pl.Datetime("us", "UTC")


class LabelReport(msgspec.Struct, frozen=True):
    """How the labels met the predictions.

    Attributes:
        predictions, labels: rows given.
        joined: predictions with a label.
        replaced: labels that a later one of the same prediction replaced.
        unknown: labels of a prediction that is not there.
        nulls: labels without a value or without a prediction's id; they are left out.
        early: joined labels known before their prediction was made, which suggests a leak or a wrong clock.
        lag: quantile to seconds between prediction and label; empty where nothing is joined.
    """

    predictions: int
    labels: int
    joined: int
    replaced: int
    unknown: int
    nulls: int
    early: int
    lag: dict[str, float]


class Joined(msgspec.Struct, frozen=True):
    """``frame``: the predictions with the columns ``label`` and ``labelled`` (when the label became known)."""

    frame: pl.DataFrame
    report: LabelReport


def join(predictions: pl.DataFrame, labels: pl.DataFrame) -> Joined:
    """The predictions with their labels: the last one known where there are several, null where there is none.

    Args:
        predictions: rows with ``id`` and ``at``.
        labels: rows with ``prediction``, ``label`` and ``at``.

    Raises:
        NotFound: a column is missing.
        Invalid: two predictions have the same id, or a time has no zone.
    """
    predictions = _checked(predictions, ("id", "at"), "predictions")
    labels = _checked(labels, ("prediction", "label", "at"), "labels")
    if twice := predictions.height - predictions["id"].n_unique():
        raise Invalid(f"{twice} predictions repeat the id of another. Join each prediction once.")
    whole = labels.drop_nulls(["prediction", "label", "at"]).filter(pl.col("label").cast(pl.Float64).is_not_nan())
    last = whole.sort("at", maintain_order=True).unique("prediction", keep="last", maintain_order=True)
    known = last.join(predictions.select("id"), left_on="prediction", right_on="id", how="semi")
    frame = predictions.join(
        known.select(id="prediction", label=pl.col("label").cast(pl.Float64), labelled="at"),
        on="id",
        how="left",
        maintain_order="left",
    )
    lag = (frame["labelled"] - frame["at"]).dt.total_microseconds().drop_nulls()
    return Joined(
        frame,
        LabelReport(
            predictions=predictions.height,
            labels=labels.height,
            joined=known.height,
            replaced=whole.height - last.height,
            unknown=last.height - known.height,
            nulls=labels.height - whole.height,
            early=int((lag < 0).sum()),
            lag={str(share): _seconds(lag, share) for share in QUANTILES if len(lag)},
        ),
    )


def _checked(frame: pl.DataFrame, columns: tuple[str, ...], what: str) -> pl.DataFrame:
    for name in columns:
        if name not in frame.columns:
            raise NotFound("column", name, frame.columns, hint=f"The {what} need {', '.join(columns)}.")
    dtype = frame.schema["at"]
    if not isinstance(dtype, pl.Datetime) or dtype.time_zone is None:
        if frame.height:
            raise Invalid(f"The times 'at' of the {what} must be UTC times, and they are {dtype}.")
        return frame.with_columns(pl.col("at").cast(_TIME))
    return frame.with_columns(pl.col("at").dt.convert_time_zone("UTC").cast(_TIME))


def _seconds(lag: pl.Series, share: float) -> float:
    found = lag.quantile(share, "linear")
    return 0.0 if found is None else found / 1e6
