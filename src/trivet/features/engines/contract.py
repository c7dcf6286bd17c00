"""What a point-in-time engine promises: one row out for each row in, with nothing that was not known at its time."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeAlias, runtime_checkable

import msgspec

from trivet.features.definitions import FeatureView
from trivet.features.online.contract import Batch
from trivet.features.references import Selected
from trivet.features.sources import Snapshots
from trivet.types import Micros

__all__ = ["Begun", "Engine", "Filler", "Filling", "Joined", "Puts", "Report"]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What was met on the way, counted. Nothing here is an error, and nothing is silent.

    Attributes:
        rows: of the spine, and of the answer.
        duplicates: rows of the spine with keys and time of another one; each has its answer.
        null_times: rows of the spine without a time; all their features are null.
        null_keys: by view, rows of the spine with a null key; the view's features are null.
        unknown_keys: by view, rows of the spine whose key the source never has; as a key without visible rows.
        nulls: by column, how many features came out null.
        source_rows: by source, how many rows it has.
        source_null_keys: by view, rows of the source that belong to no one.
        source_null_times: by view, rows of the source that were never known, for lack of a time.
        source_duplicates: by view, rows of the source with key and event time of another one.
        unreached: by source with a time of arrival, rows that could be known by the last moment of the spine and reached us
            only after it: no row of the spine saw them. Counted where the training set is made, by no engine.
        as_known: by source, of a training set made with ``as_known_at``, which version or record of it was used.
    """

    rows: int
    duplicates: int = 0
    null_times: int = 0
    null_keys: dict[str, int] = {}
    unknown_keys: dict[str, int] = {}
    nulls: dict[str, int] = {}
    source_rows: dict[str, int] = {}
    source_null_keys: dict[str, int] = {}
    source_null_times: dict[str, int] = {}
    source_duplicates: dict[str, int] = {}
    unreached: dict[str, int] = {}
    as_known: dict[str, str] = {}


@dataclass(frozen=True)
class Joined:
    """A data frame of the engine's own make (the local engine: Polars), and the report."""

    frame: Any
    report: Report


class Engine(Protocol):
    """Computes features. Obligations of an implementation, examined by ``trivet.testing.engines.EngineContract``:

    * the answer has the spine's rows in the spine's order, its columns untouched, then the features;
    * values follow ``docs/concepts/point-in-time.md`` exactly, ties included;
    * the same call answers the same bits, on any number of threads;
    * bad input raises ``Invalid`` or ``NotFound`` and never a foreign exception.
    """

    def point_in_time(
        self, spine: Any, features: Sequence[Selected], sources: Snapshots, *, time: str, strict: bool = False
    ) -> Joined:
        """The spine with ``features`` as they could be known at its column ``time``.

        Args:
            spine: a data frame of any make with the keys of all entities and the time.
            features: what to add, in this order.
            sources: the data, by the names of the sources without a query.
            time: the spine's column of prediction times.
            strict: see only what was known before, not at, that time.

        Raises:
            NotFound: a column or the data of a source is missing.
            Invalid: types do not fit, or the data cannot be read.
        """
        ...


class Begun(NamedTuple):
    """From where a view is moved forward in an online store.

    Attributes:
        number: which of the views.
        watermark: up to when it is materialized; None for never.
        past: what its source had up to then, as ``trivet.features.past`` says; None where nobody remembers.
    """

    number: int
    watermark: Micros | None
    past: list[Any] | None


Puts: TypeAlias = Generator[Sequence[Batch], None, None]
"""What is put into an online store, call by call. The last call has the watermarks."""


class Filling(Protocol):
    """Some views and their data, ready to be moved forward in an online store again and again."""

    def puts(self, begun: Sequence[Begun], moment: Micros) -> Puts:
        """What brings the store from where it is to ``moment``, all of it worked out before the first row is put.

        Raises:
            Invalid: the data cannot be read any more.
        """
        ...


@runtime_checkable
class Filler(Protocol):
    """An engine that works out the rows of online stores as well. For one that does not, the process that asks does.

    ``EngineContract`` examines both alike: an online store has the values that ``point_in_time`` answers.
    """

    def filling(self, views: Sequence[FeatureView], sources: Snapshots) -> Filling:
        """The views over data.

        Args:
            views: what is to be served.
            sources: as for ``Engine.point_in_time``.

        Raises:
            NotFound: a column or the data of a source is missing.
            Invalid: the data cannot be read, or a feature has no online form.
        """
        ...
