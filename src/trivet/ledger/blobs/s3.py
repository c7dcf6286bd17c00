"""Bytes in any S3: ``s3://BUCKET/PREFIX``, laid out like the local store, so one can be copied to the other.

Credentials and region come from the usual ``AWS_*`` variables, which the client library reads by itself, or
from the URL: ``s3://bucket/prefix?endpoint=http://127.0.0.1:9000&region=us-east-1``. An object appears whole or
not at all, because S3 promises so. Big files go up in parts and are hashed once more on the way; a file that
changes meanwhile aborts the upload.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import parse_qsl, unquote, urlsplit

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from trivet.digest import digest_bytes
from trivet.errors import ConfigError, Conflict, NotFound, TrivetError
from trivet.ledger.blobs.drafts import CHUNK, check_digest, chunks_of, deliver, open_source, verify
from trivet.ledger.contract import Blobs
from trivet.ledger.records import File
from trivet.types import Digest

__all__ = ["S3Blobs", "open_blobs"]

PART = 8 << 20  # bytes sent at once; S3 takes 5 MiB at least and 10,000 parts at most
_OPTIONS = {"endpoint", "region", "access_key_id", "secret_access_key", "session_token", "virtual_hosted_style_request"}
_RETRY = {"max_retries": 5, "retry_timeout": timedelta(seconds=60)}


def open_blobs(url: str, root: Path) -> Blobs:  # noqa: ARG001 - the signature of every opener
    """The store in ``s3://BUCKET/PREFIX?endpoint=...&region=...``. Nothing is asked of the server yet.

    Raises:
        ConfigError: the URL names no bucket, or has an option that does not exist.
    """
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    if not parts.netloc or "@" in parts.netloc:
        raise ConfigError(
            "A store of blobs in S3 is written s3://BUCKET/PREFIX, without credentials before the bucket."
        )
    if unknown := sorted(set(options) - _OPTIONS):
        raise ConfigError(
            f"s3://{parts.netloc} has no option {unknown[0]!r}. There are: {', '.join(sorted(_OPTIONS))}."
        )
    return S3Blobs(parts.netloc, unquote(parts.path).strip("/"), options)


class S3Blobs:
    """See ``trivet.ledger.contract.Blobs``."""

    def __init__(self, bucket: str, prefix: str, options: dict[str, str]) -> None:
        self._place = f"s3://{bucket}/{prefix}".rstrip("/")
        config: Any = options
        with self._sentences():
            self._store = S3Store(
                bucket,
                prefix=prefix or None,
                config=config,
                client_options={"allow_http": True},  # an endpoint on http:// is asked for in so many words
                retry_config=_RETRY,  # type: ignore[arg-type]
            )

    def __str__(self) -> str:
        return self._place

    def put(self, content: bytes | Path | BinaryIO) -> File:
        """Store bytes, a file or a stream, in bounded memory."""
        if isinstance(content, Path):
            with open_source(content) as stream:
                return self._put_stream(stream)
        if isinstance(content, bytes | bytearray | memoryview):
            return self._put_bytes(bytes(content))
        with tempfile.SpooledTemporaryFile(max_size=PART) as spool:  # a stream cannot be read twice
            for chunk in chunks_of(content):
                spool.write(chunk)
            spool.seek(0)
            return self._put_stream(spool)  # type: ignore[arg-type]

    def read(self, digest: Digest) -> bytes:
        """The verified bytes."""
        with self._sentences(digest):
            data = bytes(obstore.get(self._store, _key(digest)).bytes())
        verify(digest_bytes(data), digest, store=self)
        return data

    def fetch(self, digest: Digest, to: Path) -> Path:
        """Write the verified content to the file ``to`` (write-then-rename) in bounded memory."""
        return deliver(self._chunks(digest), digest, to, store=self)

    def missing(self, digests: Iterable[Digest]) -> set[Digest]:
        """Those of ``digests`` that are not stored."""
        asked = [check_digest(digest) for digest in set(digests)]
        with ThreadPoolExecutor(max_workers=16) as pool:
            return {digest for digest, size in zip(asked, pool.map(self._size, asked), strict=True) if size is None}

    def forget(self, digest: Digest) -> None:
        """Remove content for good."""
        try:
            with self._sentences(digest):
                obstore.delete(self._store, _key(digest))
        except NotFound:
            return

    def _put_bytes(self, data: bytes) -> File:
        file = File(digest_bytes(data), len(data))
        if self._size(file.digest) != file.size:
            with self._sentences():
                obstore.put(self._store, _key(file.digest), data, use_multipart=False)
        return file

    def _put_stream(self, stream: BinaryIO) -> File:
        state, size = hashlib.sha256(), 0
        for chunk in chunks_of(stream):
            state.update(chunk)
            size += len(chunk)
        file = File(state.hexdigest(), size)
        stream.seek(0)
        if size <= PART:
            return self._put_bytes(stream.read())
        if self._size(file.digest) != size:
            part = max(PART, size // 9_000)
            with self._sentences():
                obstore.put(
                    self._store, _key(file.digest), _unchanged(stream, file), chunk_size=part, max_concurrency=4
                )
        return file

    def _chunks(self, digest: Digest) -> Iterator[bytes]:
        with self._sentences(digest):
            for chunk in obstore.get(self._store, _key(digest)).stream(min_chunk_size=CHUNK):
                yield bytes(chunk)

    def _size(self, digest: Digest) -> int | None:
        try:
            with self._sentences(digest):
                return int(obstore.head(self._store, _key(digest))["size"])
        except NotFound:
            return None

    @contextmanager
    def _sentences(self, digest: Digest = "") -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as exc:
            if digest and "NoSuchBucket" not in str(exc):
                raise NotFound("blob", digest) from exc
            raise TrivetError(f"There is no bucket for {self._place}. Make it first, or correct the URL.") from exc
        except BaseError as exc:
            reason = str(exc).partition("\n")[0].strip().rstrip(".")  # the rest is a dump of the client's state
            raise TrivetError(f"The blobs in {self._place} cannot be used: {reason}.") from exc


def _key(digest: Digest) -> str:
    return f"{check_digest(digest)[:2]}/{digest}"


def _unchanged(stream: BinaryIO, file: File) -> Iterator[bytes]:
    """The content of ``stream``; an error at its end, which aborts the upload, if it is no longer ``file``."""
    state = hashlib.sha256()
    for chunk in chunks_of(stream):
        state.update(chunk)
        yield chunk
    if state.hexdigest() != file.digest:
        raise Conflict("The file changed while it was uploaded: nothing was stored. Try again when it is at rest.")
