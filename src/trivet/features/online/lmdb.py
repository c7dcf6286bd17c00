"""The online store in LMDB: a memory-mapped file that many processes read at once, with nothing to administer.

Readers take no lock of a writer: LMDB gives each a snapshot. What this module adds is the layout of keys, the rule
that older never replaces newer, and growth: the map starts small and doubles when a write does not fit.

Layout, all of it MessagePack, in the one unnamed database::

    <view name> <key as array>           a row: [as_of, values, times]
    <view name> <SHA-256 as binary>      the same where the plain key would be longer than LMDB allows
    <view name> nil                      about the view: [watermark, the newest as_of ever written]

A name is length-prefixed, so no view is a prefix of another. An environment may be open only once per process, so
stores of one folder share it, also after a fork.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import lmdb
import msgspec

from trivet.config import url_path
from trivet.errors import Conflict, Corrupt, Invalid, Refused, TrivetError, Unavailable
from trivet.features.online.contract import Batch, Columns, Encoded, Found, Key, OnlineStore, Placed
from trivet.features.online.encoding import as_of, encode_key
from trivet.features.online.rows import RowStore
from trivet.types import Micros

__all__ = ["LmdbStore", "open_store"]

T = TypeVar("T")

_START = 16 << 20  # bytes of address space to begin with; the file itself is only as long as what is in it
_LONGEST_KEY = 511
_LONGEST_VIEW = 255
_MANY, _OVERHEAD = 10_000, 40  # rows for which room is made beforehand; bytes of one beside its key and data
_PIECE = 1000  # rows that are compared with what is there at a time
_UNWRITTEN = ("Input/output error", "File too large")  # what LMDB makes of a write that is cut short
_ABOUT = b"\xc0"
_BEYOND = b"\xff"  # after everything that may follow a name


class _About(msgspec.Struct, frozen=True, array_like=True):
    """What is kept per view: its watermark, and a bound that lets most writes skip the search for newer rows."""

    watermark: Micros | None = None
    newest: Micros | None = None


_encode = msgspec.msgpack.Encoder().encode
_decode_about = msgspec.msgpack.Decoder(_About).decode


def _decode_name(place: bytes) -> str:
    """The name with which a place begins: MessagePack says how long it is."""
    start = 1 if place[0] < 0xC0 else 2
    length = place[0] & 0x1F if start == 1 else place[1]
    return place[start : start + length].decode()


class LmdbStore(RowStore):
    """Rows in an LMDB folder.

    Args:
        path: the folder; made when missing.
        readonly: refuse to write; the folder must exist.
        map_size: bytes of address space to begin with. It doubles as needed, in every process that looks.

    Raises:
        Invalid: a read-only store of a folder that holds none.
        Corrupt: the file is no LMDB database or is damaged.
    """

    def __init__(self, path: Path, *, readonly: bool = False, map_size: int = _START) -> None:
        self._readonly = readonly
        self._environment: _Environment | None = _share(path, readonly=readonly, map_size=map_size)

    def put(self, batches: Sequence[Batch]) -> list[int]:
        """See ``OnlineStore.put``. One transaction for all views, durable when it returns.

        Raises:
            Refused: the store was opened read-only.
            Invalid: a name of a view that is too long.
        """
        environment = self._writable()
        ordered = [Columns.of(batch.rows) for batch in batches]  # as LMDB keeps them: writing is several times faster

        def transact(transaction: Any) -> list[int]:
            return [_put(transaction, batch, rows) for batch, rows in zip(batches, ordered, strict=True)]

        return environment.write(transact, room=sum(map(_room, ordered)))

    def get(self, wanted: Sequence[tuple[str, Sequence[bytes]]]) -> list[Found]:
        """See ``OnlineStore.get``. All views as of one moment between two writes."""
        places: list[bytes] = []
        for view, keys in wanted:
            prefix = _prefix(view)
            longest = _LONGEST_KEY - len(prefix)
            places.append(prefix + _ABOUT)
            places += [prefix + key if len(key) <= longest else _place(prefix, key) for key in keys]
        found, answer, start = self._open().read(places), [], 0
        for _, keys in wanted:
            end = start + 1 + len(keys)
            about = found[start]
            answer.append(Found(None if about is None else _decode_about(about).watermark, found[start + 1 : end]))
            start = end
        return answer

    def erase(self, view: str, keys: Sequence[Key]) -> int:
        """See ``OnlineStore.erase``. LMDB may keep the bytes in a free page of its file until that is used again."""
        prefix = _prefix(view)
        places = [_place(prefix, encode_key(key)) for key in keys]
        erased: int = self._writable().write(lambda transaction: sum(map(transaction.delete, places)))
        return erased

    def drop(self, view: str) -> None:
        """See ``OnlineStore.drop``. One transaction."""
        prefix = _prefix(view)

        def transact(transaction: Any) -> None:
            with transaction.cursor() as cursor:
                found = cursor.set_range(prefix)
                while found and cursor.key().startswith(prefix):
                    found = cursor.delete()

        self._writable().write(transact)

    def views(self) -> list[str]:
        """See ``OnlineStore.views``. One step for each view, however many rows it has."""
        return sorted(self._open().names())

    def close(self) -> None:
        """See ``OnlineStore.close``."""
        environment, self._environment = self._environment, None
        if environment is not None:
            _release(environment)

    def _open(self) -> _Environment:
        if self._environment is None:
            raise Conflict("This online store is closed. Open it again.")
        return self._environment

    def _writable(self) -> _Environment:
        environment = self._open()
        if self._readonly or environment.readonly:
            raise Refused(f"The online store {environment.path} was opened read-only. Open it without readonly=True.")
        return environment


def open_store(url: str, root: Path) -> OnlineStore:
    """The store in a folder: ``lmdb:FOLDER``, relative to ``root``."""
    return LmdbStore(url_path(url, root))


# --- keys and rows -------------------------------------------------------------------------------------------------


def _prefix(view: str) -> bytes:
    prefix = _encode(view)
    if len(prefix) > _LONGEST_VIEW:
        raise Invalid(f"The name of the view {view[:40]!r}... is too long: {_LONGEST_VIEW} bytes is the most.")
    return prefix


def _place(prefix: bytes, key: bytes) -> bytes:
    plain = prefix + key
    if len(plain) <= _LONGEST_KEY:
        return plain
    return prefix + _encode(hashlib.sha256(plain).digest())


def _places(prefix: bytes, keys: Encoded) -> Iterable[bytes]:
    longest = keys.longest if isinstance(keys, Placed) else max(map(len, keys), default=0)
    if len(prefix) + longest > _LONGEST_KEY:
        return (_place(prefix, key) for key in keys)
    return keys.under(prefix) if isinstance(keys, Placed) else map(prefix.__add__, keys)


def _room(rows: Columns) -> int:
    """Roughly how many bytes rows take, by the first of them: a write that does not fit is begun again in twice the space."""
    if len(rows) < _MANY:
        return 0
    key, data = next(iter(rows))
    return len(rows) * (len(key) + len(data) + _OVERHEAD) * 3 // 2


def _put(transaction: Any, batch: Batch, rows: Columns) -> int:
    prefix = _prefix(batch.view)
    about = _about(transaction, prefix)
    pairs = zip(_places(prefix, rows.keys), rows.rows, strict=True)
    with transaction.cursor() as cursor:
        if about.newest is not None and batch.others is not None:
            _forget_others(cursor, prefix, set(_places(prefix, rows.keys)), batch.others)
        if about.newest is not None and batch.oldest < about.newest:
            written = _put_newer(cursor, pairs)
        else:
            written, _ = cursor.putmulti(pairs)
    newest = _later(about.newest, batch.newest if len(rows) else None)
    transaction.put(prefix + _ABOUT, _encode(_About(_later(about.watermark, batch.watermark), newest)))
    return written


def _put_newer(cursor: Any, pairs: Iterator[tuple[bytes, bytes]]) -> int:
    """Put those that are not older than what is there."""
    written = 0
    while part := list(islice(pairs, _PIECE)):
        stored = dict(cursor.getmulti([key for key, _ in part]))
        fresh = [(key, data) for key, data in part if key not in stored or as_of(stored[key]) <= as_of(data)]
        cursor.putmulti(fresh)
        written += len(fresh)
    return written


def _forget_others(cursor: Any, prefix: bytes, own: set[bytes], until: Micros) -> None:
    """Delete the rows of a view that are not ``own``, unless they are of later than ``until``."""
    own.add(prefix + _ABOUT)
    found = cursor.set_range(prefix)
    while found and cursor.key().startswith(prefix):
        stays = cursor.key() in own or as_of(cursor.value()) > until
        found = cursor.next() if stays else cursor.delete()


def _about(transaction: Any, prefix: bytes) -> _About:
    data = transaction.get(prefix + _ABOUT)
    return _About() if data is None else _decode_about(data)


def _later(one: Micros | None, other: Micros | None) -> Micros | None:
    return max((moment for moment in (one, other) if moment is not None), default=None)


# --- one environment per folder and process ------------------------------------------------------------------------


class _Environment:
    """An open LMDB environment, the locks that make resizing safe, and how many stores use it.

    ``_gate`` is held for the microseconds of a look-up and while the map moves, never during a write: LMDB
    requires that no transaction of the process is active when the map is resized.
    """

    def __init__(self, path: Path, *, readonly: bool, map_size: int) -> None:
        self.path, self.readonly, self.users = path, readonly, 0
        self._map_size = map_size
        self.open()

    def open(self) -> None:
        self._gate, self._writing, self._resized = threading.Lock(), threading.Lock(), 0
        try:
            if not self.readonly:
                self.path.mkdir(parents=True, exist_ok=True)  # LMDB would make it with the mode of its files
            self._lmdb = lmdb.open(
                str(self.path), map_size=self._map_size, readonly=self.readonly, create=not self.readonly, mode=0o644
            )
            self._lmdb.reader_check()  # forget the snapshots of killed readers, which keep pages from being reused
        except lmdb.Error as exc:
            raise _explained(exc, self.path) from exc

    def read(self, keys: Sequence[bytes]) -> list[bytes | None]:
        return self._look(lambda transaction: list(map(transaction.get, keys)))

    def names(self) -> list[str]:
        """The views that have anything, found by leaping from each to the next."""
        found: list[str] = []

        def leap(transaction: Any) -> None:
            with transaction.cursor() as cursor:
                more = cursor.first()
                while more:
                    name = _decode_name(cursor.key())
                    found.append(name)
                    more = cursor.set_range(_encode(name) + _BEYOND)

        self._look(leap)
        return found

    def _look(self, look: Callable[[Any], T]) -> T:
        while True:
            resized = self._resized
            try:
                with self._gate, self._lmdb.begin() as transaction:
                    return look(transaction)
            except lmdb.MapResizedError:
                self._resize(resized, 0)
            except lmdb.Error as exc:
                raise _explained(exc, self.path) from exc

    def write(self, transact: Callable[[Any], T], *, room: int = 0) -> T:
        with self._writing:
            self._make(room)
            while True:
                resized = self._resized
                try:
                    with self._lmdb.begin(write=True) as transaction:
                        return transact(transaction)
                except lmdb.MapFullError:  # the transaction is undone; try all of it again in twice the space
                    self._resize(resized, 2 * self._lmdb.info()["map_size"])
                except lmdb.MapResizedError:
                    self._resize(resized, 0)
                except lmdb.Error as exc:
                    raise _explained(exc, self.path) from exc

    def _make(self, room: int) -> None:
        """Room for so many more bytes. It is address space: the file grows with what is written."""
        info = self._lmdb.info()
        size, wanted = info["map_size"], (info["last_pgno"] + 1) * self._lmdb.stat()["psize"] + room
        if room and size < wanted:
            self._resize(self._resized, size << (wanted // size).bit_length())

    def _resize(self, seen: int, size: int) -> None:
        """Give the map a new size; 0 takes over what another process chose. Nothing when a thread was faster."""
        with self._gate:
            if self._resized == seen:
                self._lmdb.set_mapsize(size)
                self._resized += 1

    def close(self) -> None:
        with self._writing, self._gate:
            self._lmdb.close()


_environments: dict[Path, _Environment] = {}
_sharing = threading.Lock()


def _share(path: Path, *, readonly: bool, map_size: int) -> _Environment:
    path = path.resolve()
    if readonly and not (path / "data.mdb").is_file():
        raise Invalid(f"There is no online store in {path}. Materialize a view first, or open it without readonly.")
    with _sharing:
        environment = _environments.get(path)
        if environment is None:
            path.parent.mkdir(parents=True, exist_ok=True)
            environment = _environments[path] = _Environment(path, readonly=readonly, map_size=map_size)
        elif environment.readonly and not readonly:
            raise Conflict(f"This process has {path} open read-only. Close that store before opening it for writing.")
        environment.users += 1
        return environment


def _release(environment: _Environment) -> None:
    with _sharing:
        environment.users -= 1
        if environment.users == 0:
            del _environments[environment.path]
            environment.close()


def _reopen_after_fork() -> None:
    """LMDB forbids using a parent's environment in a child; the stores of the child go on with one of their own."""
    global _sharing  # noqa: PLW0603 - a lock that the parent's threads held would stay locked for ever
    _sharing = threading.Lock()
    for environment in _environments.values():
        environment._lmdb.close()
        environment.open()


os.register_at_fork(after_in_child=_reopen_after_fork)


def _explained(exc: Exception, path: Path) -> TrivetError:
    damaged = (lmdb.CorruptedError, lmdb.InvalidError, lmdb.VersionMismatchError, lmdb.PageNotFoundError)
    if isinstance(exc, damaged):
        return Corrupt(f"The online store {path} is damaged: {exc}. Remove the folder and materialize again.")
    if isinstance(exc, lmdb.DiskError) or any(said in str(exc) for said in _UNWRITTEN):
        free = shutil.disk_usage(path).free
        return Unavailable(
            f"The online store {path} cannot be written: {exc}, and its disk has {free / 1e6:,.1f} MB free. Nothing of this "
            "write is in it and what it had stands. Make room, and materialize again."
        )
    return Unavailable(f"The online store {path} cannot be used: {exc}. Check the disk and the folder's permissions.")
