"""Runs: pages of them by the key of the last row, and one with what it was given, made and needs to be made again."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from trivet.errors import Invalid, NotFound
from trivet.ledger import Run, RunQuery
from trivet.server.drawing import Point, draw_line
from trivet.server.views.shapes import artifact_row, run_row, text_of
from trivet.tracking.search import KINDS, check_kind

if TYPE_CHECKING:
    from trivet.project import Project

__all__ = ["run", "runs"]

PAGE = 50
_KINDS = ("all", *KINDS)
_HIDDEN = frozenset({"git.patch", "log", "pid", "pid_started"})
"""Tags by which Trivet finds its own things again."""
_ID = re.compile(r"[0-9A-Za-z]{1,64}")
_KIND = re.compile(r"[a-z][a-z0-9_]{0,63}")


def runs(project: Project, kind: str = "all", before: str | None = None) -> dict[str, Any]:
    """A page of runs, newest first.

    Raises:
        NotFound: no run is of this kind; the nearest is offered.
        Invalid: ``kind`` cannot be a kind, or ``before`` cannot be the id of a run.
    """
    if not _KIND.fullmatch(kind):
        raise Invalid(str(NotFound("kind of runs", kind[:80], _KINDS)))
    if before is not None and not _ID.fullmatch(before):
        raise Invalid(f"before={before[:80]!r} is not the id of a run. It is the last id of the page before.")
    query = RunQuery(kind=None if kind == "all" else kind, before=before, limit=PAGE + 1)
    found = project.context.ledger.runs(query)
    if not found and kind != "all":
        check_kind(project.context, kind)
    shown = found[:PAGE]
    words = {"kind": kind} if kind != "all" else {}
    more = urlencode({**words, "before": shown[-1].id}) if len(found) > PAGE else None
    return {
        "title": "Runs",
        "kinds": list(dict.fromkeys([*_KINDS, kind])),
        "chosen": kind,
        "before": before,
        "runs": [run_row(project, item) for item in shown],
        "more": f"/runs?{more}" if more else None,
    }


def run(project: Project, id: str) -> dict[str, Any]:  # noqa: A002 - the word in the path
    """One run: what it was given, what it made, how to make it again."""
    ledger = project.context.ledger
    found = ledger.run(id)
    steps = ledger.runs(RunQuery(parent=found.id, limit=PAGE))
    return {
        "title": found.name,
        "run": run_row(project, found),
        "edges": [
            {"direction": direction, "slot": slot, **artifact_row(ledger.artifact(digest))}
            for direction, slots in (("in", found.inputs), ("out", found.outputs))
            for slot, digest in slots.items()
        ],
        "children": [run_row(project, child) for child in reversed(steps)],
        "parent": run_row(project, ledger.run(found.parent)) if found.parent else None,
        "facts": {
            key: value for key, value in found.tags.items() if key not in _HIDDEN and not key.startswith("trivet.")
        },
        "charts": _learning_curves(project, found.id),
        "log": _log(project, found),
    }


def _log(project: Project, found: Run) -> str:
    if "log" not in found.tags:
        return ""
    return text_of(project, project.context.ledger.artifact(found.tags["log"]), end=True)


def _learning_curves(project: Project, id: str) -> list[str]:  # noqa: A002
    series: dict[str, list[Point]] = {}
    for metric in project.context.ledger.metrics(id):
        series.setdefault(metric.name, []).append(Point(str(metric.step), metric.value))
    return [draw_line(points, title=name) for name, points in series.items() if len(points) > 1]
