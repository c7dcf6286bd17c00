"""What is remembered of a column, and how far other rows are from it: an effect size that knows what chance can do.

A *profile* keeps of each column the counts of ten quantile bins (numbers) or of its values (text and booleans), and of
nulls: small JSON, from which a change is found without the rows. Its size is the population stability index, PSI = sum
of (q - p) ln(q / p) over the bins with half a row added to each count, beside the size that matters and that chance alone
exceeds once in a thousand times: ``max(0.1, (1/n + 1/m) chi2(0.999))`` (PSI is about ``(1/n + 1/m)`` times a chi-square with
one degree of freedom less than bins: Yurdakul and Naranjo, Journal of Risk Model Validation 14 (2020) 89). Which
changes are alarms is left to ``trivet.monitoring.drift``. Invariant: pure functions of counts, on the ground floor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import msgspec
import numpy as np
import polars as pl

from trivet import statistics
from trivet.errors import Invalid, NotFound

__all__ = ["ColumnProfile", "Compared", "Profile", "compare", "profile"]

BINS = 10
LARGE = 0.1  # the usual threshold of PSI for a change worth a look
NOISE = 0.999
_MOST_CATEGORIES = 50
_EXPECTED = 5.0  # fewer rows than this are expected in a cell: it joins the others, as the chi-square test asks


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


class Compared(msgspec.Struct, frozen=True):
    """How one column of other rows compares with what is remembered of it.

    Attributes:
        reference: what is remembered.
        rows, total: values that were compared, and all rows; nulls are the difference.
        score, threshold: the population stability index, and the size that matters and is more than chance.
        p_value, nulls_p: of the chi-square test of the values, and of the test of the share of nulls.
        unseen: the share of values outside of the reference.
    """

    reference: ColumnProfile
    rows: int
    total: int
    score: float
    threshold: float
    p_value: float
    nulls_p: float
    unseen: float


def compare(reference: ColumnProfile, frame: pl.DataFrame) -> Compared:
    """How the column of that name compares; one that is missing counts as null throughout.

    Example:
        >>> (remembered,) = profile(pl.DataFrame({"x": range(1000)})).columns
        >>> found = compare(remembered, pl.DataFrame({"x": range(300, 1300)}))
        >>> found.score > found.threshold
        True
    """
    series = frame[reference.name] if reference.name in frame.columns else pl.Series([None] * frame.height)
    values = _values(series, reference.type)
    counts, unseen = _counts(values, reference)
    before, counts = _pool(np.asarray(reference.counts, dtype=float), counts)
    present = reference.rows - reference.nulls
    _, p_value = statistics.chi_square(before, counts)
    return Compared(
        reference=reference,
        rows=len(values),
        total=frame.height,
        score=_stability(before, counts),
        threshold=_threshold(len(counts), present, len(values)),
        p_value=p_value,
        nulls_p=statistics.two_proportions(frame.height - len(values), frame.height, reference.nulls, reference.rows),
        unseen=unseen / len(values) if len(values) else 0.0,
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
