"""Snapshots as artifacts of kind ``source``."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from pathlib import Path, PurePosixPath

from trivet.errors import Corrupt
from trivet.features.sources.contract import Snapshot
from trivet.features.sources.delta import LOCATION, open_version
from trivet.features.sources.files import FORMATS, FileSnapshot
from trivet.features.sources.folders import FolderSnapshot
from trivet.ledger import Artifact, Blobs
from trivet.pipelines.values.contract import Saved

__all__ = ["SourceKind"]


class SourceKind:
    """Snapshots as artifacts: files byte for byte, everything else as Parquet."""

    name = "source"

    def accepts(self, value: object) -> bool:
        """Whether ``value`` is a snapshot."""
        return isinstance(value, Snapshot)

    def save(self, value: Snapshot, blobs: Blobs) -> Saved:
        """Store what the snapshot says of itself."""
        return value.save(blobs)

    def load(self, artifact: Artifact, blobs: Blobs) -> Snapshot:
        """The snapshot again; its files live in a temporary folder as long as it does.

        Raises:
            NotFound: content is gone.
            Corrupt: the record names files outside of its own folder, or a format that does not exist.
        """
        form = artifact.spec["format"]
        if form == "delta":
            return open_version(artifact.spec, blobs.read(artifact.files[LOCATION].digest), artifact.content)
        folder = Path(tempfile.mkdtemp(prefix="trivet-source-"))
        snapshot = _snapshot(artifact, folder)
        weakref.finalize(snapshot, shutil.rmtree, folder, ignore_errors=True)
        for name, file in artifact.files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            blobs.fetch(file.digest, folder / name)
        return snapshot


def _snapshot(artifact: Artifact, folder: Path) -> Snapshot:
    name, form = artifact.spec["name"], artifact.spec["format"]
    for file in artifact.files:
        path = PurePosixPath(file)
        if path.is_absolute() or ".." in path.parts or "\\" in file or "\0" in file or not path.parts:
            raise Corrupt(f"{artifact.id} names the file {file!r}, which lies outside of its own folder.")
    if form == "folder":
        return FolderSnapshot(name, folder)
    if form not in FORMATS.values() or len(artifact.files) != 1:
        raise Corrupt(f"{artifact.id} has the format {form!r} and {len(artifact.files)} files, which is no source.")
    nulls = tuple(artifact.spec.get("nulls", ()))
    return FileSnapshot(name, folder / next(iter(artifact.files)), form, nulls)
