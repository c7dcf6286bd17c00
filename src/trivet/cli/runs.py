"""``trivet runs``: what was executed, newest first."""

from __future__ import annotations

import click
import msgspec

from trivet.cli.output import Output, age, seconds, shortlist, table
from trivet.cli.output import command as trivet_command
from trivet.tracking.processes import status_of

__all__ = ["command"]


@trivet_command("runs", short_help="List recorded runs.")
@click.option("--kind", help="Only runs of this kind: experiment, pipeline, task, training_set, gate, serve...")
@click.option("--name", help="Only runs of this name.")
@click.option("--status", type=click.Choice(["running", "finished", "failed", "killed", "cached", "dead"]))
@click.option("--limit", default=20, show_default=True, type=click.IntRange(min=0), help="How many.")
def command(output: Output, kind: str | None, name: str | None, status: str | None, limit: int) -> None:
    """List recorded runs, newest first."""
    found = output.project.runs(kind=kind, name=name, status=status, limit=limit)
    now = output.project.context.clock()
    rows = [
        (
            run.id,
            run.kind,
            run.name,
            status_of(run, host=output.project.context.host),
            age(run.started, now),
            seconds(run.seconds),
            shortlist(run.metrics),
        )
        for run in found
    ]
    shown = table(["run", "kind", "name", "status", "started", "took", "metrics"], rows, fold=["name", "metrics"])
    nothing = "No such runs." if kind or name or status else f"Nothing is recorded yet in {output.project.root}."
    output.say(msgspec.to_builtins(list(found)), shown if rows else nothing)
