"""The packages of a recorded environment, read from its lock."""

from __future__ import annotations

import re

from trivet.ledger import Artifact, Blobs

__all__ = ["pinned"]

_PINNED = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)==([^\s;\\]+)", re.MULTILINE)


def pinned(environment: Artifact, blobs: Blobs) -> dict[str, str]:
    """Version by name of what the lock pins."""
    locks = [file for name, file in environment.files.items() if name.endswith(".lock")]
    return {
        name: version for file in locks for name, version in _PINNED.findall(blobs.read(file.digest).decode("utf-8"))
    }
