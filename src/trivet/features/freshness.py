"""How far what is served of a view is: by materialization, by pushes, and how much newer its own table is.

Moments are those of the store and of the table as they are now; nothing is computed from data. A materialization is up to a
moment of *knowledge*; a push has taken in what *arrived* until a moment.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from trivet.features.live import live_name
from trivet.types import from_micros

if TYPE_CHECKING:
    from trivet.features.catalogue import Listed
    from trivet.features.online.contract import OnlineStore
    from trivet.features.tables import EventTables

__all__ = ["Freshness", "freshness"]


class Freshness(msgspec.Struct, frozen=True):
    """How far the online store is with one view.

    Attributes:
        name: of the view.
        version: of the view.
        materialized: up to which moment its rows are what was known then; None if never.
        pushed: until when events that arrived in its tables were taken in at once; None where nothing is pushed.
        tables: the project's own tables that it reads.
        newest: the newest event that these tables hold; None without such a table.
        asked: when this was asked.
    """

    name: str
    version: int
    materialized: datetime | None
    pushed: datetime | None
    tables: tuple[str, ...]
    newest: datetime | None
    asked: datetime

    @property
    def behind(self) -> float | None:
        """Seconds since what is served was brought up to date; None where it never was."""
        moments = [each for each in (self.materialized, self.pushed) if each is not None]
        return max(0.0, (self.asked - max(moments)).total_seconds()) if moments else None

    def __str__(self) -> str:
        told = {"materialized up to": self.materialized, "pushed until": self.pushed, "newest event": self.newest}
        words = [] if self.materialized is not None else ["never materialized"]
        words += [f"{name} {moment:%Y-%m-%d %H:%M:%S} UTC" for name, moment in told.items() if moment is not None]
        return f"{self.name} (version {self.version}): {', '.join(words)}"


def freshness(listed: Listed, store: OnlineStore, tables: EventTables, now: datetime) -> Freshness:
    """How far ``store`` is with a view whose paths are told from the project's folder."""
    view = listed.view
    leaves = {leaf.data for leaf in view.source.leaves if isinstance(leaf.data, str)}
    own = tuple(name for name in tables.names() if tables.source(name).data in leaves) if leaves else ()
    newest = [moment for name in own if (moment := tables.describe(name).watermark) is not None]
    filled, pushed = (store.watermark(name) for name in (view.online_name, live_name(view)))
    return Freshness(
        name=listed.name,
        version=listed.version,
        materialized=None if filled is None else from_micros(filled),
        pushed=None if pushed is None else from_micros(pushed),
        tables=own,
        newest=max(newest, default=None),
        asked=now,
    )
