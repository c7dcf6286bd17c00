"""Whether live columns still look like those a model was trained on, with alarms that know their error rate.

A profile (``trivet.profiles``) is stored beside the training set. A column drifts when the change is *large* and
*certain*: its population stability index reaches the size that matters and that chance alone exceeds once in a thousand
times, and the two-sample chi-square test of the same counts stays significant among all columns (Benjamini and
Hochberg). The share of nulls is tested likewise. So a window without drift raises any alarm at most once in a hundred
times, however many columns there are; ``benchmarks/drift_calibration.py`` measures it, and how much drift is found.
"""

from __future__ import annotations

import math
from typing import Any, Literal, TypeAlias

import msgspec
import polars as pl

from trivet import statistics
from trivet.errors import Invalid
from trivet.profiles import ColumnProfile, Compared, Profile, compare, profile

__all__ = ["ColumnDrift", "ColumnProfile", "DriftVerdict", "Profile", "as_frame", "drift", "profile"]

LARGE_NULLS = 0.02  # a change of the share of nulls below this is too small to matter
FALSE_ALARMS = 0.005  # of windows without drift; half of what is promised, for the tails of small counts are heavy

DriftVerdict: TypeAlias = Literal["stable", "drift", "not enough data"]


class ColumnDrift(msgspec.Struct, frozen=True):
    """How one column changed.

    Attributes:
        verdict: ``not enough data`` is neither good news nor bad.
        score, threshold: the population stability index, and what it must reach to be an alarm.
        p_value, adjusted: of the chi-square test, alone and among all columns.
        rows: values that were compared; nulls are not among them.
        nulls, reference_nulls: the shares of nulls.
        nulls_adjusted: the p-value of the change of nulls among all tests.
        unseen: the share of values outside the reference: beyond its extremes, or in none of its categories.
        reason: the verdict in words.
    """

    column: str
    verdict: DriftVerdict
    score: float
    threshold: float
    p_value: float
    adjusted: float
    rows: int
    reference_rows: int
    nulls: float
    reference_nulls: float
    nulls_adjusted: float
    unseen: float
    reason: str


def drift(
    reference: Profile, frame: pl.DataFrame, *, min_rows: int = 100, false_alarms: float = FALSE_ALARMS
) -> list[ColumnDrift]:
    """How each column of ``frame`` changed against the reference.

    Args:
        reference: from ``profile``, on the training set.
        frame: the live rows; a column that is missing counts as null throughout.
        min_rows: with fewer values on either side, the verdict is ``not enough data``.
        false_alarms: the share of windows without drift that may raise any alarm.

    Example:
        >>> reference = profile(pl.DataFrame({"x": range(1000)}))
        >>> [(found.column, found.verdict) for found in drift(reference, pl.DataFrame({"x": range(300, 1300)}))]
        [('x', 'drift')]
    """
    compared = [compare(column, frame) for column in reference.columns]
    judged = [
        each for each in compared if each.rows >= min_rows and each.reference.rows - each.reference.nulls >= min_rows
    ]
    nulls = [each for each in compared if min(each.total, each.reference.rows) >= min_rows]
    adjusted = statistics.benjamini_hochberg([each.p_value for each in judged] + [each.nulls_p for each in nulls])
    certain = {each.reference.name: value for each, value in zip(judged, adjusted[: len(judged)], strict=True)}
    certain_nulls = {each.reference.name: value for each, value in zip(nulls, adjusted[len(judged) :], strict=True)}
    return [
        _verdict(each, certain.get(each.reference.name), certain_nulls.get(each.reference.name), false_alarms)
        for each in compared
    ]


def as_frame(predictions: pl.DataFrame, reference: Profile) -> pl.DataFrame:
    """The logged columns of ``reference`` as a frame: features, values of the request, and ``score``.

    ``features`` and ``request`` hold JSON text, as prediction records do; what is not among them is null.

    Raises:
        Invalid: a row holds something else than a JSON object.
    """
    decode = msgspec.json.Decoder(dict[str, Any]).decode
    try:
        rows = [
            {**decode(request or "{}"), **decode(features or "{}")}
            for request, features in predictions.select("request", "features").iter_rows()
        ]
    except msgspec.DecodeError as exc:
        raise Invalid(f"A prediction record holds no JSON object in 'features' or 'request': {exc}.") from exc
    columns = {}
    for column in reference.columns:
        if column.name == "score" and all("score" not in row for row in rows):
            columns["score"] = predictions["score"]
            continue
        values = [row.get(column.name) for row in rows]
        as_type = _number if column.type == "number" else _text
        columns[column.name] = pl.Series(
            column.name, [as_type(value) for value in values], pl.Float64 if column.type == "number" else pl.String
        )
    return pl.DataFrame(columns)


def _verdict(each: Compared, adjusted: float | None, nulls: float | None, false_alarms: float) -> ColumnDrift:
    reference = each.reference
    share = 1 - each.rows / each.total if each.total else 0.0
    share_before = reference.nulls / reference.rows if reference.rows else 0.0
    moved = adjusted is not None and adjusted <= false_alarms and each.score >= each.threshold
    gaps = nulls is not None and nulls <= false_alarms and abs(share - share_before) >= LARGE_NULLS
    reasons = [f"PSI {each.score:.2f} reaches {each.threshold:.2f}"] if moved else []
    reasons += [f"nulls went from {share_before:.1%} to {share:.1%}"] if gaps else []
    verdict: DriftVerdict = "drift" if reasons else "not enough data" if adjusted is None else "stable"
    if not reasons:
        few = f"{each.rows} values against {reference.rows - reference.nulls} are too few"
        reasons = [few] if adjusted is None else [f"PSI {each.score:.2f} is below {each.threshold:.2f} or chance"]
    return ColumnDrift(
        column=reference.name,
        verdict=verdict,
        score=each.score,
        threshold=each.threshold,
        p_value=each.p_value,
        adjusted=1.0 if adjusted is None else adjusted,
        rows=each.rows,
        reference_rows=reference.rows - reference.nulls,
        nulls=share,
        reference_nulls=share_before,
        nulls_adjusted=1.0 if nulls is None else nulls,
        unseen=each.unseen,
        reason=" and ".join(reasons),
    )


def _number(value: Any) -> float | None:
    if isinstance(value, bool | int | float):
        return None if math.isnan(value) else float(value)
    return None


def _text(value: Any) -> str | None:
    if value is None:
        return None
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
