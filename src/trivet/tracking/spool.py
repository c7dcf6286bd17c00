"""What open runs were told, on this machine's disk within a tenth of a second: their write-ahead log.

Each open run has a file of its own under ``.trivet/spool``, made when there is something to keep. One thread of the
process appends to all of them, so the caller pays for a deque and waits for no disk, and a ledger that hangs holds
nothing up. What the ledger has acknowledged leaves the file; what is left when a process is killed, or when the ledger
was down to the end, ``replay`` hands in later. The lock on the file says that its process lives.

A file is a line that names the format, then frames: four bytes length, four bytes CRC-32, a msgpack of ``Entry``. A
frame that was cut off is the last one and was acknowledged to nobody.

Invariant: telling a ledger the same entry twice changes nothing the second time, so an entry may be handed in at any
moment of any crash; it leaves the file only after the ledger has it.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import struct
import threading
import weakref
import zlib
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import NamedTuple, TypeAlias

import msgspec
from msgspec.structs import replace

from trivet.clock import new_id
from trivet.errors import Conflict, Corrupt, Invalid, NotFound, TrivetError
from trivet.ledger import Artifact, Ledger, Metric, Run

__all__ = ["EVERY", "Replayed", "Spool", "is_outage", "merged", "replay", "spool_folder", "told"]

EVERY = 0.1  # seconds between what a run is told and its frame
FRAME = 20_000  # records in one frame at most
BATCH = 5_000  # records in one transaction of a replay
_MAGIC = b"trivet spool 1\n"
_HEAD = struct.Struct("<II")

Record: TypeAlias = Metric | Artifact | Run

_log = logging.getLogger(__name__)


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """One frame: the points of a run in columns, artifacts, and its record (as JSON, whose numbers have no bounds)."""

    run: str
    names: list[str]
    steps: list[int]
    values: list[float]
    at: list[datetime]
    artifacts: list[Artifact] = []
    record: str = ""

    @classmethod
    def of(cls, run: str, records: list[Record]) -> Entry:
        """What was told, in the order in which it must be handed in: of several records of the run the last."""
        points = [one for one in records if type(one) is Metric]
        states = [one for one in records if type(one) is Run]
        return cls(
            run,
            [one.name for one in points],
            [one.step for one in points],
            [one.value for one in points],
            [one.at for one in points],
            [one for one in records if type(one) is Artifact],
            json.dumps(msgspec.to_builtins(replace(states[-1], metrics={}))) if states else "",
        )

    def points(self) -> Iterator[Metric]:
        """The points again."""
        columns = zip(self.names, self.steps, self.values, self.at, strict=True)
        return (Metric(self.run, *point) for point in columns)

    def state(self) -> Run | None:
        """The record of the run again, if one was told."""
        return msgspec.convert(json.loads(self.record), Run) if self.record else None


class Replayed(NamedTuple):
    """What a file of a dead process held, and what became of it: ``refused`` says why the ledger did not take it."""

    run: str
    points: int
    refused: str = ""


def spool_folder(root: Path) -> Path:
    """Where the files of a project lie."""
    return root / ".trivet" / "spool"


class Spool:
    """The file of one open run. ``take`` and ``settled`` are called by its journal, in turn."""

    def __init__(self, folder: Path, run: str) -> None:
        self._folder, self._run = folder, run
        self._told: deque[Record] = deque()  # not in the file yet
        self._taken = 0  # how many were ever told
        self._io = threading.Lock()
        self._file: int | None = None
        self._path: Path | None = None
        self._size = 0  # bytes of the file that are whole frames
        self._dirty = self._warned = False
        _spools.add(self)

    def take(self, record: Record) -> int:
        """Note what the run was told and answer how many that makes. It is in the file a tenth of a second later."""
        self._told.append(record)
        self._taken += 1
        if not self._dirty:
            self._dirty = True
            _writer.wake(self)
        return self._taken

    @property
    def taken(self) -> int:
        """How many records the run was told."""
        return self._taken

    def write(self) -> bool:
        """Put everything into the file, now; whether that succeeded. After a failure all of it is tried again."""
        self._dirty = False
        with self._io:
            while self._told:
                records = list(islice(self._told, FRAME))
                try:
                    self._append(msgspec.msgpack.encode(Entry.of(self._run, records)))
                except (OSError, msgspec.MsgspecError, OverflowError, ValueError) as exc:
                    self._warn(exc)
                    return False
                for _ in records:
                    self._told.popleft()
        return True

    def sync(self) -> bool:
        """As ``write``, and also safe from a power cut."""
        if not self.write():
            return False
        with self._io:
            if self._file is not None:
                os.fsync(self._file)
        return True

    def settled(self, count: int, *, forget: bool = False) -> None:
        """The ledger has the first ``count`` records: they leave the file, or ``forget`` lets the file go with them."""
        with self._io:
            for _ in range(min(len(self._told), max(0, count - (self._taken - len(self._told))))):
                self._told.popleft()
            if self._taken - len(self._told) > count or self._file is None:
                return
            if forget and not self._told:
                self._forget()
            elif self._size > len(_MAGIC):
                os.ftruncate(self._file, len(_MAGIC))
                self._size = len(_MAGIC)

    def _append(self, payload: bytes) -> None:
        file = self._open() if self._file is None else self._file
        frame = _HEAD.pack(len(payload), zlib.crc32(payload)) + payload
        try:
            written = 0
            while written < len(frame):
                written += os.pwrite(file, frame[written:], self._size + written)
        except OSError:  # the disk is full: the file ends with its last whole frame again
            os.ftruncate(file, self._size)
            raise
        self._size += len(frame)

    def _open(self) -> int:
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{self._run}-{new_id()[-12:]}.spool"
        # Locked under a name that nobody replays, then renamed: a file without a lock is one of a dead process.
        made = path.with_suffix(".new")
        file = os.open(made, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            os.pwrite(file, _MAGIC, 0)
            made.rename(path)
        except BaseException:
            os.close(file)
            made.unlink(missing_ok=True)
            raise
        self._file, self._path, self._size = file, path, len(_MAGIC)
        return file

    def _forget(self) -> None:
        if self._file is not None and self._path is not None:
            self._path.unlink(missing_ok=True)
            os.close(self._file)
        self._file = self._path = None
        self._size = 0

    def _leave_to_parent(self) -> None:
        """In a forked child: the file and its lock are the parent's, whose death must show."""
        if self._file is not None:
            os.close(self._file)
        self._file = self._path = None
        self._io = threading.Lock()
        self._told.clear()

    def _warn(self, exc: Exception) -> None:
        if not self._warned:
            self._warned = True
            _log.warning("The spool of run %s cannot be written to (%s). It goes on in memory alone.", self._run, exc)


class _Writer:
    """The one thread of a process that writes what its spools were told."""

    def __init__(self) -> None:
        self._dirty: deque[Spool] = deque()
        self._news = threading.Event()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    def wake(self, spool: Spool) -> None:
        self._dirty.append(spool)
        self._news.set()
        if self._thread is None:
            with self._starting:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._work, name="trivet spool", daemon=True)
                    self._thread.start()

    def _work(self) -> None:
        pause = threading.Event()
        while True:
            self._news.wait()
            pause.wait(EVERY)
            self._news.clear()
            for _ in range(len(self._dirty)):
                spool = self._dirty.popleft()
                if not spool.write():
                    self.wake(spool)


_spools: weakref.WeakSet[Spool] = weakref.WeakSet()
_writer = _Writer()


def _after_fork() -> None:
    global _writer  # noqa: PLW0603 - the thread did not come along
    _writer = _Writer()
    for spool in _spools:
        spool._leave_to_parent()


os.register_at_fork(after_in_child=_after_fork)


def merged(stored: Run, told: Run) -> Run:
    """``told`` with what others wrote meanwhile: a tag from a page, a metric of another client, the bin, a name."""
    both = replace(
        told,
        name=stored.name,
        experiment=stored.experiment,
        deleted=stored.deleted,
        tags=stored.tags | told.tags,
        metrics=stored.metrics | told.metrics,
        inputs=stored.inputs | told.inputs,
        outputs=stored.outputs | told.outputs,
    )
    if stored.ended is None or told.ended is not None:
        return both
    # Someone ended it from outside: an ended run never runs again, and our own end is still to come.
    return replace(both, status=stored.status, ended=stored.ended, error=stored.error)


def replay(ledger: Ledger, root: Path) -> list[Replayed]:
    """Hand in what the runs of dead processes left behind. Files of processes that live are left to them.

    May be interrupted and called by several processes at once. What the ledger will never take (its run was removed
    for good) is kept beside, as ``*.refused``.

    Raises:
        TrivetError: the ledger cannot be written to; the files stay.
    """
    folder = spool_folder(root)
    done = []
    for path in sorted(folder.glob("*.spool")) if folder.is_dir() else []:
        with _claimed(path) as file:
            if file is not None:
                done.append(_hand_in(ledger, path, file))
    return done


def told(content: bytes, path: Path) -> list[Entry]:
    """The entries of a file up to the frame that was cut off, if one was.

    Raises:
        Corrupt: the file is none of ours, or a frame before the last is damaged.
    """
    if not content.startswith(_MAGIC):
        if _MAGIC.startswith(content):  # killed while it was made
            return []
        raise Corrupt(f"The spool {path} is damaged: it does not begin as one.")
    entries, place = [], len(_MAGIC)
    while place + _HEAD.size <= len(content):
        length, checksum = _HEAD.unpack_from(content, place)
        payload = content[place + _HEAD.size : place + _HEAD.size + length]
        place += _HEAD.size + length
        if len(payload) == length and zlib.crc32(payload) == checksum:
            entries.append(_decoder.decode(payload))
        elif place < len(content):
            raise Corrupt(f"The spool {path} is damaged after {len(entries)} entries.")
    return entries


_decoder = msgspec.msgpack.Decoder(Entry)


@contextmanager
def _claimed(path: Path) -> Iterator[int | None]:
    """The open file, locked for us; None where its process lives or another is at it."""
    try:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        yield None
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield file if os.fstat(file).st_nlink else None  # else someone handed it in a moment ago
    except BlockingIOError:
        yield None
    finally:
        os.close(file)


def _hand_in(ledger: Ledger, path: Path, file: int) -> Replayed:
    run = path.name.rpartition("-")[0]
    try:
        entries = told(_content(file), path)
        count = _write(ledger, entries)
    except (Corrupt, NotFound, Invalid, Conflict) as exc:
        path.rename(path.with_suffix(".refused"))
        _log.warning("What run %s left behind could not be handed in (%s). It is kept as %s.", run, exc, path.stem)
        return Replayed(run, 0, str(exc))
    path.unlink(missing_ok=True)
    return Replayed(run, count)


def _write(ledger: Ledger, entries: list[Entry]) -> int:
    artifacts = [artifact for entry in entries for artifact in entry.artifacts]
    if artifacts:
        ledger.write(*artifacts)
    states = [state for entry in entries if (state := entry.state()) is not None]
    if states:
        ledger.write(_as_known(ledger, states[-1]))
    points = [point for entry in entries for point in entry.points()]
    for start in range(0, len(points), BATCH):
        ledger.write(*points[start : start + BATCH])
    return len(points)


def _as_known(ledger: Ledger, state: Run) -> Run:
    try:
        return merged(ledger.run(state.id), state)
    except NotFound:
        return state


def _content(file: int) -> bytes:
    pieces, place = [], 0
    while piece := os.pread(file, 1 << 24, place):
        pieces.append(piece)
        place += len(piece)
    return b"".join(pieces)


def is_outage(error: TrivetError) -> bool:
    """Whether a ledger that raised this may take the same later: it was away, not displeased."""
    return not isinstance(error, Invalid | Conflict | NotFound | Corrupt)
