"""``trivet monitor``: check a deployed model."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from trivet.cli.output import Output
from trivet.cli.output import command as trivet_command

if TYPE_CHECKING:
    from trivet.features.skew.report import SkewReport
    from trivet.monitoring.report import MonitorReport
    from trivet.project import Project

__all__ = ["command", "watched"]


@trivet_command("monitor", short_help="Check a deployed model: labels, drift, heartbeats, alarms.")
@click.argument("deployment", required=False)
@click.option("--audit", is_flag=True, help="Audit for skew first, where the last audit is old.")
def command(output: Output, deployment: str | None, *, audit: bool) -> None:
    """Check DEPLOYMENT (a model's name or a deployment's id; all of them by default).

    Joins the labels that have come, measures performance and drift, checks the heartbeats, and raises or clears
    alarms; says what the last audit of the served features found. Exit code 1 while an alarm is open.
    """
    project = output.project
    names = [deployment] if deployment else watched(project)
    for each in names if audit else ():
        if project.audit_is_due(each):
            project.audit(each)
    reports, audits = [project.monitor(each) for each in names], [project.last_audit(each) for each in names]
    shown = [_shown(*pair) for pair in zip(reports, audits, strict=True)] or ["Nothing is deployed."]
    found = [
        {**report.to_json(), "skew": last and last.to_json()} for report, last in zip(reports, audits, strict=True)
    ]
    output.say(found, *shown)
    subjects = {report.subject.name for report in reports}
    skewed = any(each.alarm.kind == "skew" and each.alarm.subject in subjects for each in project.alarms())
    if skewed or any(report.alarms for report in reports):
        sys.exit(1)


def watched(project: Project) -> list[str]:
    """The newest deployment of each version that is not retired."""
    newest = {(each.name, each.version): each.id for each in reversed(project.deployments()) if each.state != "retired"}
    return list(newest.values())


def _shown(report: MonitorReport, last: SkewReport | None) -> str:
    if last is None:
        return f"{report}\n  skew             never audited; `trivet features audit` does"
    bad = [f"    {each}" for each in last.features if each.mismatches]
    found = f"{last.mismatches:,} of {last.cells:,} values differ, audited {last.at:%Y-%m-%d %H:%M} UTC"
    return "\n".join([str(report), f"  skew             {found}", *bad])
