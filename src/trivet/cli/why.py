"""``trivet why``: why a step ran; of two runs or models, what makes the difference between them."""

from __future__ import annotations

import click

from trivet.cli.output import Output
from trivet.cli.output import command as trivet_command

__all__ = ["command"]


@trivet_command("why", short_help="Say why a step ran, or what makes two runs differ.")
@click.argument("a")
@click.argument("b", required=False)
@click.option("--budget", metavar="TIME", help='Of two: how long it may take, such as "10m"; the rest is estimated.')
@click.option(
    "--environment",
    type=click.Choice(["auto", "locked", "current"]),
    default="auto",
    show_default=True,
    help="Of two: build recorded libraries where they are not those of this command, always, or never.",
)
def command(output: Output, a: str, b: str | None, budget: str | None, environment: str) -> None:
    """Say why step A ran (a step's name or a run's id), or what makes the difference between A and B.

    Of two runs or models, what differs in code, data, environment, parameters and seed is swapped from A to B, every
    combination is executed in a clean place, and the change of each metric and of the predictions is divided among them.
    """
    if b is None:
        explained = output.project.why(a)
        output.say(explained.to_json(), str(explained))
        return
    found = output.project.why(a, b, budget=budget, environment=environment)
    output.say(found.to_json(), str(found))
