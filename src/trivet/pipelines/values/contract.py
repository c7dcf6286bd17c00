"""What a kind of value promises: to save itself into files, and to come back from them equal.

Kinds are found by name in ``trivet.plugins.BUILTIN["kind"]`` (or the entry point group ``trivet.kind``), so a leg
adds its own kind without being imported here. A value may name its kind by the attribute ``__trivet_kind__``.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import msgspec

from trivet.ledger import Artifact, Blobs, File
from trivet.pipelines.context import Context
from trivet.types import Digest

__all__ = ["Kind", "Recorder", "Saved"]


class Saved(msgspec.Struct, frozen=True):
    """The declaration, the files and, where files are not a function of the content, the content's digest."""

    spec: dict[str, Any]
    files: dict[str, File]
    content: Digest | None = None


class Kind(Protocol):
    """One kind of value. A whole implementation, for text:

        class Text:
            name = "text"

            def accepts(self, value):
                return isinstance(value, str)

            def save(self, value, blobs):
                return Saved({"encoding": "utf-8"}, {"text.txt": blobs.put(value.encode())})

            def load(self, artifact, blobs):
                return blobs.read(artifact.files["text.txt"].digest).decode()

    Obligations: ``load(save(value))`` equals ``value``; equal values give equal ``content`` on every machine
    and with every version of the libraries that can read the files; nothing executable is loaded.
    """

    name: str

    def accepts(self, value: object) -> bool:
        """Whether ``value`` is of this kind, decided without importing a heavy library."""
        ...

    def save(self, value: Any, blobs: Blobs) -> Saved:
        """Store the content of ``value`` and describe it."""
        ...

    def load(self, artifact: Artifact, blobs: Blobs) -> Any:
        """The value again."""
        ...


@runtime_checkable
class Recorder(Protocol):
    """What a kind is besides, where a value may only say where its content lies: a source names a file of the project."""

    def record(self, value: Any, context: Context) -> Artifact:
        """Store what ``value`` names, as it is now, and record it in the ledger."""
        ...
