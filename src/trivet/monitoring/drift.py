"""Whether live columns still look like those a model was trained on, with alarms that know their error rate.

A *profile* keeps of each reference column the counts of ten quantile bins (numbers) or of its values (text and
booleans), and of nulls: small JSON, stored beside the training set, from which drift is found without the rows.

A column drifts when the change is *large* and *certain*: its population stability index, PSI = sum of (q - p) ln(q / p)
over the bins with half a row added to each count, is at least ``max(0.1, (1/n + 1/m) chi2(0.999))``, the size that
chance alone exceeds once in a thousand times (PSI is about ``(1/n + 1/m)`` times a chi-square with one degree of
freedom less than bins: Yurdakul and Naranjo, Journal of Risk Model Validation 14 (2020) 89), and the two-sample
chi-square test of the same counts stays significant among all columns (Benjamini and Hochberg). The share of nulls
is tested likewise. So a window without drift raises any alarm at most once in a hundred times, however many columns
there are; ``benchmarks/drift_calibration.py`` measures it, and how much drift is found.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

import msgspec
import numpy as np
import polars as pl

from trivet import statistics
from trivet.errors import Invalid, NotFound

__all__ = ["ColumnDrift", "ColumnProfile", "DriftVerdict", "Profile", "as_frame", "drift", "profile"]

BINS = 10
LARGE = 0.1  # the usual threshold of PSI for a change worth a look
LARGE_NULLS = 0.02  # a change of the share of nulls below this is too small to matter
FALSE_ALARMS = 0.005  # of windows without drift; half of what is promised, for the tails of small counts are heavy
NOISE = 0.999
_MOST_CATEGORIES = 50
_EXPECTED = 5.0  # fewer rows than this are expected in a cell: it joins the others, as the chi-square test asks

DriftVerdict: TypeAlias = Literal["stable", "drift", "not enough data"]


class ColumnProfile(msgspec.Struct, frozen=True):
    """What is remembered of one column.

    Attributes:
        type: ``number``, or ``category`` for text and booleans.
        rows, nulls: how many; NaN counts as null.
        edges: upper ends of all bins but the last, of a number.
        categories: the values counted, commonest first, of a category; the rest are counted together, last.
        counts: rows in each bin or category.
        minimum, maximum, mean: of a number with any value.
    """

    name: str
    type: Literal["number", "category"]
    rows: int
    nulls: int
    counts: tuple[int, ...]
    edges: tuple[float, ...] = ()
    categories: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    mean: float | None = None


class Profile(msgspec.Struct, frozen=True):
    """What is remembered of a frame: its columns in order."""

    rows: int
    columns: tuple[ColumnProfile, ...]

    def to_json(self) -> dict[str, Any]:
        """The profile as JSON values."""
        spec: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(self))
        return spec

    @classmethod
    def from_json(cls, spec: Mapping[str, Any]) -> Profile:
        """The profile that ``to_json`` described.

        Raises:
            Invalid: ``spec`` describes no profile.
        """
        try:
            return msgspec.convert(dict(spec), cls)
        except msgspec.ValidationError as exc:
            raise Invalid(f"This is not a profile: {exc}.") from exc


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


def profile(frame: pl.DataFrame, columns: Sequence[str] | None = None) -> Profile:
    """What to remember of a reference frame, or of some of its columns.

    Columns that are neither numbers, text nor booleans (times, lists) are left out.

    Raises:
        NotFound: a column does not exist; the nearest is named.

    Example:
        >>> remembered = profile(pl.DataFrame({"delay": [1.0, 2.0, None], "origin": ["JFK", "JFK", "LGA"]}))
        >>> [(column.name, column.type, column.counts, column.nulls) for column in remembered.columns]
        [('delay', 'number', (1, 1), 1), ('origin', 'category', (2, 1, 0), 0)]
    """
    for name in columns or ():
        if name not in frame.columns:
            raise NotFound("column", name, frame.columns)
    chosen = frame.columns if columns is None else list(columns)
    found = (_column_profile(frame[name]) for name in chosen)
    return Profile(frame.height, tuple(column for column in found if column is not None))


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
    compared = [_compare(column, frame) for column in reference.columns]
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


class _Compared(msgspec.Struct, frozen=True):
    """One column's numbers, before the verdict that depends on the other columns."""

    reference: ColumnProfile
    rows: int
    total: int
    score: float
    threshold: float
    p_value: float
    nulls_p: float
    unseen: float


def _compare(reference: ColumnProfile, frame: pl.DataFrame) -> _Compared:
    series = frame[reference.name] if reference.name in frame.columns else pl.Series([None] * frame.height)
    values = _values(series, reference.type)
    counts, unseen = _counts(values, reference)
    before, counts = _pool(np.asarray(reference.counts, dtype=float), counts)
    present = reference.rows - reference.nulls
    _, p_value = statistics.chi_square(before, counts)
    return _Compared(
        reference=reference,
        rows=len(values),
        total=frame.height,
        score=_stability(before, counts),
        threshold=_threshold(len(counts), present, len(values)),
        p_value=p_value,
        nulls_p=statistics.two_proportions(frame.height - len(values), frame.height, reference.nulls, reference.rows),
        unseen=unseen / len(values) if len(values) else 0.0,
    )


def _verdict(each: _Compared, adjusted: float | None, nulls: float | None, false_alarms: float) -> ColumnDrift:
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


def _column_profile(series: pl.Series) -> ColumnProfile | None:
    kind = _kind(series.dtype)
    if kind is None:
        return None
    values = _values(series, kind)
    if kind == "category":
        return _category_profile(series, values)
    empty = ColumnProfile(series.name, "number", len(series), len(series) - len(values), ())
    edges = _edges(values.to_numpy())
    known = msgspec.structs.replace(empty, edges=edges)
    counts, _ = _counts(values, known)
    if not len(values):
        return msgspec.structs.replace(known, counts=tuple(counts.astype(int).tolist()))
    low, high, mean = (float(value) for value in (values.min(), values.max(), values.mean()))  # type: ignore[arg-type]
    return msgspec.structs.replace(
        known, counts=tuple(counts.astype(int).tolist()), minimum=low, maximum=high, mean=mean
    )


def _category_profile(series: pl.Series, values: pl.Series) -> ColumnProfile:
    counted = sorted(values.value_counts().iter_rows(), key=lambda row: (-row[1], row[0]))
    kept = counted[:_MOST_CATEGORIES]
    other = sum(count for _, count in counted[_MOST_CATEGORIES:])
    return ColumnProfile(
        name=series.name,
        type="category",
        rows=len(series),
        nulls=len(series) - len(values),
        counts=(*(count for _, count in kept), other),
        categories=tuple(value for value, _ in kept),
    )


def _kind(dtype: pl.DataType) -> Literal["number", "category"] | None:
    if dtype.is_numeric() or dtype == pl.Null:
        return "number"
    return "category" if dtype in {pl.String, pl.Boolean} or isinstance(dtype, pl.Categorical | pl.Enum) else None


def _values(series: pl.Series, kind: str) -> pl.Series:
    """The values that are there, as numbers or as text; what cannot be one is not there."""
    values = series.cast(pl.Float64, strict=False) if kind == "number" else series.cast(pl.String, strict=False)
    return values.drop_nulls().drop_nans() if kind == "number" else values.drop_nulls()


def _edges(values: np.ndarray[Any, np.dtype[np.float64]]) -> tuple[float, ...]:
    """Upper ends of all bins but the last: of quantile bins, or of one bin for each value where there are few.

    A constant gets a bin of its own between two empty ones, so that leaving it is seen.
    """
    values = values[np.isfinite(values)]
    if not len(values):
        return ()
    distinct = np.unique(values)
    if len(distinct) == 1:
        return float(np.nextafter(distinct[0], -np.inf)), float(distinct[0])
    if len(distinct) <= BINS:
        return tuple(distinct[:-1].tolist())
    inner = np.unique(np.quantile(values, np.arange(1, BINS) / BINS, method="inverted_cdf"))
    return tuple(inner[inner < distinct[-1]].tolist())


def _counts(values: pl.Series, reference: ColumnProfile) -> tuple[np.ndarray[Any, np.dtype[np.float64]], int]:
    """Rows in each bin or category of the reference, and how many values are outside all that it has seen."""
    if reference.type == "number":
        numbers = values.to_numpy()
        places = np.searchsorted(np.asarray(reference.edges), numbers, side="left")
        low, high = reference.minimum, reference.maximum
        outside = 0 if low is None or high is None else int(((numbers < low) | (numbers > high)).sum())
        return np.bincount(places, minlength=len(reference.edges) + 1).astype(float), outside
    counted = dict(values.value_counts().iter_rows())
    known = [counted.pop(value, 0) for value in reference.categories]
    other = sum(counted.values())
    return np.asarray([*known, other], dtype=float), other if not reference.counts or not reference.counts[-1] else 0


def _pool(
    before: np.ndarray[Any, np.dtype[np.float64]], counts: np.ndarray[Any, np.dtype[np.float64]]
) -> tuple[np.ndarray[Any, np.dtype[np.float64]], np.ndarray[Any, np.dtype[np.float64]]]:
    """Both counts with rare cells together: those of which either sample expects fewer than five rows."""
    total = before + counts
    smaller = min(before.sum(), counts.sum())
    rare = total * smaller / max(total.sum(), 1.0) < _EXPECTED
    if not total[rare].any():
        return before[~rare], counts[~rare]
    return np.append(before[~rare], before[rare].sum()), np.append(counts[~rare], counts[rare].sum())


def _stability(before: np.ndarray[Any, np.dtype[np.float64]], counts: np.ndarray[Any, np.dtype[np.float64]]) -> float:
    """The population stability index, with half a row added to every count."""
    if not before.sum() or not counts.sum():
        return 0.0
    p = (before + 0.5) / (before.sum() + 0.5 * len(before))
    q = (counts + 0.5) / (counts.sum() + 0.5 * len(counts))
    return float(((q - p) * np.log(q / p)).sum())


def _threshold(bins: int, rows: int, other: int) -> float:
    """What PSI must reach: a size that matters, and that chance exceeds once in a thousand times."""
    if not rows or not other or bins < 2:
        return LARGE
    return max(LARGE, (1 / rows + 1 / other) * statistics.chi_square_quantile(NOISE, bins - 1))


def _number(value: Any) -> float | None:
    if isinstance(value, bool | int | float):
        return None if math.isnan(value) else float(value)
    return None


def _text(value: Any) -> str | None:
    if value is None:
        return None
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
