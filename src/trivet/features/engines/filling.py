"""The rows of an online store worked out by other processes: each takes whole keys, and this one only puts them.

A part of the keys is moved forward by what moves all of them forward where there is one process
(``trivet.features.materialize.Live``), so the rows are the same bytes. Whether the past is still what it was is a sum over
all keys: the parts answer theirs beside the rows that changed since, and only where the sum is another one, the rows of all
keys are asked for. Rows are fetched some at a time and only after every part is done, so this process needs memory for
some of them, and what fails, fails before anything is put.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple, TypeAlias

import msgspec
import polars as pl

from trivet.features.dealing import Group, groups_of, lazy_rows
from trivet.features.definitions import FeatureView
from trivet.features.engines.contract import Begun, Puts
from trivet.features.engines.executors import PLACES, Kind, Message, Work, packed, rows_of, unpacked, versions
from trivet.features.engines.prepared import Prepared, prepare
from trivet.features.engines.spread import parts_for, raise_first, share_of, source_messages
from trivet.features.materialize import Live, arrived
from trivet.features.online.contract import Batch
from trivet.features.past import added
from trivet.features.references import select_all
from trivet.features.sources import Snapshots
from trivet.types import Micros

__all__ = ["Fetch", "SpreadFilling"]

Fetch: TypeAlias = Callable[[Work, Iterator[Message]], AbstractContextManager[tuple[list[Message], Iterator[Message]]]]
"""Has work done, and answers all messages without rows, then those with rows, fetched as they are asked for."""

_ANSWERED = 8 << 20  # bytes in one message, about
_PUT = 64 << 20  # bytes put into a store at a time
_WASTE = 16 << 20  # bytes done with before they are looked for
_SCHEMA = {"key": pl.Binary(), "row": pl.Binary()}
_Pasts: TypeAlias = "dict[int, list[list[Any]]]"
_Rows: TypeAlias = "tuple[int, pl.DataFrame]"


class Move(NamedTuple):
    """What is asked of one view.

    Attributes:
        number: which of the views.
        view: over rows at hand.
        served: the features that may stand in an online store.
        after: from when; None for all keys.
    """

    number: int
    view: FeatureView
    served: tuple[str, ...]
    after: Micros | None


@dataclass(frozen=True)
class Fill(Work):
    """The work of moving views forward.

    Attributes:
        moves: the views, by share.
        moment: where to.
    """

    moves: tuple[tuple[Move, ...], ...]
    moment: Micros

    def answered(self, messages: list[Message]) -> Iterator[Message]:
        """For each view what the past was and is, and the keys and rows that changed."""
        number, part, *_ = messages[0]
        share, moves = self.shares[number], self.moves[number]
        known = rows_of(messages, Kind.ROWS, share.rows)
        messages.clear()
        prepared = _prepared(moves, known)
        for move in moves:
            live = Live(move.view, prepared, move.served)
            pasts = [live.past.up_to(moment) for moment in (move.after, self.moment) if moment is not None]
            yield Message(number, part, Kind.REPORT, move.number, msgspec.json.encode(pasts))
            for place, rows in enumerate(self._changed(live, move.after)):
                yield Message(number, part, Kind.ANSWER, move.number * PLACES + place, packed(rows))
        large = known.estimated_size() > _WASTE
        del live, prepared, known
        if large:
            gc.collect()  # what is prepared refers to itself: part would come upon part

    def _changed(self, live: Live, after: Micros | None) -> Iterator[pl.DataFrame]:
        codes = live.changed(after, self.moment)
        size = max(_ANSWERED // (32 * len(live.view.features)), 1)
        for start in range(0, len(codes), size):
            rows = live.rows(codes[start : start + size], self.moment)
            yield pl.DataFrame({"key": list(rows.keys), "row": list(rows.rows)}, _SCHEMA)


class _Alike(NamedTuple):
    """The views of one source and one kind of keys."""

    group: Group
    rows: pl.LazyFrame
    moves: list[Move]

    @classmethod
    def of(cls, views: Mapping[int, FeatureView], sources: Snapshots) -> _Alike:
        [group] = groups_of(select_all(list(views.values())))
        over = {id(each.view): each.view for each in group.features}.values()
        moves = [Move(n, rows, view.served_features, None) for (n, view), rows in zip(views.items(), over, strict=True)]
        return cls(group, lazy_rows(group.source, group.columns, sources), moves)

    def empty(self) -> dict[int, Live]:
        """Each view without a row; finds what needs no rows to be wrong."""
        prepared = _prepared(self.moves, self.rows.head(0).collect())
        return {each.number: Live(each.view, prepared, each.served) for each in self.moves}


class SpreadFilling:
    """See ``trivet.features.engines.contract.Filling``.

    Args:
        views: what is to be served.
        sources: the data, with the logs of sources that are views.
        here: whether those who are asked see the files of this machine.
        fetch: how they are asked.

    Raises:
        NotFound, Invalid: as ``Filler.filling``.
    """

    def __init__(self, views: Sequence[FeatureView], sources: Snapshots, *, here: bool, fetch: Fetch) -> None:
        self._sources, self._here, self._fetch = sources, here, fetch
        self._names = [view.online_name for view in views]
        kinds: dict[Any, dict[int, FeatureView]] = {}
        for number, view in enumerate(views):
            kinds.setdefault((view.source, view.entity.keys), {})[number] = view
        self._kinds = [_Alike.of(own, sources) for own in kinds.values()]
        empty = {number: live for kind in self._kinds for number, live in kind.empty().items()}
        self._nothing = {number: live.past.up_to(0) for number, live in empty.items()}
        self._keys = [empty[number].keys for number in range(len(views))]

    def puts(self, begun: Sequence[Begun], moment: Micros) -> Puts:
        """See ``Filling.puts``. Some rows in each call."""
        waiting = _Waiting(self._names, moment)
        after = {each.number: None if each.past is None else each.watermark for each in begun}
        with self._moved(after, moment) as (pasts, rows):
            stale = {n: None for n, _, past in begun if len(pasts[n]) > 1 and pasts[n][0] != past}
            with self._moved(stale, moment) as (others, afresh):
                yield from waiting.full(chain((each for each in rows if each[0] not in stale), afresh))
        whole = {n: self._keys[n] for n, since in (after | stale).items() if since is None}
        yield waiting.last({number: past[-1] for number, past in (pasts | others).items()}, whole)

    @contextmanager
    def _moved(self, after: Mapping[int, Micros | None], moment: Micros) -> Iterator[tuple[_Pasts, Iterator[_Rows]]]:
        """What the past of some views was and is, and the rows of keys that changed since."""
        kinds = [each._replace(moves=_since(each.moves, after)) for each in self._kinds]
        kinds = [each for each in kinds if each.moves]
        if not kinds:
            yield {}, iter(())
            return
        rows = [each.rows for each in kinds]
        shares = tuple(share_of(each.group, each.rows) for each in kinds)
        work = Fill(shares, parts_for(rows), versions(), tuple(tuple(each.moves) for each in kinds), moment)
        with self._fetch(work, self._messages(kinds)) as (told, answers):
            raise_first(sorted(told))
            yield self._summed(told, after), ((each.place // PLACES, unpacked(each.data)) for each in answers)

    def _messages(self, kinds: Sequence[_Alike]) -> Iterator[Message]:
        for number, (group, rows, _) in enumerate(kinds):
            yield from source_messages(number, group, rows, self._sources, here=self._here)

    def _summed(self, told: Sequence[Message], after: Mapping[int, Micros | None]) -> _Pasts:
        parts = {number: [[self._nothing[number]] * (1 + (since is not None))] for number, since in after.items()}
        for each in told:
            parts[each.place].append(msgspec.json.decode(each.data))
        return {number: [added(pasts) for pasts in zip(*own, strict=True)] for number, own in parts.items()}


class _Waiting:
    """Rows on their way into a store."""

    def __init__(self, names: Sequence[str], moment: Micros) -> None:
        self._names, self._moment = names, moment
        self._rows: dict[int, list[tuple[bytes, bytes]]] = {}

    def full(self, rows: Iterable[_Rows]) -> Iterator[list[Batch]]:
        """What is put while more is to come: whenever enough has come together."""
        size = 0
        for number, some in rows:
            self._rows.setdefault(number, []).extend(some.rows())
            size += int(some.estimated_size())
            if size > _PUT:
                yield [Batch(self._names[n], own, self._moment, self._moment) for n, own in self._rows.items()]
                self._rows, size = {}, 0

    def last(self, pasts: Mapping[int, list[Any]], whole: Mapping[int, Mapping[str, pl.DataType]]) -> list[Batch]:
        """The rest of the rows, and that the views have arrived; with the types of keys those that are ``whole``."""
        arriving = [
            arrived(
                self._names[n],
                self._rows.get(n, []),
                past,
                self._moment,
                whole.get(n),
                self._moment - 1 if n in whole else None,  # the other rows of this moment were put before
            )
            for n, past in pasts.items()
        ]
        return [batch for each in arriving for batch in each]


def _since(moves: Sequence[Move], after: Mapping[int, Micros | None]) -> list[Move]:
    return [each._replace(after=after[each.number]) for each in moves if each.number in after]


def _prepared(moves: Sequence[Move], rows: pl.DataFrame) -> Prepared:
    source = moves[0].view.source
    return prepare(source, [(each.view, name) for each in moves for name in each.view.features], {source.name: rows})
