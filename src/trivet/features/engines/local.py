"""The engine of one machine: Polars reads and gathers, NumPy sorts and searches. See the neighbours for how.

One source is in memory at a time, in the columns that are asked for. The answer does not depend on threads.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from trivet.errors import NotFound
from trivet.features.definitions import Source
from trivet.features.engines.contract import Engine, Joined, Report
from trivet.features.engines.keys import NULL, key_columns
from trivet.features.engines.prepared import Clock, Prepared, Query, prepare
from trivet.features.engines.timeline import Ints
from trivet.features.frames import as_polars
from trivet.features.keytypes import check_keys
from trivet.features.logs import with_logs
from trivet.features.references import Selected
from trivet.features.sources import Snapshots
from trivet.features.times import Rules, to_micros

__all__ = ["LocalEngine", "open_engine"]

_SPINE = Rules("the spine", "Say which it is: timezone='UTC' (--timezone UTC) or whatever zone.")


class LocalEngine:
    """Point-in-time features in this process. Holds nothing between calls."""

    def point_in_time(
        self, spine: Any, features: Sequence[Selected], sources: Snapshots, *, time: str, strict: bool = False
    ) -> Joined:
        """The spine, as a Polars frame, with ``features`` as they could be known at its column ``time``.

        Raises:
            NotFound: a column or the data of a source is missing.
            Invalid: types do not fit, or the data cannot be read.

        Example:
            >>> from trivet.features import Entity, FeatureView, Source, select_all
            >>> temperatures = pl.DataFrame({"day": ["2013-01-01", "2013-01-02"], "city": "NYC", "temp": [3.5, 4.0]})
            >>> source = Source("weather", temperatures, event_time="day", timezone="UTC")
            >>> view = FeatureView("weather", entity=Entity("city"), source=source, features=["temp"])
            >>> spine = pl.DataFrame({"city": ["NYC"], "t": ["2013-01-01T15:00:00Z"]})
            >>> joined = LocalEngine().point_in_time(spine, select_all([view]), {"weather": temperatures}, time="t")
            >>> joined.frame["temp"].to_list()
            [3.5]
        """
        frame = as_polars(spine, "The spine")
        if time not in frame.columns:
            raise NotFound("column in the spine called", time, frame.columns)
        moments = to_micros(frame[time], _SPINE)
        asked = _Asked(frame, moments.fill_null(0).to_numpy(), moments.is_null().to_numpy(), strict)
        for entity in dict.fromkeys(each.view.entity for each in features):
            check_keys(entity, frame, "the spine")
        sources = with_logs([each.view.source for each in features], sources, self.point_in_time)
        columns: dict[str, pl.Series] = {}
        for source in dict.fromkeys(each.view.source for each in features):
            columns.update(asked.join(source, [each for each in features if each.view.source == source], sources))
        answer = frame.with_columns([columns[each.column] for each in features])
        nulls = {each.column: columns[each.column].null_count() for each in features}
        return Joined(answer, asked.report(nulls))


@dataclass
class _Asked:
    """The spine of one call, and what was counted on the way."""

    spine: pl.DataFrame
    at: Ints
    timeless: Any
    strict: bool
    counted: dict[str, Counter[str]] = field(default_factory=dict)

    def join(self, source: Source, features: list[Selected], snapshots: Snapshots) -> dict[str, pl.Series]:
        """The columns of the features of one source."""
        with closing(prepare(source, [(each.view, each.feature) for each in features], snapshots)) as prepared:
            self._count("source_rows", source.name, prepared.rows)
            by_keys: dict[tuple[str, ...], list[Selected]] = {}
            for each in features:
                by_keys.setdefault(each.view.entity.keys, []).append(each)
            columns: dict[str, pl.Series] = {}
            for names, group in by_keys.items():
                columns |= self._answer(prepared, names, group)
        return columns

    def _answer(self, prepared: Prepared, names: tuple[str, ...], features: list[Selected]) -> dict[str, pl.Series]:
        """The columns of the features of one source and one kind of keys."""
        codes = prepared.keys(names).lookup(key_columns(self.spine, names, "the spine"), "the spine")
        asked, columns = np.where(self.timeless, NULL, codes), {}
        with closing(Query(prepared, names, asked, self.at, strict=self.strict)) as query:
            for each in features:
                columns[each.column] = query.answer(each.view, each.feature).values.rename(each.column)
                self._count_rows(prepared, each, codes)
        return columns

    def _count_rows(self, prepared: Prepared, selected: Selected, codes: Ints) -> None:
        """Count oddities once per view, for the times of its first feature."""
        view, keys = selected.view, prepared.keys(selected.view.entity.keys)
        if view.name in self.counted.get("null_keys", ()):
            return
        timeline = prepared.timeline(view.entity.keys, Clock.of(view.source, selected.aggregate))
        self._count("null_keys", view.name, int((codes == NULL).sum()))
        self._count("unknown_keys", view.name, int((keys.counts[codes] == 0).sum() - (codes == NULL).sum()))
        self._count("source_null_keys", view.name, prepared.rows - int(keys.counts.sum()))
        self._count("source_null_times", view.name, timeline.left_out)
        self._count("source_duplicates", view.name, timeline.duplicates)

    def _count(self, what: str, where: str, number: int) -> None:
        self.counted.setdefault(what, Counter())[where] = number

    def report(self, nulls: dict[str, int]) -> Report:
        counts: dict[str, Any] = {what: dict(numbers) for what, numbers in self.counted.items()}
        return Report(rows=self.spine.height, null_times=int(self.timeless.sum()), nulls=nulls, **counts)


def open_engine(url: str, root: Path) -> Engine:  # noqa: ARG001 - the signature of every opener
    """The local engine; ``local:`` has no settings."""
    return LocalEngine()
