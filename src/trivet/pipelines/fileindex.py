"""Digests of files, remembered on disk, so that a new process reads only what changed since the last.

A file counts as the same while its size, inode and times (of content and of inode) are, and was settled when it was read:
the rule of ``freshness``, kept between processes as git keeps its index. The index is a cache: where it is lost,
damaged or cannot be written, files are read once more. It remembers the files of the last question only, and
beside them what became of the whole.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias, TypeVar

import msgspec

from trivet.digest import digest_bytes
from trivet.pipelines.freshness import SETTLED_NS
from trivet.types import Digest

__all__ = ["FileIndex", "Stamp", "stamp_of"]

T = TypeVar("T")
Stamp: TypeAlias = tuple[int, int, int, int]
"""Size, inode, and the times of content and inode in nanoseconds."""


class _Whole(msgspec.Struct, frozen=True, array_like=True):
    """What all files together came to, by a digest of all that was asked."""

    question: Digest = ""
    answer: str = ""


def stamp_of(info: os.stat_result) -> Stamp:
    """What tells a file from itself after a change."""
    return info.st_size, info.st_ino, info.st_mtime_ns, info.st_ctime_ns


class FileIndex:
    """Digests by path and stamp, below ``folder``. For one question: look up, then ``keep``."""

    def __init__(self, folder: Path, read: Callable[[Path], Digest]) -> None:
        self._files, self._wholes, self._read = folder / "files", folder / "whole", read
        self._known: dict[bytes, tuple[Stamp, Digest]] | None = None
        self._now: dict[bytes, tuple[Stamp, Digest]] = {}
        self._began = time.time_ns()
        self._changed = False

    def digest(self, path: str, stamp: Stamp) -> Digest:
        """The digest of the file that has this stamp now."""
        if self._known is None:
            self._known = _decoded(self._files, dict[bytes, tuple[Stamp, Digest]]) or {}
        name = os.fsencode(path)
        known = self._known.get(name)
        if known is None or known[0] != stamp:
            known = (stamp, self._read(Path(path)))
            self._changed = True
        if self._is_settled(stamp):
            self._now[name] = known
        return known[1]

    def whole(self, question: bytes) -> str | None:
        """What was remembered as the answer to the same question about the same files; None if nothing was."""
        found = _decoded(self._wholes, _Whole)
        return found.answer if found is not None and found.question == digest_bytes(question) else None

    def keep(self, question: bytes, answer: str, stamps: Iterable[Stamp]) -> None:
        """Remember, for the next process, the files that were looked up and the answer about the whole."""
        if self._changed:
            _write(self._files, self._now)
        if all(map(self._is_settled, stamps)):
            _write(self._wholes, _Whole(digest_bytes(question), answer))

    def _is_settled(self, stamp: Stamp) -> bool:
        return self._began - max(stamp[2:]) > SETTLED_NS


def _decoded(path: Path, kind: type[T]) -> T | None:
    try:
        return msgspec.msgpack.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError):  # lost or damaged: a cache is made again
        return None


def _write(path: Path, value: object) -> None:
    """Write-then-rename; where that cannot be done, the next process reads the files once more.

    A project that keeps nothing on disk has no folder for it, and gets none.
    """
    with suppress(OSError):
        path.parent.mkdir(exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(msgspec.msgpack.encode(value))
            Path(name).replace(path)
        except OSError:
            Path(name).unlink(missing_ok=True)
            raise
