"""Series as sources of feature views: what each value was, when it happened and from when it counts.

Several series have times of their own, so each column tells when by a column ``NAME__time`` that is null in the rows of
the others: a null that was written is a value, the absence of a row is not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trivet.features.definitions import Source, Times
from trivet.features.series.incoming import CREATED, KNOWN, TIME
from trivet.types import Duration

__all__ = ["Part", "source_of"]


@dataclass(frozen=True)
class Part:
    """A series, its keys, the column that says when a value was known, and its table as a source."""

    name: str
    by: tuple[str, ...]
    known: str
    table: Source


def source_of(name: str, parts: Sequence[Part], known_after: Duration | None) -> Source:
    """The series together; each value counts from when it was known, or so long after its time.

    Of contents that were known at one moment, or of all where ``known_after`` is given, the last one written holds.
    """
    known = KNOWN if known_after is None else None
    after = known_after or "0s"
    return Source(
        name,
        sql=" UNION ALL BY NAME ".join(f"({_rows(part, own=known is not None)})" for part in parts),
        inputs=[part.table for part in parts],
        event_time=TIME,
        known_at=known,
        known_after=after,
        column_times={part.name: Times(f"{part.name}__time", known, after) for part in parts},
    )


def _rows(part: Part, *, own: bool) -> str:
    by, name, known = [_quoted(each) for each in part.by], _quoted(part.name), _quoted(part.known)
    key = [*by, TIME, *([known] if own else [])]
    columns = [*by, TIME, f"{TIME} AS {_quoted(f'{part.name}__time')}", name, *([f"{known} AS {KNOWN}"] if own else [])]
    newest = ", ".join(f"{each} DESC" for each in dict.fromkeys([known, _quoted(CREATED)]))
    one = f"row_number() OVER (PARTITION BY {', '.join(key)} ORDER BY {newest}) = 1"
    return f"SELECT {', '.join(columns)} FROM {_quoted(part.table.name)} QUALIFY {one}"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
