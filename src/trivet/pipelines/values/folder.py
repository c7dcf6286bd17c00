"""The kind ``folder``: a file or a folder of files, given and returned as a ``Path``.

Content is the names and bytes of the files; modes and times are not kept. A link to a file inside the folder
is stored as that file; one that leads outside is refused. What is loaded is a copy of its own for each
call, in a temporary folder that goes when the process ends.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from trivet.errors import Corrupt, Invalid
from trivet.ledger import Artifact, Blobs
from trivet.pipelines.values.contract import Kind, Saved

__all__ = ["FolderKind", "open_kind"]


class FolderKind:
    """Files and folders."""

    name = "folder"

    def accepts(self, value: object) -> bool:
        """Whether the value is a path."""
        return isinstance(value, Path)

    def save(self, value: Any, blobs: Blobs) -> Saved:
        """Store a file, or every file below a folder."""
        path = Path(value)
        if path.is_file():
            return Saved({"form": "file"}, {path.name: blobs.put(path)})
        if not path.is_dir():
            raise Invalid(f"{path} is neither a file nor a folder, so there is nothing to store.")
        files, empty = {}, []
        for inner in _below(path):
            name = inner.relative_to(path).as_posix()
            if inner.is_dir():
                empty.append(name)
            else:
                files[name] = blobs.put(_inside(inner, path))
        return Saved({"form": "folder", "empty_folders": empty}, files)

    def load(self, artifact: Artifact, blobs: Blobs) -> Path:
        """A fresh copy of the file or the folder."""
        to = Path(tempfile.mkdtemp(dir=_process_folder().name))
        for name in artifact.spec.get("empty_folders", []):
            (to / _safe(name, artifact)).mkdir(parents=True, exist_ok=True)
        for name, file in artifact.files.items():
            target = to / _safe(name, artifact)
            target.parent.mkdir(parents=True, exist_ok=True)
            blobs.fetch(file.digest, target)
        return to / next(iter(artifact.files)) if artifact.spec.get("form") == "file" else to


def open_kind() -> Kind:
    """The kind, for ``trivet.plugins``."""
    return FolderKind()


@cache
def _process_folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="trivet-", ignore_cleanup_errors=True)


def _below(folder: Path) -> Iterator[Path]:
    """Files and empty folders, sorted; folders that are links are not entered."""
    items = sorted(folder.iterdir())
    for item in items:
        if item.is_dir() and not item.is_symlink():
            inner = list(_below(item))
            yield from inner or [item]
        else:
            yield item


def _inside(path: Path, folder: Path) -> Path:
    target = path.resolve()
    if not target.is_relative_to(folder.resolve()):
        raise Invalid(f"{path} is a link to {target}, outside of {folder}. Copy the file into the folder.")
    if not target.is_file():
        raise Invalid(f"{path} is no regular file, so it cannot be stored.")
    return target


def _safe(name: str, artifact: Artifact) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise Corrupt(f"{artifact.id} names the file {name!r}, which lies outside of it.")
    return name
