"""Small records for tests of anything that stands on the ledger."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from trivet.clock import new_id
from trivet.digest import digest
from trivet.ledger import Artifact, File, Run

__all__ = ["NOW", "a_run", "an_artifact"]

NOW = datetime(2026, 3, 29, 1, 30, 0, 123_456, tzinfo=UTC)


def an_artifact(number: int = 0, *, kind: str = "json", spec: dict[str, Any] | None = None) -> Artifact:
    """A small artifact, another one for each ``number``."""
    files = {"value.json": File(digest("test", number), number)}
    return Artifact.of(kind, spec or {"number": number}, files, created=NOW + timedelta(seconds=number))


def a_run(id: str | None = None, **fields: Any) -> Run:  # noqa: A002 - the field's name
    """A run that has just finished, with ``fields`` as given."""
    given = {"kind": "task", "name": "fit", "status": "finished", "started": NOW, "ended": NOW + timedelta(1)}
    return Run(id=id or new_id(), **{**given, **fields})
