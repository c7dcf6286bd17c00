"""``trivet runs``: what was executed, newest first."""

from __future__ import annotations

import click
import msgspec

from trivet.cli.output import Output, age, table
from trivet.cli.output import command as trivet_command

__all__ = ["command"]


@trivet_command("runs", short_help="List recorded runs.")
@click.option("--kind", help="Only runs of this kind: experiment, pipeline, task, training_set, gate, serve...")
@click.option("--name", help="Only runs of this name.")
@click.option("--status", type=click.Choice(["running", "finished", "failed", "killed", "cached"]))
@click.option("--limit", default=20, show_default=True, help="How many.")
def command(output: Output, kind: str | None, name: str | None, status: str | None, limit: int) -> None:
    """List recorded runs, newest first."""
    found = output.project.runs(kind=kind, name=name, status=status, limit=limit)
    now = output.project.context.clock()
    rows = [
        (run.id, run.kind, run.name, run.status, age(run.started, now), run.seconds, run.metrics or None)
        for run in found
    ]
    shown = table(["run", "kind", "name", "status", "started", "seconds", "metrics"], rows)
    output.say(msgspec.to_builtins(list(found)), shown if rows else "Nothing is recorded yet.")
