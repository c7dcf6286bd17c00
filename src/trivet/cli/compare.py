"""``trivet compare``: what differs among runs, side by side."""

from __future__ import annotations

from typing import Any

import click
from msgspec import UNSET

from trivet.cli.output import Output
from trivet.cli.output import command as trivet_command

__all__ = ["command"]


@trivet_command("compare", short_help="Show what differs among runs, side by side.")
@click.argument("runs", nargs=-1)
@click.option("--where", metavar="QUERY", help="Also the runs that fit, as of `trivet runs QUERY`.")
@click.option("--order", metavar="FIELDS", help="Such as 'metrics.auc desc', for the first that fit.")
@click.option("--limit", default=10, show_default=True, type=click.IntRange(min=0), help="How many of those that fit.")
@click.option("--importance", metavar="METRIC", help="Say which parameters go with this metric instead.")
@click.option("--export", metavar="FILE", help="Write the differences into FILE.csv or FILE.parquet.")
def command(
    output: Output, runs: tuple[str, ...], where: str | None, order: str | None, limit: int, importance: str | None,
    export: str | None,
) -> None:  # fmt: skip
    """Show what differs among RUNS: parameters, metrics, inputs, code and environment."""
    words: dict[str, Any] = {"query": where or "", "order": order or "", "limit": limit} if where or order else {}
    if not runs and not words:
        raise click.UsageError("Name two runs or more, or say which with --where.")
    found = output.project.compare(*runs, **words)
    if importance:
        weights = found.weights(importance)
        output.say(weights, str(weights))
        return
    said = [f"Wrote {len(found.rows)} differences to {found.export(export)}."] if export else [str(found)]
    rows = [
        {"section": row.section, "name": row.name, "values": [None if v is UNSET else v for v in row.values]}
        for row in found.rows
    ]
    output.say({"runs": found.runs, "rows": rows}, *said)
