"""What was recorded of a source, in the place of the source itself: where a program is run again.

There the folder of the project holds a note for each source that the run read (``trivet.pipelines.stage``), and the
data may be gone, changed or out of reach. Frames that the program makes itself are not looked up: they are its work.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from trivet.features.definitions import Source
from trivet.features.sources.contract import Snapshot
from trivet.features.sources.kind import SourceKind
from trivet.ledger import Artifact
from trivet.pipelines.stage import RECORDED, note_name
from trivet.plugins import open_url

__all__ = ["Recorded"]


class Recorded:
    """Sources of which there is a note."""

    def claims(self, source: Source, root: Path) -> bool:
        """Whether this is such a place, and the source one whose data lie outside of the program."""
        return (source.data is None or isinstance(source.data, str)) and _note(source, root).is_file()

    def open(self, source: Source, root: Path) -> Snapshot:
        """The data as they were recorded."""
        note: dict[str, Any] = msgspec.json.decode(_note(source, root).read_bytes())
        artifact = msgspec.convert(note["artifact"], Artifact)
        return SourceKind().load(artifact, open_url("blobs", note["blobs"], root))


def _note(source: Source, root: Path) -> Path:
    return root / RECORDED / f"{note_name(source.name)}.json"
