"""What a training set looks like: its columns in numbers and bars, its label over time, and what a check of it found.

Statistics on record are shown; of a small set without them they are worked out for the page and kept while the server
runs, because looking at a page records nothing.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from trivet.ledger import Artifact, RunQuery
from trivet.server.drawing import Bar, Point, draw_bars, draw_line

if TYPE_CHECKING:
    from trivet.features.statistics import ColumnStatistics, Statistics
    from trivet.project import Project

__all__ = ["training_set"]

_MOST_BYTES = 64 * 2**20


def training_set(project: Project, found: Artifact) -> dict[str, Any]:
    """The statistics as JSON, pictures of them, and the newest leak report; nothing for other kinds."""
    if found.kind != "training_set":
        return {"leaks": None, "statistics": None, "charts": [], "quality": []}
    statistics, leaks = _statistics(project, found), _newest(project, found, "leak_check")
    return {
        "leaks": leaks,
        "statistics": None if statistics is None else statistics.to_json(),
        "charts": [] if statistics is None else _charts(statistics),
        "quality": _quality(project, found),
    }


def _quality(project: Project, found: Artifact) -> list[dict[str, Any]]:
    """The newest check of the very data that each source of the set had, where one is on record."""
    reports = []
    ledger = project.context.ledger
    for made in ledger.runs(RunQuery(kind="training_set", output=found.digest, limit=1)):
        for slot, digest in made.inputs.items():
            if slot.startswith("sources."):
                subject = f"source.{slot.removeprefix('sources.')}"
                query = RunQuery(kind="check", name=subject, input=digest, status="finished", limit=1)
                for run in ledger.runs(query):
                    report = project.load(ledger.artifact(run.outputs["result"]))
                    reports.append({"run": run.id, "trouble": report.trouble, **report.to_json()})
    return reports


def _statistics(project: Project, found: Artifact) -> Statistics | None:
    import msgspec

    from trivet.features.statistics import Statistics

    recorded = _newest(project, found, "statistics")
    if recorded is not None:
        return msgspec.convert(recorded, Statistics)
    return None if found.size > _MOST_BYTES else _described(project, found.digest)


@lru_cache(maxsize=32)
def _described(project: Project, digest: str) -> Statistics:
    from trivet.features.statistics import describe

    return describe(project.load(project.context.ledger.artifact(digest)))


def _newest(project: Project, found: Artifact, kind: str) -> dict[str, Any] | None:
    """What the newest finished run of a kind answered about a set."""
    for run in project.context.ledger.runs(RunQuery(kind=kind, input=found.digest, status="finished", limit=1)):
        answer: dict[str, Any] = project.load(project.context.ledger.artifact(run.outputs["result"]))
        return answer
    return None


def _charts(found: Statistics) -> list[str]:
    """Rows and the label over time, then each column with bars."""
    days = [each.start[:10] if found.every not in ("1h", "6h") else each.start[:16] for each in found.periods]
    each_period = f"each {found.every}" if found.every else ""
    rows = [Bar(day, each.rows) for day, each in zip(days, found.periods, strict=True)]
    charts = [draw_bars(rows, title=f"rows over {found.time}, {each_period}")] if len(rows) > 1 else []
    if len(rows) > 1 and any(each.label is not None for each in found.periods):
        rates = [Point(day, each.label) for day, each in zip(days, found.periods, strict=True)]
        charts.append(draw_line(rates, title=f"mean of {found.label}, {each_period}"))
    return charts + [_bars(each) for each in found.columns if each.bars]


def _bars(column: ColumnStatistics) -> str:
    bars = [Bar(bar.name, bar.rows, bar.positive) for bar in column.bars]
    return draw_bars(bars, title=column.feature or column.name)
