"""``trivet runs``: what was executed, newest first or as asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec

from trivet.cli.output import Output, age, seconds, shortlist, table
from trivet.cli.output import command as trivet_command
from trivet.tracking.processes import status_of
from trivet.tracking.search import RunList, as_table

__all__ = ["command"]


@trivet_command("runs", short_help="List or search recorded runs.")
@click.argument("query", required=False, default="")
@click.option("--kind", help="Only runs of this kind: experiment, pipeline, task, training_set, gate, serve...")
@click.option("--name", help="Only runs of this name.")
@click.option("--status", type=click.Choice(["running", "finished", "failed", "killed", "cached", "dead"]))
@click.option("--experiment", help="Only runs of this experiment, by name or id.")
@click.option("--deleted", type=click.Choice(["no", "only", "both"]), help="Whether runs in the bin are seen. [no]")
@click.option("--order", metavar="FIELDS", help="Such as 'metrics.auc desc, started'; newest first by default.")
@click.option("--limit", type=click.IntRange(min=0), help="How many. [default: 20; all of a file]")
@click.option("--after", metavar="CURSOR", help="Go on behind the list that ended with this.")
@click.option("--count", is_flag=True, help="Only say how many there are.")
@click.option("--columns", metavar="NAMES", help="Such as id,name,params.depth,metrics.auc.")
@click.option("--export", metavar="FILE", help="Write them all into FILE.csv or FILE.parquet.")
def command(
    output: Output, query: str, limit: int | None, after: str | None, count: bool, columns: str | None,
    export: str | None, **words: Any,
) -> None:  # fmt: skip
    """List the recorded runs that fit QUERY, such as "metrics.auc > 0.7 and params.depth = 3"; without it all.

    Fields are metrics.NAME (.min, .max, .step, .count), params.NAME, tags.NAME, name, status, kind, user, host,
    experiment, started, ended, seconds. Join them with and, or, not and parentheses; in, like, is null; started > -7d;
    uses(REFERENCE), made(REFERENCE), made_from(REFERENCE), leads_to(REFERENCE).
    """
    words = {name: value for name, value in words.items() if value is not None}
    chosen = [one.strip() for one in columns.split(",") if one.strip()] if columns else None
    if count:
        words.pop("order", None)
        number = output.project.count_runs(query, **words)
        output.say({"count": number}, str(number))
    elif export:
        _export(output, query, Path(export), {"columns": chosen, "limit": limit, "after": after, **words})
    else:
        found = output.project.runs(query, limit=20 if limit is None else limit, after=after, **words)
        _show(output, found, chosen, asked=bool(query or words))


def _export(output: Output, query: str, path: Path, words: dict[str, Any]) -> None:
    from trivet.tracking.exports import export_runs

    number = export_runs(output.project.context, path, query, **words)
    output.say({"file": str(path), "runs": number}, f"Wrote {number} runs to {path}.")


def _show(output: Output, found: RunList, chosen: list[str] | None, *, asked: bool) -> None:
    host = output.project.context.host
    if chosen:
        rows = as_table(found, host=host, columns=chosen)
        shown = table(chosen, [[_said(row[name]) for name in chosen] for row in rows], fold=chosen)
        data: Any = rows
    else:
        shown = _usual(output, found)
        data = msgspec.to_builtins(list(found))
    nothing = "No such runs." if asked else f"Nothing is recorded yet in {output.project.root}."
    output.say(data, shown if found else nothing)
    if found.after:
        output.note(f"There are more: --after {found.after}")


def _usual(output: Output, found: RunList) -> Any:
    context = output.project.context
    now = context.clock()
    rows = [
        (
            run.id,
            run.kind,
            run.name,
            status_of(run, host=context.host),
            age(run.started, now),
            seconds(run.seconds),
            shortlist(run.metrics),
        )
        for run in found
    ]
    return table(["run", "kind", "name", "status", "started", "took", "metrics"], rows, fold=["name", "metrics"])


def _said(value: Any) -> Any:
    return value.isoformat(sep=" ", timespec="seconds") if hasattr(value, "isoformat") else value
