"""Bytes in files: ``FOLDER/3f/3f2a9c...``, each named by its SHA-256, read-only, checkable with ``sha256sum``.

A file has its name only when all of it is on the disk. Unfinished drafts are in ``FOLDER/incoming``; those that
killed processes left there are swept away when they are a day old. Storing content again heals a damaged file.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from trivet.config import url_path
from trivet.digest import digest_bytes, digest_stream
from trivet.errors import NotFound
from trivet.ledger.blobs.drafts import check_digest, chunks_of, deliver, draft, open_source, verify
from trivet.ledger.contract import Blobs
from trivet.ledger.records import File
from trivet.types import Digest

__all__ = ["LocalBlobs", "open_blobs"]

_OLD = 24 * 3600  # seconds: no writing takes a day


def open_blobs(url: str, root: Path) -> Blobs:
    """The store in the folder of ``file:FOLDER``, relative to ``root``."""
    blobs = LocalBlobs(url_path(url, root))
    blobs.sweep()
    return blobs


class LocalBlobs:
    """See ``trivet.ledger.contract.Blobs``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._incoming = folder / "incoming"

    def __str__(self) -> str:
        return str(self._folder)

    def put(self, content: bytes | Path | BinaryIO) -> File:
        """Store bytes, a file or a stream, in bounded memory."""
        if isinstance(content, Path):
            with open_source(content) as stream:
                return self._put(stream, digest_stream(stream))
        if isinstance(content, bytes | bytearray | memoryview):
            return self._put(BytesIO(content), digest_bytes(content))
        return self._store(content)

    def read(self, digest: Digest) -> bytes:
        """The verified bytes."""
        with self._open(digest) as stream:
            data = stream.read()
        verify(digest_bytes(data), digest, store=self)
        return data

    def fetch(self, digest: Digest, to: Path) -> Path:
        """Write the verified content to the file ``to`` (write-then-rename) in bounded memory."""
        with self._open(digest) as stream:
            return deliver(chunks_of(stream), digest, to, store=self)

    def missing(self, digests: Iterable[Digest]) -> set[Digest]:
        """Those of ``digests`` that are not stored."""
        return {digest for digest in digests if not self._path(digest).is_file()}

    def forget(self, digest: Digest) -> None:
        """Remove content for good."""
        self._path(digest).unlink(missing_ok=True)

    def sweep(self, *, older_than: float = _OLD) -> int:
        """Remove drafts that nobody has written to for ``older_than`` seconds, and answer how many."""
        removed, now = 0, time.time()
        for path in self._incoming.glob(".*.part"):
            try:
                if now - path.stat().st_mtime >= older_than:
                    path.unlink()
                    removed += 1
            except FileNotFoundError:  # someone else sweeps, or its writer is done
                continue
        return removed

    def _path(self, digest: Digest) -> Path:
        return self._folder / check_digest(digest)[:2] / digest

    def _open(self, digest: Digest) -> BinaryIO:
        try:
            return self._path(digest).open("rb")
        except FileNotFoundError as exc:
            raise NotFound("blob", digest) from exc

    def _put(self, stream: BinaryIO, digest: Digest) -> File:
        path = self._path(digest)
        if path.is_file():
            with path.open("rb") as stored:
                if digest_stream(stored) == digest:
                    return File(digest, path.stat().st_size)
        stream.seek(0)
        return self._store(stream)

    def _store(self, stream: BinaryIO) -> File:
        with draft(self._incoming) as writing:
            file = writing.take(chunks_of(stream))
            writing.name(self._path(file.digest), read_only=True)
        return file
