"""``trivet reproduce``: make a thing again in a clean place and compare."""

from __future__ import annotations

import sys

import click

from trivet.cli.output import Output
from trivet.cli.output import command as trivet_command

__all__ = ["command"]


@trivet_command("reproduce", short_help="Make a thing again in a clean place and compare.")
@click.argument("reference")
@click.option(
    "--environment",
    type=click.Choice(["locked", "current"]),
    default="locked",
    show_default=True,
    help="A fresh environment from the recorded lock, or the one this command runs in.",
)
def command(output: Output, reference: str, environment: str) -> None:
    """Make REFERENCE again: a run, training set, model, gate report or prediction:ID.

    Code, environment, inputs, parameters, seed and threads are restored from the record, the same function runs, and
    the outputs are compared at the levels bytes, canonical, predictions, metrics. Exit code 1 when they differ.
    """
    found = output.project.reproduce(reference, environment=environment, progress=output.note)
    output.say(found.to_json(), str(found))
    if not found.ok:
        sys.exit(1)
