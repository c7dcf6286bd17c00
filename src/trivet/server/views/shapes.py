"""How records look on several pages, as JSON values: runs, pointers, alarms, and the text of a stored file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from trivet.ledger import Artifact, Run

if TYPE_CHECKING:
    from trivet.ledger import Pointer
    from trivet.monitoring.alarms import OpenAlarm
    from trivet.project import Project

__all__ = ["alarm_row", "artifact_row", "name_of", "pointer_row", "run_row", "text_of"]

_MOST_TEXT = 300_000


def run_row(project: Project, run: Run) -> dict[str, Any]:
    """A run with how long it took and the status to show: one whose process is gone is ``dead``."""
    from trivet.tracking.processes import status_of

    return {**msgspec.to_builtins(run), "seconds": run.seconds, "status": status_of(run, host=project.context.host)}


def artifact_row(found: Artifact) -> dict[str, Any]:
    """What a link to an artifact says."""
    return {"kind": found.kind, "digest": found.digest, "id": found.id, "name": name_of(found)}


def name_of(found: Artifact) -> str:
    """What people call an artifact, empty where its declaration has no name."""
    spec = found.spec
    if found.kind == "model" and "estimator" in spec:
        return str(spec["estimator"]).rpartition(".")[2]
    if found.kind == "training_set":
        return f"to predict {spec['label']}" if spec.get("label") else ""
    return str(spec.get("name") or spec.get("gate") or spec.get("table") or spec.get("kind") or "")


def pointer_row(pointer: Pointer) -> dict[str, Any]:
    """A name on an artifact."""
    data: dict[str, Any] = msgspec.to_builtins(pointer)
    return data


def alarm_row(found: OpenAlarm) -> dict[str, Any]:
    """An open alarm, with when it was raised."""
    return {**found.alarm.to_json(), "digest": found.digest, "raised": found.raised.isoformat()}


def text_of(project: Project, found: Artifact, name: str | None = None, *, end: bool = False) -> str:
    """The text of a file of an artifact (the first by default); of a long one the beginning, or the end."""
    wanted = name or next(iter(found.files), None)
    if wanted is None:
        return ""
    text = project.context.blobs.read(found.files[wanted].digest).decode(errors="replace")
    if len(text) <= _MOST_TEXT:
        return text
    return f"[...]\n{text[-_MOST_TEXT:]}" if end else f"{text[:_MOST_TEXT]}\n[...]"
