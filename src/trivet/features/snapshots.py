"""Recording the data of sources: each file once by its content, without reading again what did not change.

Identity is content, never a path or a time. Reading a large file only to learn that it is the same is avoided by an
index from (path, size, times, inode) to the artifact, as git does it; a file touched within the last two
seconds is not trusted, since it may change again within the clock's grain. The index is a cache: lose it and
files are read once more.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import msgspec

from trivet.errors import Conflict, NotFound
from trivet.features.definitions import Source
from trivet.features.sources import Snapshot, SourceKind, snapshot_of
from trivet.ledger import Artifact
from trivet.pipelines.context import Context

__all__ = ["record_source"]

INDEX = Path(".trivet") / "source-index.json"
_SETTLED = 2_000_000_000  # nanoseconds


def record_source(source: Source, context: Context) -> Artifact:
    """The artifact of kind ``source`` with the data that ``source`` has now.

    Raises:
        Invalid: it has no data, or its file cannot be used.
        Conflict: the file changed while it was read.
    """
    snapshot = snapshot_of(source, context.root)
    if not isinstance(snapshot.data, Path):
        return _save(snapshot, context)
    before = _stat(snapshot)
    index = _read_index(context.root / INDEX)
    if before in index and (known := _recorded(index[before], context)) is not None:
        return known
    artifact = _save(snapshot, context)
    if _stat(snapshot) != before:
        raise Conflict(
            f"Source {source.name!r}: {snapshot.data} changed while it was read. Try again when it is whole."
        )
    if time.time_ns() - snapshot.data.stat().st_mtime_ns > _SETTLED:
        _write_index(context.root / INDEX, {**index, before: artifact.digest})
    return artifact


def _save(snapshot: Snapshot, context: Context) -> Artifact:
    saved = SourceKind().save(snapshot, context.blobs)
    artifact = Artifact.of("source", saved.spec, saved.files, content=saved.content, created=context.clock())
    context.ledger.write(artifact)
    return artifact


def _recorded(digest: str, context: Context) -> Artifact | None:
    """The artifact, if the ledger knows it and its content is there."""
    try:
        artifact = context.ledger.artifact(digest)
    except NotFound:
        return None
    return None if context.blobs.missing(file.digest for file in artifact.files.values()) else artifact


def _stat(snapshot: Snapshot) -> str:
    assert isinstance(snapshot.data, Path)
    facts = snapshot.data.stat()
    numbers = (facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino)
    return f"{snapshot.name} {'-'.join(map(str, numbers))} {snapshot.data.resolve()}"


def _read_index(path: Path) -> dict[str, str]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, str])
    except (FileNotFoundError, msgspec.DecodeError):  # a cache that is lost or damaged is made again
        return {}


def _write_index(path: Path, index: dict[str, str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    partial.write_bytes(msgspec.json.format(msgspec.json.encode(index, order="sorted")))
    partial.replace(path)
