"""``trivet sync``: hand in what runs left on this machine when they were killed or the ledger was away."""

from __future__ import annotations

import click

from trivet.cli.output import Output
from trivet.cli.output import command as trivet_command

__all__ = ["command"]


@trivet_command("sync", short_help="Hand in what killed or cut-off runs left in the spool.")
def command(output: Output) -> None:
    """Hand in what runs of dead processes left in .trivet/spool: they were killed, or the ledger was away.

    Opening a project does the same. What the ledger refuses for good is kept beside, and the exit status is 1.
    """
    done = output.project.sync()
    told = [f"{one.run}: " + (one.refused or f"{one.points:,} points") for one in done]
    output.say([one._asdict() for one in done], "\n".join(told) or "Nothing was left behind.")
    if any(one.refused for one in done):
        raise click.exceptions.Exit(1)
