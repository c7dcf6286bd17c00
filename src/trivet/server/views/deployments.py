"""Deployments: what answers, and how one of them fares as labels arrive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from trivet.server.drawing import Point, draw_line
from trivet.server.views.shapes import alarm_row
from trivet.types import duration_text

if TYPE_CHECKING:
    from trivet.features.skew.report import SkewReport
    from trivet.monitoring.heartbeats import Heartbeat
    from trivet.project import Project

__all__ = ["deployment", "deployments"]

_TITLES = {
    "auc": "AUC",
    "base_rate": "Base rate",
    "log_loss": "Log loss",
    "calibration": "Calibration: mean label minus mean score",
    "mae": "Mean absolute error",
    "mse": "Mean squared error",
    "bias": "Bias",
}
_LATEST = 20


def deployments(project: Project) -> dict[str, Any]:
    """Everything that answers or has answered, newest first."""
    return {"title": "Deployments", "deployments": [item.to_json() for item in project.deployments()]}


def deployment(project: Project, id: str) -> dict[str, Any]:  # noqa: A002 - the word in the path
    """One deployment: performance as labels arrive, drift, heartbeats, alarms, latest predictions."""
    found = project.deployment(id)
    report = project.monitor(found.id, record=False)
    data = report.to_json()
    base_rate = project.base_rate(found)
    labels = report.labels
    return {
        "title": f"{found.name}@{found.version}",
        "d": found.to_json(),
        "at": data["at"],
        "alarms": [alarm_row(alarm) for alarm in project.alarms() if alarm.alarm.subject == report.subject.name],
        "skew": _skew(project.last_audit(found.id)),
        "found": [alarm.to_json() for alarm in report.alarms],
        "labels": {"joined": labels.joined, "predictions": labels.predictions},
        "base_rate": base_rate,
        "performance": data["performance"],
        "charts": _charts(data["performance"], base_rate),
        "drift": sorted(data["drift"], key=lambda each: _ORDER.get(each["verdict"], 3)),
        "heartbeats": [_heartbeat(beat, report.at) for beat in report.heartbeats],
        "predictions": project.predictions(deployment=found.id, limit=_LATEST),
    }


def _skew(last: SkewReport | None) -> dict[str, Any] | None:
    """The last audit, what differs first."""
    if last is None:
        return None
    features = sorted(last.features, key=lambda each: -each.mismatches)
    return {
        "at": last.at.isoformat(),
        "rows": last.rows,
        "artifact": last.artifact,
        "mismatches": last.mismatches,
        "notes": last.notes,
        "features": [
            {
                **msgspec.to_builtins(each),
                "share": each.share,
                "verdict": "skew" if each.mismatches else "stale" if each.stale else "same",
                "reason": each.reason,
                "behind": None if each.oldest is None else duration_text(each.oldest),
                "examples": [{**msgspec.to_builtins(one), "why": one.why} for one in each.examples],
            }
            for each in features
        ],
    }


_ORDER = {"drift": 0, "stable": 1, "not enough data": 2}


def _charts(periods: Sequence[Mapping[str, Any]], base_rate: float | None) -> list[str]:
    names = [name for name in _TITLES if any(name in period["metrics"] for period in periods)]
    guides = {"auc": {"no better than chance": 0.5}, "calibration": {"calibrated": 0.0}}
    if base_rate is not None:
        guides["base_rate"] = {f"in training: {base_rate:.1%}": base_rate}
    return [draw_line(_points(periods, name), title=_TITLES[name], guides=guides.get(name)) for name in names]


def _points(periods: Sequence[Mapping[str, Any]], name: str) -> list[Point]:
    found = [(_day(period), period["metrics"].get(name)) for period in periods]
    return [Point(day, m["estimate"], m["low"], m["high"]) if m else Point(day, None) for day, m in found]


def _day(period: Mapping[str, Any]) -> str:
    """The start of a period, with its hour where periods are shorter than a day."""
    start, end = (datetime.fromisoformat(period[key]) for key in ("start", "end"))
    return f"{start:%Y-%m-%d %H:%M}" if (end - start).total_seconds() < 86_400 else f"{start:%Y-%m-%d}"


def _heartbeat(beat: Heartbeat, now: datetime) -> dict[str, Any]:
    seconds = int((now - (beat.last or beat.since)).total_seconds())
    return {
        "kind": beat.kind,
        "state": "dead" if seconds * 1_000_000 > beat.expected else "alive",
        "last": None if beat.last is None else beat.last.isoformat(),
        "silent_seconds": seconds,
        "expected": duration_text(beat.expected),
    }
