"""The record of one open run, written behind its back: the caller never waits for the ledger.

Changes and metrics are gathered in memory and written in batches by a thread of the run's own, a fifth of a second
after the first of them. A ledger that fails meanwhile costs one warning; the batch is kept and tried again. What a
run *means* (names, values, nesting) is left to ``trivet.tracking.runs``.

Invariant: what was handed over is either pending here or in the ledger, never in neither; once ``close`` returned it
is in the ledger, all of it. A killed process loses what was handed over in the last ``EVERY`` seconds.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from datetime import datetime

import msgspec

from trivet.errors import Conflict, TrivetError
from trivet.ledger import Ledger, Metric, Run

__all__ = ["EVERY", "Journal"]

EVERY = 0.2  # seconds between a change and its batch
BATCH = 5_000  # metrics in one transaction, so that a reader or another writer gets a turn
ATTEMPTS = 5  # of the last flush, before the error is the caller's

_log = logging.getLogger(__name__)


class Journal:
    """Keeps one run's record in memory and the ledger's copy close behind. Safe to share among threads.

    Args:
        ledger: where the record goes.
        run: the record to begin with; it is written at once, so a ledger that cannot be written to shows here.
        every: seconds from a change to its batch.

    Raises:
        TrivetError: the ledger could not record the beginning.
    """

    def __init__(self, ledger: Ledger, run: Run, *, every: float = EVERY) -> None:
        self._ledger, self._run, self._every = ledger, run, every
        self._process = os.getpid()
        self._lock = threading.Lock()  # the state below, held for microseconds
        self._writing = threading.Lock()  # the ledger, held for a transaction: batches keep their order
        self._changed = False
        self._latest = {name: (0, run.started, value) for name, value in run.metrics.items()}
        self._pending: deque[Metric] = deque()
        self._news, self._stop = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._warned = False
        ledger.write(run)

    @property
    def run(self) -> Run:
        """The record as it stands, with the latest value of each metric."""
        with self._lock:
            return self._snapshot()

    def change(self, alter: Callable[[Run], Run]) -> None:
        """Replace the record by ``alter(record)``; what ``alter`` raises leaves it as it was.

        Raises:
            Conflict: the run has ended, or belongs to the process that this one was forked from.
        """
        with self._lock:
            self._check_open()
            self._run, self._changed = alter(self._run), True
        self._wake()

    def measure(self, step: int | None, values: Iterable[tuple[str, float]], at: datetime) -> None:
        """Take metrics; without a step each name goes on from its greatest step.

        Raises:
            Conflict: as ``change``.
        """
        with self._lock:
            self._check_open()
            run, latest, pending = self._run.id, self._latest, self._pending
            for name, value in values:
                greatest = latest[name][0] if name in latest else -1
                here = greatest + 1 if step is None else step
                if name not in latest or (here, at) >= latest[name][:2]:
                    latest[name] = (here, at, value)
                pending.append(Metric(run, name, here, value, at))
        self._wake()

    def flush(self) -> None:
        """Write what is pending, now.

        Raises:
            TrivetError: the ledger failed; everything is pending still.
        """
        with self._writing:
            for _ in range(1 + len(self._pending) // BATCH):  # bounded, however fast others go on
                self._write_batch()

    def close(self, alter: Callable[[Run], Run]) -> None:
        """Make the last change and write everything. After a failure it may be called again.

        Raises:
            TrivetError: the ledger failed time and again; everything is pending still.
        """
        with self._lock:
            if self._run.ended is None:
                self._run, self._changed = alter(self._run), True
        self._stop.set()
        self._news.set()
        for attempt in range(ATTEMPTS):
            try:
                self.flush()
                break
            except TrivetError:
                if attempt == ATTEMPTS - 1:
                    raise
                time.sleep(self._every * 2**attempt)

    def _check_open(self) -> None:
        if self._run.ended is not None:
            raise Conflict(
                f"The run {self._run.name!r} has ended ({self._run.status}) and takes no more. "
                "Open another with project.run(...)."
            )
        if self._process != os.getpid():
            raise Conflict(
                f"The run {self._run.name!r} is open in process {self._process}, from which this one was forked. "
                f"Open one here, with parent={self._run.id!r}."
            )

    def _snapshot(self) -> Run:
        return msgspec.structs.replace(self._run, metrics={name: value for name, (_, _, value) in self._latest.items()})

    def _wake(self) -> None:
        if self._news.is_set():
            return
        self._news.set()
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._work, name=f"trivet {self._run.id}", daemon=True)
                    self._thread.start()

    def _work(self) -> None:
        while not self._stop.is_set():
            self._news.wait()
            self._stop.wait(self._every)
            self._news.clear()
            try:
                self.flush()
            except Exception as exc:  # noqa: BLE001 - training goes on whatever the storage does; close() raises it
                self._warn(exc)
                self._news.set()

    def _warn(self, exc: Exception) -> None:
        if not self._warned:
            self._warned = True
            _log.warning(
                "The ledger could not be written to while run %r went on (%s). Everything is kept and tried again.",
                self._run.name,
                exc,
            )

    def _write_batch(self) -> None:
        with self._lock:
            run = self._snapshot() if self._changed else None
            batch = [self._pending.popleft() for _ in range(min(BATCH, len(self._pending)))]
            self._changed = False
        try:
            if run is not None:
                self._ledger.write(self._with_what_others_wrote(run), *batch)
            elif batch:
                self._ledger.write(*batch)
        except BaseException:
            with self._lock:  # in front, so that of a point told twice the later word stands
                self._pending.extendleft(reversed(batch))
                self._changed = self._changed or run is not None
            raise

    def _with_what_others_wrote(self, run: Run) -> Run:
        """Rewriting replaces, so a tag from a page or a metric from another client is carried over."""
        stored = self._ledger.run(run.id)
        merged = msgspec.structs.replace(
            run,
            tags=stored.tags | run.tags,
            metrics=stored.metrics | run.metrics,
            inputs=stored.inputs | run.inputs,
            outputs=stored.outputs | run.outputs,
        )
        if stored.ended is None or run.ended is not None:
            return merged
        # Someone ended it from outside: an ended run never runs again, and our own end is still to come.
        return msgspec.structs.replace(merged, status=stored.status, ended=stored.ended, error=stored.error)
