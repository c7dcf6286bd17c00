"""``trivet show``: whatever an id means."""

from __future__ import annotations

import click
import msgspec

from trivet.cli.output import Output, table
from trivet.cli.output import command as trivet_command
from trivet.ledger import Run

__all__ = ["command"]


@trivet_command("show", short_help="Show whatever an id means.")
@click.argument("reference")
def command(output: Output, reference: str) -> None:
    """Show what REFERENCE means: an artifact, a run, a model, a prediction; any unambiguous start of an id will do."""
    project = output.project
    if reference.startswith("prediction:"):
        found = project.prediction(reference.removeprefix("prediction:"))
        output.say(found, table(["", ""], list(found.items())))
        return
    record = project.get(reference)
    data = msgspec.to_builtins(record)
    heading = f"run:{record.id}" if isinstance(record, Run) else record.id
    rows = [(key, value) for key, value in data.items() if value not in (None, "", {}, [])]
    output.say(data, heading, table(["", ""], rows))
