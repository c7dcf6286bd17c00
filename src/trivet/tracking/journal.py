"""The record of one open run, written behind its back: the caller never waits for the ledger.

Changes and metrics are gathered in memory and written in batches by a thread of the run's own, a fifth of a second
after the first of them. A ledger that fails meanwhile costs one warning; the batch is kept and tried again. Beside it
``spool`` puts the same on this machine's disk, whatever the ledger does. What a run *means* (names, values, nesting) is
left to ``trivet.tracking.runs``.

Invariant: what was handed over is either pending here or in the ledger, never in neither; what is pending is in the
spool after a tenth of a second. Once ``close`` returned it is in the ledger or, where that is away, in the spool.
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

from trivet.errors import Conflict, NotFound, TrivetError
from trivet.ledger import Artifact, Ledger, Metric, Run
from trivet.tracking.spool import Spool, is_outage, merged

__all__ = ["EVERY", "Journal"]

EVERY = 0.2  # seconds between a change and its batch
BATCH = 5_000  # metrics in one transaction, so that a reader or another writer gets a turn
ATTEMPTS = 5  # of the last flush, before the error is the caller's
SLOWEST = 5.0  # seconds between two attempts at a ledger that is away

_log = logging.getLogger(__name__)


class Journal:
    """Keeps one run's record in memory and the ledger's copy close behind. Safe to share among threads.

    Args:
        ledger: where the record goes.
        run: the record to begin with; it is written at once.
        every: seconds from a change to its batch.
        spool: where everything also goes, so that neither a dead process nor a ledger that is away loses it.
        resumed: the run is in the ledger already; it goes on from its latest points.

    Raises:
        TrivetError: the ledger could not record the beginning, and there is no spool or it will never record it.
    """

    def __init__(
        self, ledger: Ledger, run: Run, *, every: float = EVERY, spool: Spool | None = None, resumed: bool = False
    ) -> None:
        self._ledger, self._run, self._every, self._spool = ledger, run, every, spool
        self._process = os.getpid()
        self._lock = threading.Lock()  # the state below, held for microseconds
        self._writing = threading.Lock()  # the ledger, held for a transaction: batches keep their order
        self._changed = False
        self._latest = {name: (0, run.started, value) for name, value in run.metrics.items()}
        if resumed:
            told = ledger.metrics(run.id, summary=True)
            self._latest |= {one.name: (one.step, one.at or run.started, one.last) for one in told}
        self._pending: deque[Metric | Artifact] = deque()
        self._news, self._stop = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None
        self._warned = False
        self._begin(resumed)

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
            if self._spool is not None:
                self._spool.take(self._run)
        self._wake()

    def measure(self, step: int | None, values: Iterable[tuple[str, float]], at: datetime) -> None:
        """Take metrics, also late ones of a run that has ended; without a step each name goes on from its greatest.

        Raises:
            Conflict: the run belongs to the process that this one was forked from.
        """
        with self._lock:
            self._check_process()
            run, latest, pending, spool = self._run.id, self._latest, self._pending, self._spool
            for name, value in values:
                greatest = latest[name][0] if name in latest else -1
                here = greatest + 1 if step is None else step
                if name not in latest or (here, at) >= latest[name][:2]:
                    latest[name] = (here, at, value)
                point = Metric(run, name, here, value, at)
                pending.append(point)
                if spool is not None:
                    spool.take(point)
        self._wake()

    def keep(self, artifacts: Iterable[Artifact]) -> None:
        """Take artifacts, which reach the ledger before the record that names them."""
        with self._lock:
            for artifact in artifacts:
                self._pending.append(artifact)
                if self._spool is not None:
                    self._spool.take(artifact)

    def flush(self) -> None:
        """Write what is pending, now.

        Raises:
            TrivetError: the ledger failed; everything is pending still.
        """
        with self._writing:
            for _ in range(1 + len(self._pending) // BATCH):  # bounded, however fast others go on
                self._write_batch()
            self._settle()

    def secure(self) -> None:
        """Write what is pending to the ledger or, where that is away, to the disk of this machine.

        Raises:
            TrivetError: neither succeeded, or the ledger will never take it; everything is pending still.
        """
        try:
            self.flush()
        except TrivetError as exc:
            self._rest_on_spool(exc)

    def close(self, alter: Callable[[Run], Run]) -> None:
        """Make the last change and write everything. After a failure it may be called again.

        A ledger that is away is tried a few times; then the spool holds what it lacks, and a thread goes on trying.

        Raises:
            TrivetError: the ledger failed time and again and there is no spool; everything is pending still.
        """
        with self._lock:
            if self._run.ended is None:
                self._run, self._changed = alter(self._run), True
                if self._spool is not None:
                    self._spool.take(self._run)
        self._stop.set()
        self._news.set()
        for attempt in range(ATTEMPTS):
            try:
                self.flush()
                break
            except TrivetError as exc:
                if attempt == ATTEMPTS - 1 or not is_outage(exc):
                    self._rest_on_spool(exc)
                    self._wake()
                    return
                time.sleep(self._every * 2**attempt)

    def _begin(self, resumed: bool) -> None:
        try:
            self._ledger.write(self._as_known(self._run) if resumed else self._run)
        except TrivetError as exc:
            self._changed = True
            if self._spool is not None:
                self._spool.take(self._run)
            self._rest_on_spool(exc)
            self._wake()

    def _rest_on_spool(self, error: TrivetError) -> None:
        if self._spool is None or not is_outage(error) or not self._spool.sync():
            raise error
        self._warn(error)

    def _check_open(self) -> None:
        self._check_process()
        if self._run.ended is not None:
            raise Conflict(
                f"The run {self._run.name!r} has ended ({self._run.status}) and takes no more but metrics. "
                "Open another with project.run(...)."
            )

    def _check_process(self) -> None:
        if self._process != os.getpid():
            raise Conflict(
                f"The run {self._run.name!r} is open in process {self._process}, from which this one was forked. "
                f"Open one here, with parent={self._run.id!r}."
            )

    def _snapshot(self) -> Run:
        return msgspec.structs.replace(self._run, metrics={name: value for name, (_, _, value) in self._latest.items()})

    def _wake(self) -> None:
        if self._news.is_set() and self._thread is not None:
            return
        self._news.set()
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._work, name=f"trivet {self._run.id}", daemon=True)
                    self._thread.start()

    def _work(self) -> None:
        pause = self._every
        while True:
            self._news.wait()
            if self._stop.wait(pause):
                if self._is_done():
                    return
                time.sleep(pause)  # what comes after the end, or could not be written until then, waits its turn, too
            self._news.clear()
            try:
                self.flush()
                pause = self._every
            except Exception as exc:  # noqa: BLE001 - training goes on whatever the storage does; close() raises it
                self._warn(exc)
                self._news.set()
                pause = min(SLOWEST, max(pause * 1.5, self._every))
            if self._is_done():
                return

    def _is_done(self) -> bool:
        """Whether the thread has nothing more to do; from then on another begins where something comes late."""
        with self._lock:
            done = self._stop.is_set() and not self._pending and not self._changed
            if done:
                self._thread = None
                self._news.clear()
            return done

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
                self._ledger.write(self._as_known(run), *batch)
            elif batch:
                self._ledger.write(*batch)
        except BaseException:
            with self._lock:  # in front, so that of a point told twice the later word stands
                self._pending.extendleft(reversed(batch))
                self._changed = self._changed or run is not None
            raise

    def _settle(self) -> None:
        """What the ledger has need not be in the spool."""
        if self._spool is None:
            return
        with self._lock:
            if self._pending or self._changed:
                return
            count, ended = self._spool.taken, self._run.ended is not None
        self._spool.settled(count, forget=ended)

    def _as_known(self, run: Run) -> Run:
        """Rewriting replaces, so what others wrote is carried over."""
        try:
            return merged(self._ledger.run(run.id), run)
        except NotFound:  # the ledger was away when it began
            return run
