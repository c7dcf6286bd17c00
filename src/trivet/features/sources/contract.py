"""What every kind of place promises: to know its own declarations, and to open them as a snapshot.

A snapshot reads lazily and only the columns that are needed, always in the same order of rows for the same content,
because the order decides ties. Columns marked ``do not store`` are left out before anyone sees them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Mapping
from dataclasses import KW_ONLY, dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeAlias

from trivet.errors import Invalid, NotFound
from trivet.pipelines.values.contract import Saved

if TYPE_CHECKING:
    import polars as pl

    from trivet.features.definitions import Source
    from trivet.ledger import Blobs

__all__ = ["Place", "Snapshot", "Snapshots", "as_arrived", "check_told", "first_line"]


@dataclass(frozen=True, eq=False)
class Snapshot(ABC):
    """The rows of one source as they are now, or as they were.

    Attributes:
        name: the source's name.
        cut: columns that are left out.
    """

    __trivet_kind__: ClassVar[str] = "source"

    name: str
    _: KW_ONLY
    cut: tuple[str, ...] = ()

    @abstractmethod
    def rows(self) -> pl.LazyFrame:
        """All rows and columns, not read yet.

        Raises:
            Invalid: they are missing, empty, damaged or of another format.
        """

    @abstractmethod
    def keep(self, blobs: Blobs) -> Saved:
        """Store the content as it is; called where nothing is cut away."""

    def scan(self) -> pl.LazyFrame:
        """The rows, not read yet, without the columns that are cut away.

        Raises:
            Invalid: as ``rows``.
        """
        rows = self.rows()
        return rows.drop(self.cut, strict=False) if self.cut else rows

    def save(self, blobs: Blobs) -> Saved:
        """Store the content: as it is, or, where columns are cut away, what is left of it as Parquet.

        Raises:
            Invalid: as ``rows``.
        """
        if not self.cut:
            return self.keep(blobs)
        buffer = BytesIO()
        self.scan().collect().write_parquet(buffer)
        return Saved({"name": self.name, "format": "parquet"}, {f"{self.name}.parquet": blobs.put(buffer.getvalue())})

    def fingerprint(self) -> str | None:
        """What changes whenever the content does and costs little to ask; None where only reading would tell."""
        return None

    def settled(self) -> bool:
        """Whether the content cannot change any more without changing the fingerprint."""
        return True

    def check_columns(self, told: Iterable[str]) -> None:
        """Refuse a misspelt column of which something is told: the one that was meant would be seen too early, or stored.

        Raises:
            NotFound: there is no such column; the nearest is named.
        """
        if told := list(told):
            check_told(self.name, told, self.rows().collect_schema().names())


Snapshots: TypeAlias = Mapping[str, "Snapshot | Any"]
"""The data of sources by name: snapshots, or frames of any make."""


def as_arrived(rows: pl.LazyFrame) -> pl.LazyFrame:
    """The rows of a table that took history in, in the order in which they reached us.

    Rows of history that count from the same moment are told apart by nothing else, and files that were put together have
    another order.
    """
    from trivet.features.tables.rules import ARRIVED

    return rows.sort(ARRIVED, maintain_order=True) if ARRIVED in rows.collect_schema() else rows


class Place(Protocol):
    """One kind of place that rows come from. Obligations, examined by ``tests/features/sources/test_contract.py``:

    * exactly one kind claims a declaration, by its words and by what stands at its path, without reading it;
    * the same content answers the same rows in the same order with the same types, and records the same artifact;
    * opened from its artifact elsewhere, it answers the same rows;
    * bad input raises ``Invalid`` or ``NotFound`` with the source's name, and never a secret.
    """

    def claims(self, source: Source, root: Path) -> bool:
        """Whether the data of ``source`` are of this kind; relative paths start at ``root``."""
        ...

    def open(self, source: Source, root: Path) -> Snapshot:
        """The data.

        Raises:
            Invalid: they cannot be used.
            NotFound: what is asked for in them does not exist.
        """
        ...


def first_line(exc: BaseException) -> str:
    """The first line of what a library says, as the end of a sentence."""
    return f"{str(exc).strip().splitlines()[0].rstrip('.') if str(exc).strip() else type(exc).__name__}."


def unreadable(name: str, exc: BaseException) -> Invalid:
    """The sentence about data that a library cannot read."""
    return Invalid(f"The data of source {name!r} cannot be read: {first_line(exc)}")


def check_told(source: str, told: Iterable[str], columns: Collection[str]) -> None:
    """Refuse what a source tells of columns that it does not have (``column_times``, ``personal``).

    Raises:
        NotFound: there is no such column; the nearest is named.
    """
    for column in told:
        if column not in columns:
            raise NotFound(f"column in source {source!r} called", column, columns)
