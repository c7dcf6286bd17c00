"""Progress of long work on standard error, for people who wait longer than two seconds in front of a terminal."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

__all__ = ["Bar"]

PATIENCE = 2.0


class Bar:
    """A bar that appears when the work takes longer than ``PATIENCE`` seconds, and only on a terminal.

    Example:
        >>> with Bar("orders", total=2) as bar:
        ...     bar.add(1)
        ...     bar.add(1)
    """

    def __init__(self, what: str, total: int | None = None) -> None:
        self._what, self._total, self._done = what, total, 0
        self._begun = time.monotonic()
        self._shown: tuple[Progress, TaskID] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, where: TracebackType | None
    ) -> None:
        if self._shown is not None:
            self._shown[0].stop()

    def add(self, rows: int) -> None:
        """So many more rows are done."""
        self._done += rows
        if self._shown is None and sys.stderr.isatty() and time.monotonic() - self._begun > PATIENCE:
            self._show()
        if self._shown is not None:
            self._shown[0].update(self._shown[1], completed=self._done)

    def _show(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        progress = Progress(*columns, console=Console(stderr=True), transient=True)
        progress.start()
        self._shown = progress, progress.add_task(self._what, total=self._total)
