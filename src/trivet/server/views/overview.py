"""The first page: what exists, what is wrong, what is running, what was done last."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trivet.ledger import RunQuery
from trivet.server.views.runs import QUIET
from trivet.server.views.shapes import alarm_row, run_row

if TYPE_CHECKING:
    from trivet.project import Project

__all__ = ["overview"]

_SHOWN = 12


def overview(project: Project) -> dict[str, Any]:
    """Counts, alarms, deployments and the latest runs."""
    live, alarms = project.deployments(), project.alarms()
    alive = sum(each.state == "alive" for each in live)
    served = sum(each.predictions for each in live)
    cards = [
        {"name": "feature views", "count": len(project.feature_views()), "href": "/features"},
        {"name": "model versions", "count": len(project.models()), "href": "/models"},
        {"name": "deployments alive", "count": alive, "href": "/deployments"},
        {"name": "predictions recorded", "count": served, "href": "/deployments"},
        {"name": "open alarms", "count": len(alarms), "href": "/deployments"},
    ]
    recent = project.context.ledger.runs(RunQuery(limit=400))
    told = [run for run in recent if run.kind not in QUIET][:_SHOWN]
    return {
        "title": "Overview",
        "project": project.root.name,
        "cards": cards,
        "alarms": [alarm_row(alarm) for alarm in alarms],
        "deployments": [item.to_json() for item in live[:_SHOWN]],
        "runs": [run_row(project, found) for found in told],
    }
