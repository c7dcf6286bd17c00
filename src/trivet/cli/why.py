"""``trivet why``: why a step ran, or why it did not."""

from __future__ import annotations

import click

from trivet.cli.output import Output
from trivet.cli.output import command as trivet_command

__all__ = ["command"]


@trivet_command("why", short_help="Say why a step ran, or why it did not.")
@click.argument("step")
def command(output: Output, step: str) -> None:
    """Say which part of the key of STEP (a step's name or a run's id) changed since the run before."""
    found = output.project.why(step)
    output.say(found.to_json(), str(found))
