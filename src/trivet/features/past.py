"""What a source had up to a moment, as a few numbers: whether the past is still what it was.

A row is hashed by its content and its place among rows that tie with it, and the hashes of all rows that were visible up to
a moment are added. The sum needs no order, so rows may be appended and files rewritten; a row that was changed, added or
taken away before the moment changes it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from trivet.features.definitions import FeatureView
from trivet.features.engines.prepared import Clock, Prepared
from trivet.features.engines.timeline import Ints, Timeline
from trivet.types import Micros

__all__ = ["Past", "added"]

_Sums = npt.NDArray[np.uint64]
_ODD = np.uint64(0x9E3779B97F4A7C15)


class Past:
    """The past of the data that one view reads.

    Args:
        view: whose columns count.
        prepared: the data.
    """

    def __init__(self, view: FeatureView, prepared: Prepared) -> None:
        self._version = f"1 polars {pl.__version__}"  # its hashes may change with the version
        columns: dict[Clock, list[str]] = {}
        for each in view.features.values():
            columns.setdefault(Clock.of(view.source, each), []).extend(each.columns)
        self._kinds = [
            _sums(
                prepared.timeline(view.entity.keys, clock),
                _hashes(prepared, [*view.entity.keys, *dict.fromkeys(names)]),
            )
            for clock, names in columns.items()
        ]

    def up_to(self, moment: Micros) -> list[Any]:
        """What was visible up to ``moment``, for each pair of times: how many rows, and the sum of their hashes."""
        answer: list[Any] = [self._version]
        for visible, sums in self._kinds:
            count = int(np.searchsorted(visible, moment, side="right"))
            answer += [count, f"{int(sums[count]):016x}"]
        return answer


def added(pasts: Iterable[list[Any]]) -> list[Any]:
    """What ``Past.up_to`` says of all keys, from what it says of parts that have whole keys.

    Example:
        >>> added([["1", 2, "00000000000000ff"], ["1", 3, "ffffffffffffffff"]])
        ['1', 5, '00000000000000fe']
    """
    [version, *first], *others = pasts
    for each in others:
        for place in range(0, len(first), 2):
            first[place] += each[place + 1]
            first[place + 1] = f"{(int(first[place + 1], 16) + int(each[place + 2], 16)) % (1 << 64):016x}"
    return [version, *first]


def _hashes(prepared: Prepared, names: list[str]) -> _Sums:
    columns = [prepared.column(name) for name in dict.fromkeys(names)]
    plain = [each.cast(pl.String) if isinstance(each.dtype, pl.Categorical | pl.Enum) else each for each in columns]
    return pl.DataFrame(plain).hash_rows(seed=0).to_numpy()


def _sums(timeline: Timeline, hashes: _Sums) -> tuple[Ints, _Sums]:
    """The moments at which rows become visible in order, and the sum of hashes before each and at the end."""
    with np.errstate(over="ignore"):
        own = hashes[timeline.rows] ^ (_mixed(timeline.event) + _mixed(timeline.visible) * _ODD)
        own *= (2 * _ranks(timeline) + 1).astype(np.uint64)  # a product: a sum would not tell two that swapped
    order = np.argsort(timeline.visible, kind="stable")
    sums = np.zeros(len(order) + 1, np.uint64)
    np.cumsum(own[order], out=sums[1:])
    return timeline.visible[order], sums


def _mixed(moments: Ints) -> _Sums:
    with np.errstate(over="ignore"):
        return moments.astype(np.uint64) * _ODD


def _ranks(timeline: Timeline) -> Ints:
    """The place of each row among those of its key with the same times."""
    size = len(timeline.rows)
    places = np.arange(size)
    fresh = np.ones(size, np.bool_)
    fresh[1:] = (
        (timeline.codes[1:] != timeline.codes[:-1])
        | (timeline.event[1:] != timeline.event[:-1])
        | (timeline.visible[1:] != timeline.visible[:-1])
    )
    return places - np.maximum.accumulate(np.where(fresh, places, 0))
