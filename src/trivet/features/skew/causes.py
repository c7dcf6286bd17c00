"""Why a served value differs from the one computed now: the questions, cheapest and likeliest first.

Was the store behind? Then the value is that of its watermark, which a windowed feature's time tells, or else a
materialization on record. Has the source changed since? Then the data on record from before give the served value. After
that nothing excuses a difference; what is asked is only what it looks like.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from trivet.errors import TrivetError
from trivet.features.definitions import FeatureView
from trivet.features.references import Computed, Selected
from trivet.features.skew.compare import as_recorded, same, same_but_for_type
from trivet.features.skew.offline import Offline, Vector
from trivet.features.sources import Snapshots
from trivet.types import Micros

__all__ = ["Evidence", "Filled", "Verdict", "explain"]

_ROUNDING = 1e-9

Cell = tuple[int, str]
"""A row and a reference."""


class Verdict(NamedTuple):
    """What is known of a difference: a key of ``report.CAUSES`` or ``revised``, and how far the store was behind."""

    cause: str
    age: Micros | None = None


@dataclass(frozen=True)
class Filled:
    """One filling of the online store that is on record.

    Attributes:
        at: when it began.
        views: the names of the views.
        sources: the data it took, by name.
        until: the moment it brought the store to, where that is on record.
    """

    at: Micros
    views: tuple[str, ...]
    sources: Snapshots
    until: Micros | None = None


@dataclass(frozen=True)
class Evidence:
    """What may explain a difference.

    Attributes:
        offline: computes again.
        rows: what was served.
        sources: the data as they are now.
        now: what they give at the moments of the rows, by reference.
        filled: all fillings on record, oldest first.
        watermarks: up to when the store has each view today.
        versions: other versions of the views.
        same: when two values are one.
    """

    offline: Offline
    rows: Sequence[Vector]
    sources: Snapshots
    now: Mapping[str, Sequence[Any]]
    filled: Sequence[Filled] = ()
    watermarks: Mapping[str, Micros] = field(default_factory=dict)
    versions: Sequence[FeatureView] = ()
    same: Callable[[Any, Any], bool] = same

    def filling(self, view: str, row: Vector) -> Filled | None:
        """The one that the view's values of ``row`` came from."""
        return next((each for each in reversed(self.filled) if view in each.views and each.at <= row.received), None)


def explain(evidence: Evidence, cells: Iterable[Cell]) -> dict[Cell, Verdict]:
    """A verdict for each cell that differs."""
    return _Search(evidence, cells).verdicts()


class _Search:
    """Cells without a verdict, and those with one."""

    def __init__(self, evidence: Evidence, cells: Iterable[Cell]) -> None:
        self.evidence = evidence
        self.open = list(cells)
        self.found: dict[Cell, Verdict] = {}
        selection = evidence.offline.selection
        self.read: dict[str, Selected] = {each.reference: each for each in selection.read}
        self.computed = {each.reference: each for each in selection if isinstance(each, Computed)}
        self.views = [view.name for view in selection.views]

    def verdicts(self) -> dict[Cell, Verdict]:
        """Ask everything, in order."""
        for known in (_watermark, _filled_until, _todays_watermark, _own_moment):
            self._settle(self._behind(known))
        self._settle(self._revised(_moment_of_row))
        self._settle(self._revised(_watermark))
        self._settle(self._revised(_filled_until))
        self._settle(self._versions())
        for cell in self.open:
            self.found[cell] = self._looks_like(cell)
        return self.found

    def _settle(self, verdicts: Iterator[tuple[Cell, Verdict]]) -> None:
        for cell, verdict in verdicts:
            self.found.setdefault(cell, verdict)
        self.open = [cell for cell in self.open if cell not in self.found]

    # -- computed again ---------------------------------------------------------------------------------------

    def _rows(self) -> list[int]:
        return sorted({row for row, _ in self.open})

    def _again(self, rows: Sequence[int], moment: _Moment, sources: Snapshots) -> Iterator[tuple[Cell, Micros]]:
        """Open cells of ``rows`` whose served value is that of other moments or data, and by when it was known."""
        taken = [self.evidence.rows[row] for row in rows]
        moments = {view: [moment(self, row, view) or row.at for row in taken] for view in self.views}
        try:
            values = self.evidence.offline.at(taken, moments, sources)
        except TrivetError:  # data of another time may lack what is asked: then they explain nothing
            return
        place = {row: number for number, row in enumerate(rows)}
        for row, reference in self.open:
            if row in place:
                online = self.evidence.rows[row].values.get(reference)
                if self.evidence.same(online, values[reference][place[row]]):
                    yield (row, reference), min(moments[view][place[row]] for view in self._needed(reference))

    def _needed(self, reference: str) -> list[str]:
        """The views that a feature is read or computed of."""
        if reference in self.read:
            return [self.read[reference].view.name]
        return self.views

    def _behind(self, moment: _Moment) -> Iterator[tuple[Cell, Verdict]]:
        rows = [
            row
            for row in self._rows()
            if any((moment(self, self.evidence.rows[row], v) or self.evidence.rows[row].at) < self.evidence.rows[row].at
                   for v in self.views)
        ]  # fmt: skip
        for cell, seen in self._again(rows, moment, self.evidence.sources) if rows else ():
            vector = self.evidence.rows[cell[0]]
            if seen < vector.at and vector.status.get(cell[1]) != "expired":
                yield cell, Verdict("stale", vector.at - seen)

    def _revised(self, moment: _Moment) -> Iterator[tuple[Cell, Verdict]]:
        """Whether the data that the store was filled from give the served value, perhaps of an earlier moment."""
        groups: dict[tuple[int, ...], tuple[list[int], list[Filled]]] = {}
        for row in self._rows():
            used = [self.evidence.filling(view, self.evidence.rows[row]) for view in self.views]
            if known := [each for each in used if each is not None]:
                groups.setdefault(tuple(map(id, known)), ([], known))[0].append(row)
        for rows, fillings in groups.values():
            recorded = {name: data for each in fillings for name, data in each.sources.items()}
            for cell, seen in self._again(rows, moment, {**self.evidence.sources, **recorded}):
                behind = self.evidence.rows[cell[0]].at - seen
                yield cell, Verdict("stale", behind) if behind > 0 else Verdict("revised")

    def _versions(self) -> Iterator[tuple[Cell, Verdict]]:
        """Whether another version of the view gives the served value."""
        for view in self.evidence.versions:
            cells = [(r, f) for r, f in self.open if f in self.read and self.read[f].view.name == view.name]
            cells = [(r, f) for r, f in cells if self.read[f].feature in view.features]
            if not cells:
                continue
            features = list(dict.fromkeys(self.read[f].feature for _, f in cells))
            rows = [self.evidence.rows[row] for row, _ in cells]
            for moments in ([row.at for row in rows], [_watermark(self, row, view.name) or row.at for row in rows]):
                try:
                    frame = self.evidence.offline.of(view, features, rows, {view.name: moments}, self.evidence.sources)
                except TrivetError:  # its columns or data are gone: then it explains nothing
                    break
                for number, (row, reference) in enumerate(cells):
                    if self.evidence.same(rows[number].values[reference], as_recorded(frame[reference][number])):
                        yield (row, reference), Verdict("version")

    # -- what it looks like -----------------------------------------------------------------------------------

    def _looks_like(self, cell: Cell) -> Verdict:
        row, reference = self.evidence.rows[cell[0]], cell[1]
        online, offline = row.values.get(reference), self.evidence.now[reference][cell[0]]
        status = row.status.get(reference, "missing")
        if reference in self.computed and self._input_differs(cell):
            return Verdict("input")
        if same_but_for_type(online, offline):
            return Verdict("type")
        if status == "unmaterialized":
            return Verdict("unmaterialized")
        if status == "missing" and online in (None, 0):
            return Verdict("missing")
        if (limit := self._limit(reference)) is not None and (time := row.times.get(reference)) is not None:
            old = time <= row.at - limit
            if status == "expired":  # rightly so, if it was all that the store had
                return Verdict("stale", row.at - time) if old else Verdict("expired")
            if old:
                return Verdict("expired")
        return Verdict("rounding" if same(online, offline, tolerance=_ROUNDING) else "unknown")

    def _input_differs(self, cell: Cell) -> bool:
        inputs = {each.reference for each in self.computed[cell[1]].view.inputs}
        return any((cell[0], each) in self.found or (cell[0], each) in self.open for each in inputs)

    def _limit(self, reference: str) -> Micros | None:
        if reference not in self.read:
            return None
        selected = self.read[reference]
        own = selected.aggregate
        if own.windowed:
            return own.window
        ttl = selected.view.ttl_of(selected.feature)
        return None if ttl is None else ttl + own.lag


# -- the moment of which the store had a view; None where that is not known ----------------------------------------

_Moment = Callable[[_Search, Vector, str], Micros | None]


def _moment_of_row(search: _Search, row: Vector, view: str) -> Micros | None:  # noqa: ARG001 - one of several
    return row.at


def _watermark(search: _Search, row: Vector, view: str) -> Micros | None:
    """The time of a windowed feature is the moment for which it was computed: exact."""
    for reference, selected in search.read.items():
        if selected.view.name == view and selected.aggregate.windowed and row.times.get(reference) is not None:
            return row.times[reference]
    return None


def _filled_until(search: _Search, row: Vector, view: str) -> Micros | None:
    known = _watermark(search, row, view)
    filling = search.evidence.filling(view, row)
    return known if known is not None or filling is None or filling.until is None else min(filling.until, row.at)


def _todays_watermark(search: _Search, row: Vector, view: str) -> Micros | None:
    """The store only moves forward, so it was not further than today."""
    known, today = _filled_until(search, row, view), search.evidence.watermarks.get(view)
    return known if known is not None or today is None else min(today, row.at)


def _own_moment(search: _Search, row: Vector, view: str) -> Micros | None:
    """When the latest of the values that were served became known at the earliest."""
    if (known := _filled_until(search, row, view)) is not None:
        return known
    moments = []
    for reference, selected in search.read.items():
        time, times = row.times.get(reference), selected.view.source.times_of(selected.aggregate.column)
        if selected.view.name == view and time is not None and times is not None:
            moments.append(time + times.after + selected.aggregate.lag)
    return min(max(moments), row.at) if moments else None
