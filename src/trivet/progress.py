"""A bar on standard error for work that takes longer than two seconds, and nothing for work that does not.

Only where a person looks: a terminal or a notebook. Logs, pipes and ``--json`` stay clean. Rich draws, and is imported
when the two seconds have passed.
"""

from __future__ import annotations

import sys
import threading
from types import TracebackType
from typing import Any, Self

__all__ = ["Progress"]

AFTER = 2.0
"""Seconds of patience before anything is shown."""


class Progress:
    """What is being done, and how much of it is.

    Args:
        what: shown before the bar.
        total: how many steps there will be; None where nobody knows.
        shown: False where somebody else tells.

    Example:
        >>> with Progress("joining", total=2) as progress:
        ...     for name in ("weather", "planes"):
        ...         progress.step(name)
        >>> progress.done
        2
    """

    def __init__(self, what: str, total: int | None = None, *, shown: bool = True) -> None:
        self.what, self.total, self.done, self.shown = what, total, 0, shown
        self._now = ""
        self._bar: Any = None
        self._task: Any = None
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None

    def __enter__(self) -> Self:
        if self.shown and _someone_looks():
            self._timer = threading.Timer(AFTER, self._show)
            self._timer.daemon = True
            self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        with self._lock:
            self._timer = None
            if self._bar is not None:
                self._bar.stop()

    def step(self, now: str = "", by: int = 1) -> None:
        """``by`` more steps are done; ``now`` says what is done next."""
        self.to(now, self.done + by, self.total)

    def to(self, now: str, done: int, total: int | None) -> None:
        """``done`` of ``total`` steps are done."""
        with self._lock:
            self._now, self.done, self.total = now, done, total
            if self._bar is not None:
                self._bar.update(self._task, completed=done, total=total, now=now)

    def _show(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bar

        columns = [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()]
        with self._lock:
            if self._timer is None:
                return  # it ended in this moment
            bar = Bar(*columns, TextColumn("{task.fields[now]}"), console=Console(stderr=True), transient=True)
            bar.start()
            self._task = bar.add_task(self.what, total=self.total, completed=self.done, now=self._now)
            self._bar = bar


def _someone_looks() -> bool:
    """Whether standard error is a terminal, or this is a notebook."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return sys.stderr.isatty() or type(shell).__name__ == "ZMQInteractiveShell"
