"""Bytes in a dictionary, for tests and dry runs; gone with the process."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from trivet.digest import digest_bytes
from trivet.errors import NotFound
from trivet.ledger.blobs.drafts import check_digest, chunks_of, deliver, open_source, verify
from trivet.ledger.contract import Blobs
from trivet.ledger.records import File
from trivet.types import Digest

__all__ = ["MemoryBlobs", "open_blobs"]


def open_blobs(url: str, root: Path) -> Blobs:  # noqa: ARG001 - the signature of every opener
    """A new, empty store."""
    return MemoryBlobs()


class MemoryBlobs:
    """See ``trivet.ledger.contract.Blobs``."""

    def __init__(self) -> None:
        self._contents: dict[Digest, bytes] = {}

    def __str__(self) -> str:
        return "memory"

    def put(self, content: bytes | Path | BinaryIO) -> File:
        """Store bytes, a file or a stream."""
        if isinstance(content, Path):
            with open_source(content) as stream:
                return self.put(stream)
        data = bytes(content) if isinstance(content, bytes | bytearray | memoryview) else b"".join(chunks_of(content))
        file = File(digest_bytes(data), len(data))
        self._contents[file.digest] = data
        return file

    def read(self, digest: Digest) -> bytes:
        """The verified bytes."""
        data = self._contents.get(check_digest(digest))
        if data is None:
            raise NotFound("blob", digest)
        verify(digest_bytes(data), digest, store=self)
        return data

    def fetch(self, digest: Digest, to: Path) -> Path:
        """Write the verified content to the file ``to``."""
        return deliver([self.read(digest)], digest, to, store=self)

    def missing(self, digests: Iterable[Digest]) -> set[Digest]:
        """Those of ``digests`` that are not stored."""
        return {check_digest(digest) for digest in digests} - self._contents.keys()

    def forget(self, digest: Digest) -> None:
        """Remove content for good."""
        self._contents.pop(check_digest(digest), None)
