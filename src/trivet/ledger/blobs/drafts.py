"""Files that appear whole or not at all: written under another name, flushed to the disk, then renamed.

Content is hashed while it passes, so nothing is read twice. A draft that is not finished is removed; one that
a killed process left behind has a name that nobody asks for.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from trivet.digest import is_digest
from trivet.errors import Corrupt, Invalid, TrivetError
from trivet.ledger.records import File
from trivet.types import Digest

__all__ = ["CHUNK", "Draft", "check_digest", "chunks_of", "deliver", "draft", "open_source", "verify"]

CHUNK = 1 << 20
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class Draft:
    """A file that has no name yet."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file, self._path = file, path

    def take(self, chunks: Iterable[bytes]) -> File:
        """Write ``chunks`` and answer the digest and the size of all together."""
        state, size = hashlib.sha256(), 0
        for chunk in chunks:
            state.update(chunk)
            size += len(chunk)
            with _sentences(self._path.parent):
                self._file.write(chunk)
        return File(state.hexdigest(), size)

    def name(self, path: Path, *, read_only: bool = False) -> None:
        """Give the file its name: from here on it survives everything."""
        with _sentences(path.parent):
            self._file.flush()
            if read_only:
                os.fchmod(self._file.fileno(), 0o444)
            os.fsync(self._file.fileno())
            path.parent.mkdir(parents=True, exist_ok=True)
            self._path.replace(path)
            _flush_folder(path.parent)


@contextmanager
def draft(folder: Path, name: str = "") -> Iterator[Draft]:
    """A new draft in ``folder``, which is on the disk where the file will be."""
    path = folder / f".{name[:100]}.{secrets.token_hex(8)}.part"
    with _sentences(folder):
        folder.mkdir(parents=True, exist_ok=True)
        file = path.open("xb")
    try:
        yield Draft(file, path)
    finally:
        with suppress(OSError):  # what could not be written a moment ago cannot be written now
            file.close()
        path.unlink(missing_ok=True)


def deliver(chunks: Iterable[bytes], digest: Digest, to: Path, *, store: object) -> Path:
    """Write ``chunks`` to the file ``to``, if they are what ``digest`` says.

    Raises:
        Corrupt: they are not; ``to`` is not touched.
    """
    with draft(to.parent, to.name) as file:
        verify(file.take(chunks).digest, digest, store=store)
        file.name(to)
    return to


def verify(found: Digest, digest: Digest, *, store: object) -> None:
    """Compare the digest of what was read with what was asked for.

    Raises:
        Corrupt: they differ.
    """
    if found != digest:
        raise Corrupt(
            f"The blob {digest} in {store} is damaged: its bytes have the digest {found[:12]}. "
            "Restore it from a backup, or make it again and store it again."
        )


def check_digest(digest: str) -> Digest:
    """``digest``, if it is one: names of files and objects are made of it.

    Raises:
        Invalid: it is not.
    """
    if not is_digest(digest):
        raise Invalid(f"{digest[:80]!r} is not a digest: 64 digits of 0-9 and a-f.")
    return digest


def chunks_of(stream: BinaryIO) -> Iterator[bytes]:
    """The rest of ``stream`` in pieces."""
    while chunk := stream.read(CHUNK):
        yield chunk


def open_source(path: Path) -> BinaryIO:
    """The file ``path`` for reading.

    Raises:
        Invalid: there is no such file, or it is a folder, or it may not be read.
    """
    try:
        return path.open("rb")
    except OSError as exc:
        raise Invalid(f"The file {str(path)!r} cannot be stored: {exc.strerror}.") from exc


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _sentences(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        if exc.errno in _FULL:
            raise TrivetError(
                f"There is no space left for {folder}: nothing was stored. Free some, and try again."
            ) from exc
        raise TrivetError(f"Nothing can be written to {folder}: {exc.strerror}.") from exc
