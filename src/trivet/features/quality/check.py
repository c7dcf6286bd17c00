"""One check, as a function of data and declarations: what a recorded run calls, and ``reproduce`` calls again.

Of a source its rows are judged, of a view its values for every entity known at the moment of the check, computed by the
engine of training sets from rows that the expectations of its sources do not refuse.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from trivet import plugins
from trivet.errors import NotFound, TrivetError
from trivet.features.definitions import FeatureView, Source
from trivet.features.engines.contract import Engine
from trivet.features.frames import as_polars
from trivet.features.logs import with_logs
from trivet.features.quality.expectation import OfRows
from trivet.features.quality.expectations import Expectations
from trivet.features.quality.judging import broken, judge
from trivet.features.quality.periods import in_utc, known_at
from trivet.features.quality.refusing import RowCheck
from trivet.features.quality.report import QualityReport
from trivet.features.references import select_all
from trivet.features.sources import Snapshots, read
from trivet.types import Micros, as_utc, to_micros

__all__ = ["Parted", "check", "part", "rows_of", "sources_within", "values_of"]

_NO_COLUMN = "\0"


class Parted:
    """The rows of a source, parted: those that ``stay``, and the ``refused`` with their ``reasons``."""

    def __init__(self, rows: pl.DataFrame, reasons: pl.Series) -> None:
        self.stay = rows.filter(reasons.is_null())
        self.refused = rows.filter(reasons.is_not_null())
        self.reasons = reasons.drop_nulls()


def check(
    expectations: Expectations,
    sources: Snapshots,
    *,
    at: str,
    views: Mapping[str, FeatureView] = {},
    others: Mapping[str, Expectations] = {},
    engine: str = "local:",
) -> QualityReport:
    """Judge a source or a view.

    Args:
        expectations: whose, and what is expected.
        sources: the data, by the names of the sources with data of their own.
        at: the moment as of which to judge, as text.
        views: the view, by its name, if it is one.
        others: what is expected of sources beneath, by name; rows that they refuse are left out first.
        engine: URL of the engine that computes a view.

    Raises:
        NotFound: the data of a source or a column of times is missing.
        Invalid: the data cannot be read.
    """
    moment = to_micros(as_utc(at))
    for name, rules in others.items():
        if (parted := part(rules, sources)) is not None:
            sources = {**sources, name: parted.stay}
    if expectations.source is None:
        view, own = views[expectations.name], False
        frame, known, hidden = values_of(view, sources, moment, engine), None, _personal_in(view)
        keys, exist = view.entity.keys, frame.columns
    else:
        source, own = expectations.source, has_own_data(expectations.source)
        frame, known = rows_of(source, logged(source, sources, engine), moment, expectations.columns)
        hidden = {name for name in expectations.columns if source.personal_rule(name)}
        lost = set(expectations.columns) - set(frame.columns)
        keys, exist = (), _columns(source, logged(source, sources, engine)) if lost else frame.columns
    told: dict[str, Any] = {"hidden": hidden, "keys": keys, "exist": exist}
    findings = judge(expectations.expected, frame, known=known, at=moment, parts=own, **told)
    refused = _reasons(expectations, frame).count() if any(each.consequence == "rows" for each in findings) else 0
    return QualityReport(
        subject=expectations.subject, at=as_utc(at), rows=frame.height, refused=refused, findings=findings
    )


def rows_of(
    source: Source, sources: Snapshots, at: Micros, columns: Collection[str] | None = None
) -> tuple[pl.DataFrame, pl.Series | None]:
    """The rows of a source with times in UTC, and when each became known, null for not by ``at``; None without times.

    Args:
        source: the source.
        sources: the data.
        at: the moment, in microseconds.
        columns: which are wanted besides the times, as far as they exist; all by default.

    Raises:
        NotFound: the data or a column of times is missing.
        Invalid: the data cannot be read.
    """
    exist = _columns(source, sources)
    wanted = [each for each in (exist if columns is None else columns) if each in exist]
    frame = read(source, [*wanted, *source.time_columns] or exist[:1], sources)
    frame = in_utc(source, frame)
    return frame, None if source.static else known_at(source, frame, at)


def values_of(view: FeatureView, sources: Snapshots, at: Micros, engine: str) -> pl.DataFrame:
    """The keys and features of every entity with a row known at a moment, one row each, by key.

    Raises:
        NotFound: a column or the data of a source is missing.
        Invalid: types do not fit, or the data cannot be read.
    """
    keys, sources = list(view.entity.keys), logged(view.source, sources, engine)
    rows, known = rows_of(view.source, sources, at, keys)
    missing = [key for key in keys if key not in rows.columns]
    if missing:
        raise NotFound(f"column in source {view.source.name!r} called", missing[0], rows.columns)
    seen = rows if known is None else rows.filter(known.is_not_null())
    spine = seen.select(keys).drop_nulls().unique().sort(keys)
    spine = spine.with_columns(pl.lit(at).cast(pl.Datetime("us", "UTC")).alias("at__"))
    selected = select_all([view], full_names=True)
    joined = as_polars(_opened(engine).point_in_time(spine, selected, sources, time="at__").frame)
    named = {f"{view.name}__{feature}": feature for feature in view.features}
    return joined.select(
        *(key for key in keys if key not in view.features),
        *(pl.col(column).alias(feature) for column, feature in named.items()),
    )


def part(rules: Expectations, sources: Snapshots) -> Parted | None:
    """The rows of a source with data of its own, parted; None where none is refused.

    Raises:
        NotFound: the data are missing.
        Invalid: the data cannot be read.
    """
    assert rules.source is not None
    if not any(isinstance(each, OfRows) and each.refuses_rows for each in rules):
        return None
    frame, _ = rows_of(rules.source, sources, 0, rules.columns)
    reasons = _reasons(rules, frame)
    if not reasons.count():
        return None
    return Parted(read(rules.source, _columns(rules.source, sources), sources), reasons)


def sources_within(source: Source) -> Iterator[Source]:
    """A source and those beneath its query, function or view."""
    yield source
    for each in (*source.inputs, *([source.view.source] if source.view else [])):
        yield from sources_within(each)


def has_own_data(source: Source) -> bool:
    """Whether its rows are its own, and not made of those of others."""
    return not source.derived and source.view is None


def logged(source: Source, sources: Snapshots, engine: str) -> Snapshots:
    """The data, with the logs of views that are read as sources."""
    return with_logs([source], sources, _opened(engine).point_in_time)


def _opened(engine: str) -> Engine:
    opened: Engine = plugins.open_url("engine", engine, Path())
    return opened


def _personal_in(view: FeatureView) -> set[str]:
    served, source = view.served_features, view.source
    return {name for name in view.features if name not in served} | {
        k for k in view.entity.keys if source.personal_rule(k)
    }


def _reasons(rules: Expectations, frame: pl.DataFrame) -> pl.Series:
    """Why rows are refused. An expectation that cannot be asked refuses none: it is found as broken as a whole."""
    return RowCheck(each for each in rules if isinstance(each, OfRows) and _can_be_asked(each, frame.head(0)))(frame)


def _can_be_asked(each: OfRows, frame: pl.DataFrame) -> bool:
    try:
        broken(each, frame)
    except TrivetError:
        return False
    return True


def _columns(source: Source, sources: Snapshots) -> list[str]:
    """What columns there are. Asked of ``read``, which alone knows how each kind of source is read."""
    try:
        read(source, [_NO_COLUMN], sources)
    except NotFound as exc:
        if exc.asked == _NO_COLUMN:
            return exc.available
        raise
    return []
