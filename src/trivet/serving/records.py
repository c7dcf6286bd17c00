"""The record of every prediction: spooled before it is answered, carried into a table by a thread.

The hot path makes one ``write`` to a file opened for appending, so a record that was spooled survives the death of
the process (not of the machine: nothing is synced). A thread seals the open segment every so often, appends its
rows to the table ``predictions`` in one commit, and only then removes it.

Exactly once: a segment is removed after its commit, so a death in between leaves rows that stand in both places.
Whoever finds a segment whose commit was never confirmed asks the table which of its ids it holds and appends only
the others. A segment belongs to the process that holds its lock; one without an owner is adopted.

A record that cannot be spooled is refused with ``Unrecorded``, so nothing is answered that is not on record; where
answers matter more, ``unrecorded="answer"`` drops the record loudly: ``dropped`` counts, and the log says so.
"""

from __future__ import annotations

import fcntl
import logging
import os
import struct
import threading
import time
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import msgspec

from trivet.clock import new_id
from trivet.errors import NotFound, Refused
from trivet.types import Micros

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["TABLE", "PredictionLog", "Record", "Unrecorded", "held_by", "schema", "to_arrow"]

TABLE = "predictions"
_SUFFIX = ".spool"
_FRAME = struct.Struct("<II")  # length and CRC-32 of the payload that follows
_LOOSE = 64  # commits before their files are joined
_QUIET = 10.0  # seconds between two log lines about what could not be recorded
_logger = logging.getLogger(__name__)


class Record(msgspec.Struct, frozen=True, array_like=True):
    """One prediction as it was made. Times are UTC microseconds; dicts become JSON text in the table."""

    id: str
    at: Micros
    received: Micros
    model: str
    version: str
    digest: str
    deployment: str
    role: str
    entities: dict[str, Any]
    request: dict[str, Any]
    features: dict[str, Any]
    feature_times: dict[str, Micros | None]
    feature_status: dict[str, str]
    output: dict[str, Any]
    score: float | None
    latency_us: int


_JSON = ("entities", "request", "features", "feature_times", "feature_status", "output")
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Record).decode
_encode_json = msgspec.json.Encoder().encode


class Unrecorded(Refused):
    """Predictions that cannot be recorded and are therefore not answered; ``count`` of them."""

    code = "unrecorded"

    def __init__(self, count: int, reason: str) -> None:
        self.count = count
        super().__init__(
            f"The prediction cannot be recorded ({reason}), so it is not answered. Free space where the service keeps "
            'its records (its log names the folder) and ask again; or set [serving] unrecorded = "answer" to answer '
            "without a record."
        )


class Gauges(Protocol):
    """What the log tells the outside: two numbers of ``trivet.serving.metrics.Metrics``."""

    @property
    def dropped(self) -> Any:
        """A counter."""
        ...

    @property
    def backlog(self) -> Any:
        """A gauge."""
        ...


class PredictionLog:
    """Takes records on the hot path and carries them into the table.

    Args:
        folder: where segments are spooled; several processes may share it.
        append: ``append(table, arrow, day_of=column) -> version``: one atomic commit, for example ``Tables.append``.
        recorded: which of these ids the table holds, for example ``held_by(tables.read)``; asked only about segments
            that a death or an error left.
        on_flush: called with the table's version and the number of rows after each commit.
        compact: called by the thread every 64 commits, to join the small files they made, for example
            ``partial(tables.compact, TABLE)``.
        flush_every: seconds between commits.
        flush_rows: rows that hasten a commit; also the most rows of one commit, roughly.
        unrecorded: what happens to a prediction that cannot be spooled: ``refuse`` it, or ``answer`` all the same.
        metrics: where drops and backlog are counted.
    """

    def __init__(
        self,
        folder: Path,
        append: Callable[..., int],
        *,
        recorded: Callable[[Collection[str]], Set[str]],
        on_flush: Callable[[int, int], object] | None = None,
        compact: Callable[[], object] | None = None,
        flush_every: float = 2.0,
        flush_rows: int = 10_000,
        unrecorded: Literal["refuse", "answer"] = "refuse",
        metrics: Gauges | None = None,
    ) -> None:
        self.dropped = self.refused = 0
        self._folder, self._append, self._recorded = folder, append, recorded
        self._on_flush, self._compact, self._metrics = on_flush, compact, metrics
        self._loose = 0  # commits since small files were joined
        self._flush_every, self._flush_rows, self._unrecorded = flush_every, flush_rows, unrecorded
        self._adding, self._flushing = threading.Lock(), threading.Lock()
        self._segment: _Segment | None = None
        self._sealed: list[_Segment] = []
        self._complained = 0.0
        self._closed = False
        self._wake = threading.Event()
        folder.mkdir(parents=True, exist_ok=True)
        self._thread = threading.Thread(target=self._run, name="trivet-prediction-log", daemon=True)
        self._thread.start()

    @property
    def backlog(self) -> int:
        """How many rows of this process are spooled and not yet in the table."""
        with self._adding:
            open_rows = self._segment.rows if self._segment else 0
            return open_rows + sum(segment.rows for segment in self._sealed)

    def add(self, records: Sequence[Record]) -> None:
        """Spool all records or none with one write; never waits for the table.

        Raises:
            Unrecorded: they cannot be spooled, and what is not recorded is to be refused.
        """
        if not records:
            return
        frames = b"".join(map(_framed, records))
        with self._adding:
            try:
                if self._closed:
                    raise OSError("the prediction log is closed")
                if self._segment is None:
                    self._segment = _Segment.create(self._folder)
                self._segment.write(frames, len(records))
            except OSError as exc:
                self._miss(len(records), exc)
                return
            full = self._segment.rows >= self._flush_rows
        if full:
            self._wake.set()

    def flush(self) -> int:
        """Carry everything that is spooled into the table and answer how many rows that were.

        Raises:
            Exception: whatever ``append`` raises; the records stay in the spool for the next time.
        """
        with self._flushing:
            self._seal()
            rows = 0
            while self._sealed:
                segment = self._sealed[0]
                rows += self._commit(segment)
                with self._adding:
                    self._sealed.pop(0)
            if self._metrics is not None:
                self._metrics.backlog.set(self.backlog)
            return rows

    def close(self) -> None:
        """Stop the thread and flush. What cannot be flushed stays in the spool for the next process."""
        if self._closed:
            return
        with self._adding:
            self._closed = True
        self._wake.set()
        self._thread.join()
        self._try_flush()
        for segment in (*self._sealed, *filter(None, [self._segment])):
            segment.release()

    # --- the thread ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._closed:
            self._try_flush()
            self._try_compact()
            self._wake.wait(self._flush_every)
            self._wake.clear()

    def _try_flush(self) -> None:
        try:
            self.flush()
        except Exception:  # the thread must live: the records are safe in the spool and tried again
            _logger.exception("The predictions could not be written to the table; they wait in %s.", self._folder)

    def _try_compact(self) -> None:
        if self._compact is None or self._loose < _LOOSE or self._closed:
            return
        self._loose = 0
        try:
            self._compact()
        except Exception:  # nothing is lost: the table has more files than it needs until the next time
            _logger.exception("The files of the table %r could not be joined.", TABLE)

    def _seal(self) -> None:
        """Close the open segment for writing, and adopt those that lost their owner."""
        with self._adding:
            if self._segment is not None and self._segment.rows:
                self._sealed.append(self._segment)
                self._segment = None
            ours = {segment.path for segment in (*self._sealed, self._segment) if segment is not None}
        for path in sorted(self._folder.glob(f"*{_SUFFIX}")):
            if path not in ours and (orphan := _Segment.adopt(path)) is not None:
                with self._adding:
                    self._sealed.append(orphan)

    def _commit(self, segment: _Segment) -> int:
        records = list(segment.read())
        if segment.doubtful and records:
            known = self._recorded([record.id for record in records])
            records = [record for record in records if record.id not in known]
        version = None
        if records:
            segment.doubtful = True  # until it returns, nobody knows whether it was committed
            version = self._append(TABLE, to_arrow(records), day_of="received")
            self._loose += 1
        segment.remove()
        if version is not None:
            self._tell(version, len(records))
        return len(records)

    def _tell(self, version: int, rows: int) -> None:
        if self._on_flush is not None:
            try:
                self._on_flush(version, rows)
            except Exception:  # the rows are in the table: what comes after must not repeat them
                _logger.exception("Version %s of the table %r was written but not recorded.", version, TABLE)

    def _miss(self, count: int, exc: OSError) -> None:
        """Refuse records that cannot be spooled, or count them as dropped."""
        if self._unrecorded == "refuse":
            self.refused += count
            self._complain("Predictions are REFUSED because they cannot be recorded", self.refused, exc)
            raise Unrecorded(count, exc.strerror or str(exc)) from exc
        self.dropped += count
        if self._metrics is not None:
            self._metrics.dropped.inc(count)
        self._complain("Predictions are answered but NOT recorded", self.dropped, exc)

    def _complain(self, what: str, count: int, exc: OSError) -> None:
        if time.monotonic() - self._complained > _QUIET:
            self._complained = time.monotonic()
            _logger.error("%s (%d so far): %s. Check the disk of %s.", what, count, exc, self._folder)


# --- segments ------------------------------------------------------------------------------------------------------


class _Segment:
    """One file of frames. Whoever holds its lock owns it; the system frees the lock when the owner dies."""

    def __init__(self, path: Path, descriptor: int, *, doubtful: bool) -> None:
        self.path, self.doubtful = path, doubtful
        self.rows = self._length = 0
        self._descriptor = descriptor

    @classmethod
    def create(cls, folder: Path) -> _Segment:
        while True:
            path = folder / f"{new_id()}{_SUFFIX}"
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
            descriptor = os.open(path, flags, 0o600)
            if _owned(descriptor):  # else another process took it for an orphan before we had locked it
                return cls(path, descriptor, doubtful=False)

    @classmethod
    def adopt(cls, path: Path) -> _Segment | None:
        """The segment of a dead process, or None if its owner lives or was done with it in the meantime."""
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        return cls(path, descriptor, doubtful=True) if _owned(descriptor) else None

    def write(self, frames: bytes, rows: int) -> None:
        """All of ``frames`` or, when the disk is full, none of them."""
        written = -1
        try:
            written = os.write(self._descriptor, frames)
            if written != len(frames):
                raise OSError("the disk is full")
        except OSError:
            os.ftruncate(self._descriptor, self._length)
            raise
        self._length += written
        self.rows += rows

    def read(self) -> Iterator[Record]:
        """The records. An incomplete last frame was never answered for; bytes that are damaged are kept aside."""
        data = self.path.read_bytes()
        offset = 0
        while offset + _FRAME.size <= len(data):
            length, checksum = _FRAME.unpack_from(data, offset)
            payload = data[offset + _FRAME.size : offset + _FRAME.size + length]
            if len(payload) < length or zlib.crc32(payload) != checksum:
                break
            yield _decode(payload)
            offset += _FRAME.size + length
        if offset < len(data):
            self._set_aside(data[offset:])

    def _set_aside(self, rest: bytes) -> None:
        aside = self.path.with_suffix(".damaged")
        aside.write_bytes(rest)
        _logger.error("%d bytes of a prediction spool cannot be read and were kept in %s.", len(rest), aside)

    def remove(self) -> None:
        self.path.unlink()
        os.close(self._descriptor)

    def release(self) -> None:
        os.close(self._descriptor)


def _owned(descriptor: int) -> bool:
    """Lock an open file; close it if another process has it, or removed it between our opening and locking."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(descriptor).st_nlink:
            return True
    except BlockingIOError:
        pass
    os.close(descriptor)
    return False


def _framed(record: Record) -> bytes:
    payload = _encode(record)
    return _FRAME.pack(len(payload), zlib.crc32(payload)) + payload


# --- the table -----------------------------------------------------------------------------------------------------


def held_by(read: Callable[..., pa.Table]) -> Callable[[Collection[str]], Set[str]]:
    """Which of some ids the table holds, by ``read(table, columns=[...], where=...)``, for example ``Tables.read``."""

    def recorded(ids: Collection[str]) -> Set[str]:
        try:
            return set(read(TABLE, columns=["id"], where=[("id", "in", list(ids))])["id"].to_pylist())
        except NotFound:
            return set()  # nobody has predicted yet

    return recorded


def schema() -> pa.Schema:
    """The columns of the table ``predictions``."""
    import pyarrow as pa

    types = {"at": pa.timestamp("us", "UTC"), "received": pa.timestamp("us", "UTC")}
    types |= {"score": pa.float64(), "latency_us": pa.int64()}
    return pa.schema([(name, types.get(name, pa.string())) for name in Record.__struct_fields__])


def to_arrow(records: Sequence[Record]) -> pa.Table:
    """Records as rows of ``schema()``; dicts as JSON text, with the keys in the order they had."""
    import pyarrow as pa

    columns: dict[str, list[Any]] = {
        name: [getattr(record, name) for record in records] for name in Record.__struct_fields__
    }
    for name in _JSON:
        columns[name] = [_encode_json(value).decode() for value in columns[name]]
    return pa.table(columns, schema=schema())
