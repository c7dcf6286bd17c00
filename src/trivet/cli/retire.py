"""``trivet retire``: say that a deployment has done its work."""

from __future__ import annotations

import click

from trivet.cli.output import Output
from trivet.cli.output import command as trivet_command

__all__ = ["command"]


@trivet_command("retire", short_help="Say that a deployment has done its work; its alarms end.")
@click.argument("deployment")
@click.option("--why", required=True, help="The reason, kept on record with who gave it.")
def command(output: Output, deployment: str, why: str) -> None:
    """Retire DEPLOYMENT (a model's name or a deployment's id): it is watched no more and its alarms end.

    One that still answers is stopped first, with Ctrl-C. What it predicted stays on record.
    """
    found = output.project.retire(deployment, why=why)
    output.say(found.to_json(), f"{found.name}@{found.version} (deployment run:{found.id}) is retired.")
