"""``trivet diff``: what differs between two things."""

from __future__ import annotations

import click

from trivet.cli.output import Output
from trivet.cli.output import command as trivet_command

__all__ = ["command"]


@trivet_command("diff", short_help="Show what differs between two things.")
@click.argument("a")
@click.argument("b")
@click.option("--key", multiple=True, metavar="COLUMN", help="Of tables: a column that says which row is which.")
def command(output: Output, a: str, b: str, key: tuple[str, ...]) -> None:
    """Show what differs between A and B.

    Two runs, models, training sets, feature views, predictions (prediction:ID) or other artifacts; delay@2026-10-01 is
    what was in force under a name when that day began. What each difference does to the result says `trivet why A B`.
    """
    found = output.project.diff(a, b, key=key or None)
    output.say(found.to_json(), str(found))
