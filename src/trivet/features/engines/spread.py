"""A join spread over processes: what is sent out, and what comes back put together. How it is sent is the engine's.

An engine that spreads needs a function that takes messages, deals them out by ``Work.deal``, brings those of one share
and part together in order, has them answered by ``Work.answer``, and answers all messages that come of it. Spark is
one; a loop in this process is another, by which the tests examine everything but the sending.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import msgspec
import polars as pl

from trivet.features.dealing import ROW, Group, added, groups_of, in_batches, lazy_rows, present, size_of, together
from trivet.features.engines.contract import Joined, Report
from trivet.features.engines.executors import (
    Kind,
    Message,
    Share,
    Work,
    error_of,
    packed,
    rows_of,
    unpacked,
    versions,
)
from trivet.features.engines.local import LocalEngine
from trivet.features.references import Selected
from trivet.features.sources import Snapshot, Snapshots
from trivet.features.sources.portions import Portion, portions_of

__all__ = ["Send", "parts_for", "raise_first", "share_of", "source_messages", "spread"]

Send: TypeAlias = Callable[[Work, Iterator[Message]], Iterable[Message]]
_PART = 16 << 20  # bytes of rows that are answered at a time
_FEWEST, _MOST = 4, 4096
_SENT = 1 << 17  # rows in one message
_WASTE = 16 << 20  # bytes done with before they are looked for


@dataclass(frozen=True)
class Join(Work):
    """The work of a join.

    Attributes:
        features: what is answered, by share.
        spines: messages without rows of the spine, by share, for the types.
        time: the spine's column of prediction times.
        strict: as ``Engine.point_in_time``.
    """

    features: tuple[tuple[Selected, ...], ...]
    spines: tuple[bytes, ...]
    time: str
    strict: bool

    def answered(self, messages: list[Message]) -> Iterator[Message]:
        """The rows of the spine with their features."""
        number, part, *_ = messages[0]
        share, features = self.shares[number], self.features[number]
        asked, known = rows_of(messages, Kind.SPINE, self.spines[number]), rows_of(messages, Kind.ROWS, share.rows)
        messages.clear()
        engine, sources = LocalEngine(), {share.source: known}
        joined = engine.point_in_time(asked, features, sources, time=self.time, strict=self.strict)
        answer = joined.frame.select(ROW, *(each.column for each in features))
        for place, start in enumerate(range(0, answer.height, _SENT)):
            yield Message(number, part, Kind.ANSWER, place, packed(answer[start : start + _SENT]))
        yield Message(number, part, Kind.REPORT, 0, msgspec.json.encode(joined.report))
        large = known.estimated_size() > _WASTE
        del joined, answer, asked, known, sources
        if large:
            gc.collect()  # what the engine prepared refers to itself: part would come upon part


def spread(
    spine: pl.DataFrame,
    features: Sequence[Selected],
    sources: Snapshots,
    *,
    time: str,
    strict: bool,
    here: bool,
    send: Send,
) -> Joined:
    """What the local engine answers, worked out by what ``send`` reaches. Sources that are views are among ``sources``.

    Args:
        spine: as ``Engine.point_in_time``.
        features: as there.
        sources: as there.
        time: as there.
        strict: as there.
        here: whether those processes see the files of this machine.
        send: how to reach them.

    Raises:
        NotFound, Invalid: as ``Engine.point_in_time``.
        ConfigError: other versions are installed there.
    """
    nothing = LocalEngine().point_in_time(spine, [], {}, time=time, strict=strict)  # but for times that are none
    if not features:
        return nothing
    columns, report = _Question(spine, groups_of(features), sources, time, strict, here, send).run()
    answer = spine.with_columns([columns[each.column] for each in features])
    nulls = {each.column: columns[each.column].null_count() for each in features}
    return Joined(answer, msgspec.structs.replace(report, nulls=nulls))


@dataclass(frozen=True)
class _Question:
    """One join."""

    spine: pl.DataFrame
    groups: list[Group]
    sources: Snapshots
    time: str
    strict: bool
    here: bool
    send: Send

    def run(self) -> tuple[dict[str, pl.Series], Report]:
        """The columns of all features, and what was met."""
        rows = [lazy_rows(group.source, group.columns, self.sources) for group in self.groups]
        none = [self._answer_to_nothing(group, known) for group, known in zip(self.groups, rows, strict=True)]
        answers = sorted(self.send(self._work(rows), self._messages(rows)))
        raise_first(answers)
        columns: dict[str, pl.Series] = {}
        reports = []
        for number, empty in enumerate(none):
            own = [each for each in answers if each.share == number]
            found = [unpacked(each.data) for each in own if each.kind == Kind.ANSWER]
            columns |= pl.concat(found or [empty.frame]).sort(ROW).drop(ROW).to_dict()
            met = [msgspec.json.decode(each.data, type=Report) for each in own if each.kind == Kind.REPORT]
            reports.append(added([empty.report, *met]))
        return columns, together(reports)

    def _work(self, rows: Sequence[pl.LazyFrame]) -> Join:
        return Join(
            tuple(map(share_of, self.groups, rows)),
            parts_for(rows, self.spine.estimated_size()),
            versions(),
            tuple(tuple(group.features) for group in self.groups),
            tuple(packed(self._asked(group).clear()) for group in self.groups),
            self.time,
            self.strict,
        )

    def _asked(self, group: Group) -> pl.DataFrame:
        wanted = dict.fromkeys([*present(self.spine.lazy(), group.keys, "the spine"), self.time])
        return self.spine.select(list(wanted)).with_row_index(ROW)

    def _answer_to_nothing(self, group: Group, rows: pl.LazyFrame) -> Joined:
        """The types of the answer, and the errors that need no rows, before anything is sent anywhere."""
        known = {group.source.name: rows.head(0).collect()}
        joined = LocalEngine().point_in_time(
            self._asked(group).clear(), group.features, known, time=self.time, strict=self.strict
        )
        return Joined(joined.frame.select(ROW, *(each.column for each in group.features)), joined.report)

    def _messages(self, rows: Sequence[pl.LazyFrame]) -> Iterator[Message]:
        """Everything that is dealt out by key."""
        for number, (group, known) in enumerate(zip(self.groups, rows, strict=True)):
            yield from source_messages(number, group, known, self.sources, here=self.here)
            for place, batch in enumerate(self._asked(group).iter_slices(_SENT)):
                yield Message(number, -1, Kind.SPINE, place, packed(batch))


def share_of(group: Group, rows: pl.LazyFrame) -> Share:
    """What other processes are told of a group whose rows are ``rows``."""
    return Share(group.source.name, group.keys, tuple(group.columns), packed(rows.head(0).collect()))


def parts_for(rows: Iterable[pl.LazyFrame], others: float = 0) -> int:
    """Into how many parts keys are dealt, so that each is small: of some tables, and so many bytes of ``others``."""
    amount = others + sum(count * width for count, width in map(size_of, rows))
    return int(min(max(amount // _PART, _FEWEST), _MOST))


def source_messages(
    number: int, group: Group, rows: pl.LazyFrame, sources: Snapshots, *, here: bool
) -> Iterator[Message]:
    """The rows of the source of share ``number``, or where to read them.

    Args:
        number: of the share.
        group: what is read.
        rows: the same, read by this process.
        sources: the data.
        here: whether those who are asked see the files of this machine.
    """
    portions = _portions(group, sources, here=here)
    for place, portion in enumerate(portions):
        yield Message(number, -1, Kind.PORTION, place, msgspec.json.encode(portion))
    if not portions:
        for place, batch in enumerate(in_batches(rows, _SENT, group.owner)):
            yield Message(number, -1, Kind.ROWS, place, packed(batch))


def _portions(group: Group, sources: Snapshots, *, here: bool) -> Sequence[Portion]:
    snapshot = sources.get(group.source.name)
    if not isinstance(snapshot, Snapshot) or group.source.derived or group.source.view is not None:
        return ()
    return portions_of(snapshot, here=here)


def raise_first(messages: Iterable[Message]) -> None:
    """Raise the first error among messages in order, if there is one."""
    for each in messages:
        if each.kind == Kind.ERROR:
            raise error_of(each.data)
