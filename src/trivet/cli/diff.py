"""``trivet diff``: what differs between two things."""

from __future__ import annotations

import click

from trivet.cli.output import Output
from trivet.cli.output import command as trivet_command

__all__ = ["command"]


@trivet_command("diff", short_help="Show what differs between two things.")
@click.argument("a")
@click.argument("b")
def command(output: Output, a: str, b: str) -> None:
    """Show what differs between A and B, two runs, models, training sets or other artifacts."""
    found = output.project.diff(a, b)
    output.say(found, str(found))
