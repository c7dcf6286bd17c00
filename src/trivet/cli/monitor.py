"""``trivet monitor``: check a deployed model."""

from __future__ import annotations

import sys

import click

from trivet.cli.output import Output
from trivet.cli.output import command as trivet_command

__all__ = ["command"]


@trivet_command("monitor", short_help="Check a deployed model: labels, drift, heartbeats, alarms.")
@click.argument("deployment", required=False)
def command(output: Output, deployment: str | None) -> None:
    """Check DEPLOYMENT (a model's name or a deployment's id; all of them by default).

    Joins the labels that have come, measures performance and drift, checks the heartbeats, and raises or clears
    alarms. Exit code 1 while an alarm is open.
    """
    project = output.project
    newest = {(each.name, each.version): each.id for each in reversed(project.deployments()) if each.state != "retired"}
    reports = [project.monitor(each) for each in ([deployment] if deployment else newest.values())]
    shown = [str(report) for report in reports] or ["Nothing is deployed."]
    output.say([report.to_json() for report in reports], *shown)
    if any(report.alarms for report in reports):
        sys.exit(1)
