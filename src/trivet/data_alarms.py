"""Alarms about data: expectations that are broken, and values that were served otherwise than training sees them.

Features judge and monitoring keeps alarms; here a judgement becomes an alarm, or ends one. What is alive is ``live``'s.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from trivet.monitoring.alarms import Alarm, clear_alarm, open_alarms, settle_alarms
from trivet.pipelines.context import Context

if TYPE_CHECKING:
    from trivet.features.quality.report import QualityReport
    from trivet.features.skew.report import SkewReport

__all__ = ["forget_quality", "settle_quality", "skew_alarms"]


def skew_alarms(report: SkewReport, bound: float) -> list[Alarm]:
    """One alarm about the features whose share of wrong values is certainly above the bound."""
    from trivet.features.skew.report import beyond

    found = beyond(report, bound)
    if not found:
        return []
    named = "; ".join(f"{each.feature} {each.share:.1%} ({each.reason})" for each in found[:3])
    more = f" and {len(found) - 3} more" if len(found) > 3 else ""
    return [
        Alarm(
            kind="skew",
            subject=report.model,
            since=min(example.at for each in found for example in each.examples),
            message=f"What {report.model} is served differs from its training: {named}{more}.",
            evidence={each.feature: {"share": each.share, "low": each.low, "rows": each.rows} for each in found}
            | {"audit": report.artifact},
            false_alarms=0.05,
        )
    ]


def forget_quality(context: Context, subject: str, expected: Iterable[str] = ()) -> None:
    """Clear the alarm of ``source.NAME`` or ``view.NAME`` where nothing that it is about is expected any more."""
    still = set(expected)
    for each in open_alarms(context):
        broken = each.alarm.evidence.get("expectations", ())
        if (each.alarm.kind, each.alarm.subject) == ("quality", subject) and not still & set(broken):
            clear_alarm(context, each.alarm, why="it is no longer expected")


def settle_quality(context: Context, report: QualityReport) -> None:
    """Raise the alarm of what a check found broken; clear it where the check finds it no longer."""
    broken = [each.expectation for each in report.failed if each.severity == "refuse"]
    alarm = Alarm("quality", report.subject, report.at, report.trouble, {"expectations": broken})
    settle_alarms(context, [alarm] if broken else [], checked=[("quality", report.subject)])
