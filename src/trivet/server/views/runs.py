"""Runs: pages of them by the key of the last row, and one with what it was given, made and needs to be made again.

Among all runs, those that a service or a schedule writes by the dozen are folded: between two runs that a person started,
one row for each kind and name, with how many there are. Of a chosen kind each is shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, get_args
from urllib.parse import urlencode

from msgspec import to_builtins

from trivet.errors import Invalid, NotFound
from trivet.ledger import Run, RunQuery, Status
from trivet.server.comparing import draw_curves
from trivet.server.views.searches import searched
from trivet.server.views.shapes import artifact_row, run_row, text_of
from trivet.tracking.curves import curve
from trivet.tracking.search import KINDS, check_kind

if TYPE_CHECKING:
    from trivet.project import Project

__all__ = ["run", "runs"]

PAGE = 50
_SCANNED = 5_000
_MOST_CURVES, _POINTS = 40, 800
QUIET = frozenset({"predict", "materialize", "ingest", "monitor", "check", "statistics", "profile", "skew_audit"})
"""Kinds of runs that a service or a schedule writes down."""
_KINDS = ("all", *KINDS)
_HIDDEN = frozenset({"git.patch", "log", "pid", "pid_started"})
"""Tags by which Trivet finds its own things again."""
_ID = re.compile(r"[0-9A-Za-z]{1,64}")
_KIND = re.compile(r"[a-z][a-z0-9_]{0,63}")


def runs(
    project: Project, kind: str = "all", before: str | None = None, where: str = "", order: str = "",
    after: str | None = None, trail: str = "", limit: str = "", columns: str = "",
) -> dict[str, Any]:  # fmt: skip
    """A page of runs, newest first and folded; or, where something is asked for, those that fit, in their order.

    Raises:
        NotFound: no run is of this kind; the nearest is offered.
        Invalid: ``kind`` cannot be a kind, ``before`` cannot be the id of a run, or as ``searched``.
    """
    if not _KIND.fullmatch(kind):
        raise Invalid(str(NotFound("kind of runs", kind[:80], _KINDS)))
    if before is not None and not _ID.fullmatch(before):
        raise Invalid(f"before={before[:80]!r} is not the id of a run. It is the last id of the page before.")
    asked = {"where": where, "order": order, "after": after or "", "limit": limit, "columns": columns}
    if any(asked.values()):
        words = {**asked, "kind": "" if kind == "all" else kind, "trail": trail}
        return {**_frame(project, kind, before), **searched(project, {k: v for k, v in words.items() if v})}
    groups, last = _folded(project, before) if kind == "all" else _of_kind(project, kind, before)
    if not groups and kind != "all":
        check_kind(project.context, kind)
    words = {"kind": kind} if kind != "all" else {}
    more = urlencode({**words, "before": last}) if last else None
    return {
        **_frame(project, kind, before),
        "runs": [_row(project, group) for group in groups],
        "more": f"/runs?{more}" if more else None,
    }


def _frame(project: Project, kind: str, before: str | None) -> dict[str, Any]:
    """What every page of runs has: the kinds and how the runs of the chosen one stand, with their numbers."""
    ledger, only = project.context.ledger, None if kind == "all" else kind
    kinds = list(dict.fromkeys([*_KINDS, kind]))
    counts = {one: ledger.count(RunQuery(kind=one)) for one in kinds[1:]}
    statuses = {one: ledger.count(RunQuery(kind=only, status=one)) for one in get_args(Status)}
    return {
        "title": "Runs",
        "kinds": kinds,
        "counts": {"all": ledger.count(), **counts},
        "statuses": {one: number for one, number in statuses.items() if number},
        "chosen": kind,
        "before": before,
        "where": "",
        "order": "",
        "columns": None,
        "previous": None,
    }


def _of_kind(project: Project, kind: str, before: str | None) -> tuple[list[list[Run]], str | None]:
    """A page of runs one by one, and the key of the next page."""
    found = project.context.ledger.runs(RunQuery(kind=kind, before=before, limit=PAGE + 1, slim=True))
    return [[each] for each in found[:PAGE]], found[PAGE - 1].id if len(found) > PAGE else None


def _folded(project: Project, before: str | None) -> tuple[list[list[Run]], str | None]:
    """A page of runs, quiet ones together with their like, and the key of the next page."""
    groups: list[list[Run]] = []
    stretch: dict[tuple[str, str], list[Run]] = {}
    last, seen = None, 0
    for run in _newest(project, before):
        alike = stretch.get((run.kind, run.name))
        if alike is not None:
            alike.append(run)
        elif len(groups) == PAGE or seen == _SCANNED:
            return groups, last
        else:
            groups.append([run])
            stretch = {**stretch, (run.kind, run.name): groups[-1]} if run.kind in QUIET else {}
        last, seen = run.id, seen + 1
    return groups, None


def _newest(project: Project, before: str | None) -> Iterator[Run]:
    while found := project.context.ledger.runs(RunQuery(before=before, limit=4 * PAGE, slim=True)):
        yield from found
        before = found[-1].id


def _row(project: Project, group: list[Run]) -> dict[str, Any]:
    """The newest of some runs that are alike; of several how many, since when, and how many rows they were about."""
    row = {**run_row(project, group[0]), "count": len(group)}
    if len(group) == 1:
        return row
    rows = [each.metrics["rows"] for each in group if "rows" in each.metrics]
    metrics = {"rows": sum(rows)} if rows else {}
    return {**row, "since": group[-1].started.isoformat(), "seconds": None, "metrics": metrics, "status": _worst(group)}


def _worst(group: list[Run]) -> str:
    """Of the alike the state to look at."""
    found = {each.status for each in group}
    return next((each for each in ("failed", "killed", "running") if each in found), group[0].status)


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
        "previous": _previous(project, found),
        "parent": run_row(project, ledger.run(found.parent)) if found.parent else None,
        "facts": {
            key: value for key, value in found.tags.items() if key not in _HIDDEN and not key.startswith("trivet.")
        },
        "summaries": _summaries(project, found.id),
        "charts": _learning_curves(project, found.id),
        "log": _log(project, found),
    }


def _previous(project: Project, found: Run) -> dict[str, Any] | None:
    """The newest earlier run of the same name that finished: what to compare it with."""
    query = RunQuery(kind=found.kind, name=found.name, status="finished", before=found.id, limit=1)
    earlier = project.context.ledger.runs(query) if found.name else []
    return run_row(project, earlier[0]) if earlier else None


def _log(project: Project, found: Run) -> str:
    if "log" not in found.tags:
        return ""
    return text_of(project, project.context.ledger.artifact(found.tags["log"]), end=True)


def _learning_curves(project: Project, id: str) -> list[str]:  # noqa: A002
    ledger = project.context.ledger
    names = [one.name for one in ledger.metrics(id, summary=True) if one.count > 1][:_MOST_CURVES]
    return [draw_curves({name: curve(ledger, id, name, most=_POINTS)}, title=name) for name in names]


def _summaries(project: Project, id: str) -> list[dict[str, Any]]:  # noqa: A002
    return [to_builtins(one) for one in project.context.ledger.metrics(id, summary=True)]
