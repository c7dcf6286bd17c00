"""Recording the data of sources: each file once by its content, without reading again what did not change.

Identity is content, never a path or a time. Reading a large file only to learn that it is the same is avoided by an
index from (path, size, times, inode) to the artifact, as git does it; a file touched within the last two
seconds is not trusted, since it may change again within the clock's grain. The index is a cache: lose it and
files are read once more.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from trivet.errors import Conflict, NotFound
from trivet.features.definitions import Source
from trivet.features.sources import Snapshot, SourceKind, snapshot_of
from trivet.ledger import Artifact
from trivet.pipelines.context import Context

__all__ = ["RecordedSources", "open_kind", "record_snapshot", "record_source"]

INDEX = Path(".trivet") / "source-index.json"


def record_source(source: Source, context: Context) -> Artifact:
    """The artifact of kind ``source`` with the data that ``source`` has now.

    Raises:
        Invalid: it has no data, or its file cannot be used.
        Conflict: the file changed while it was read.
    """
    snapshot = snapshot_of(source, context.root)
    before = _identity(snapshot)
    if before is None:
        return record_snapshot(snapshot, context)
    index = _read_index(context.root / INDEX)
    if before in index and (known := _recorded(index[before], context)) is not None:
        return known
    artifact = record_snapshot(snapshot, context)
    if _identity(snapshot) != before:
        raise Conflict(f"Source {source.name!r}: {source.data} changed while it was read. Try again when it is whole.")
    if snapshot.settled():
        _write_index(context.root / INDEX, {**index, before: artifact.digest})
    return artifact


class RecordedSources(SourceKind):
    """The kind ``source``: snapshots, and sources, of which the data that they have now is recorded."""

    def accepts(self, value: object) -> bool:
        """Whether ``value`` is a source or a snapshot of one."""
        return isinstance(value, Source) or super().accepts(value)

    def record(self, value: Source | Snapshot, context: Context) -> Artifact:
        """As ``record_source``; a snapshot as it is."""
        return record_source(value, context) if isinstance(value, Source) else record_snapshot(value, context)


def open_kind() -> RecordedSources:
    """The kind, for ``trivet.plugins``."""
    return RecordedSources()


def record_snapshot(snapshot: Snapshot, context: Context) -> Artifact:
    """The artifact of kind ``source`` with the data of a snapshot.

    Raises:
        Invalid: they cannot be read.
    """
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


def _identity(snapshot: Snapshot) -> str | None:
    """What the index knows an artifact by: the name, what tells a change, and what was cut away."""
    fingerprint = snapshot.fingerprint()
    if fingerprint is None:
        return None
    return " ".join([snapshot.name, fingerprint, *(f"-{column}" for column in sorted(snapshot.cut))])


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
