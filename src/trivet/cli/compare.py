"""``trivet compare``: what differs among runs, side by side."""

from __future__ import annotations

import click

from trivet.cli.output import Output
from trivet.cli.output import command as trivet_command

__all__ = ["command"]


@trivet_command("compare", short_help="Show what differs among runs, side by side.")
@click.argument("runs", nargs=-1, required=True)
def command(output: Output, runs: tuple[str, ...]) -> None:
    """Show what differs among RUNS: parameters, metrics, inputs, code and environment."""
    found = output.project.compare(*runs)
    output.say(found, str(found))
