"""``trivet push``: events into a table of the project, and at once into the features that are served."""

from __future__ import annotations

from pathlib import Path

import click

from trivet.cli.output import Output
from trivet.cli.output import command as trivet_command

__all__ = ["command"]


@trivet_command("push", short_help="Add events to a table and to the features online.")
@click.argument("source")
@click.argument("file")
def command(output: Output, source: str, file: str) -> None:
    """Add the events of FILE (JSON lines, Parquet, CSV, Arrow) to the table SOURCE and to the features made from it.

    Repeating it changes nothing.
    """
    done = output.project.push(source, Path(file).absolute())
    output.say(done, str(done))
