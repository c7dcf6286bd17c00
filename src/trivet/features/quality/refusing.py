"""Parting the rows that break refusing expectations from the others, and keeping them with the reason.

``RowCheck`` is what ``project.tables.ingest(checks=...)`` takes. Uniqueness is asked last and only of rows that nothing
else refuses, so that a bad row does not condemn its good double; it remembers what earlier batches of one delivery held.
Refused rows stand as JSON in the Delta table ``NAME__refused``, each once, whoever refuses them how often.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import msgspec
import polars as pl

from trivet.errors import NotFound
from trivet.features.quality.expectation import Expectation, OfRows, Unique
from trivet.features.quality.judging import broken
from trivet.ledger.tables import Tables

__all__ = ["RowCheck", "keep_refused", "refused_name"]


class RowCheck:
    """Answers for each row of a batch why it is refused, or null; one for each delivery.

    A column that a batch lacks counts as null.

    Args:
        expected: expectations; those that set no rows aside are passed over.

    Raises:
        Invalid: when called, a column is of a kind that an expectation cannot be asked of. Nothing is parted then.

    Example:
        >>> from trivet.features.quality.expectation import expect
        >>> check = RowCheck([expect("delay").between(-120, 3000), expect("id").unique()])
        >>> check(pl.DataFrame({"id": [1, 2], "delay": [5, 9999]})).to_list()
        [None, 'expected: delay between -120 and 3000']
        >>> check(pl.DataFrame({"id": [1, 2], "delay": [6, 7]})).to_list()
        ['expected: id is unique', None]
    """

    def __init__(self, expected: Iterable[Expectation]) -> None:
        rows = [each for each in expected if isinstance(each, OfRows) and each.refuses_rows]
        self._alone = [each for each in rows if not isinstance(each, Unique)]
        self._unique: dict[Unique, pl.DataFrame | None] = dict.fromkeys(
            each for each in rows if isinstance(each, Unique)
        )

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that are looked at."""
        return tuple(dict.fromkeys(name for each in (*self._alone, *self._unique) for name in each.columns))

    @property
    def looks_back(self) -> bool:
        """Whether a row can be refused because of earlier ones."""
        return bool(self._unique)

    def __call__(self, rows: pl.DataFrame) -> pl.Series:
        """The reasons, one for each row: text, or null for a row that stays."""
        frame = rows.with_columns(pl.lit(None).alias(name) for name in self.columns if name not in rows.columns)
        reasons = pl.Series("reason", [None] * frame.height, pl.String)
        for each in self._alone:
            reasons = _first(reasons, each, broken(each, frame))
        for unique in self._unique:
            reasons = _first(reasons, unique, self._repeats(unique, frame.select(unique.columns), reasons.is_null()))
        return reasons

    def _repeats(self, each: Unique, keys: pl.DataFrame, standing: pl.Series) -> pl.Series:
        """Which of the ``standing`` rows repeat one of them or of an earlier batch."""
        places = keys.with_row_index("place__").filter(standing)
        own, seen = places.drop("place__"), self._unique[each]
        both = own if seen is None else pl.concat([seen, own], how="vertical_relaxed")
        repeats = broken(each, both)
        self._unique[each] = both.filter(~repeats).drop_nulls()
        hit = places["place__"].filter(repeats.tail(own.height))
        return keys.with_row_index("place__")["place__"].is_in(hit.implode())


def refused_name(name: str) -> str:
    """The table of what is refused of a source.

    Example:
        >>> refused_name("Flights")
        'flights__refused'
    """
    return f"{name.lower()[:55]}__refused"


def keep_refused(tables: Tables, name: str, rows: pl.DataFrame, reasons: pl.Series, *, run: str, at: datetime) -> int:
    """Keep rows that are refused, each with its reason once; answer how many were not there yet.

    Args:
        tables: where.
        name: of the source.
        rows: the refused rows.
        reasons: why, one for each.
        run: the run that refuses them.
        at: when.
    """
    texts = [_as_json(row) for row in rows.iter_rows(named=True)]
    digests = [hashlib.sha256(f"{why}\n{row}".encode()).hexdigest() for why, row in zip(reasons, texts, strict=True)]
    batch = pl.DataFrame({"digest": digests, "reason": reasons.cast(pl.String), "row": texts}).with_columns(
        run=pl.lit(run), created=pl.lit(at, pl.Datetime("us", "UTC"))
    )
    batch = batch.unique("digest", keep="first", maintain_order=True)
    try:
        there = pl.DataFrame(tables.read(refused_name(name)))
    except NotFound:
        there = batch.head(0)
    fresh = batch.filter(~pl.col("digest").is_in(there["digest"].implode())).select(
        column
        for column in batch.columns
        if column in there.columns  # ingestion's own quarantine keeps no run
    )
    if fresh.height:
        tables.append(refused_name(name), fresh.to_arrow())
    return fresh.height


def _first(reasons: pl.Series, each: Expectation, failing: pl.Series) -> pl.Series:
    told = pl.select(pl.when(failing).then(pl.lit(f"expected: {each}"))).to_series()
    return reasons.zip_with(reasons.is_not_null(), told)


def _as_json(row: dict[str, Any]) -> str:
    """A row as JSON text; what JSON has no word for stands there as text."""
    return msgspec.json.encode({name: _told(value) for name, value in row.items()}, enc_hook=str).decode()


def _told(value: Any) -> Any:
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
