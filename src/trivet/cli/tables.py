"""``trivet tables``: the project's own tables of events."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from trivet.cli.output import Noun, Output, age, seconds, table
from trivet.cli.output import command as trivet_command

if TYPE_CHECKING:
    from trivet.features.tables.lateness import Lateness
    from trivet.ledger import Run

__all__ = ["command"]


@click.group("tables", cls=Noun, short_help="List the project's tables, or ingest, erase, compact, drop.")
def command() -> None:
    """List the tables of the project; `trivet tables NAME` shows one and its versions."""


@command.add_command
@trivet_command("show", short_help="List all tables, or show one.")
@click.argument("name", required=False)
def show(output: Output, name: str | None) -> None:
    """List all tables, or show the one called NAME with its versions."""
    project = output.project
    if name is None:
        infos = project.tables.list()
        rows = [(i.name, i.version, i.rows, i.refused, ", ".join(i.rules.key), i.watermark, i.size) for i in infos]
        shown = table(["table", "version", "rows", "refused", "key", "newest event", "bytes"], rows)
        output.say(infos, shown if rows else "No table has rows yet. Fill one: trivet tables ingest NAME FILE")
        return
    info, versions = project.tables.describe(name), project.tables.history(name)
    rules = [(field, _said(getattr(info.rules, field))) for field in info.rules.__struct_fields__]
    columns = table(["column", "type"], list(info.columns.items()))
    now: datetime = project.context.clock()
    made = [(v.version, v.operation, v.counts or None, age(v.at, now), v.run) for v in versions]
    head = f"{info.name}, version {info.version}: {info.rows:,} rows, {info.refused:,} refused, {info.files} files"
    log = table(["version", "by", "rows", "made", "run"], made)
    late, gone = project.tables.lateness(name), project.tables.erasures(name)
    said = [*_late(late), *(_erased(run, now) for run in gone)]
    data = {"table": info, "versions": versions, "lateness": late, "erasures": list(gone)}
    output.say(data, head, *said, table(["", ""], rules), columns, log)


@command.add_command
@trivet_command("ingest", short_help="Take the rows of a file in, each once.")
@click.argument("name")
@click.argument("file")
@click.option("--key", multiple=True, metavar="COLUMN", help="Names a row; may be repeated. All columns by default.")
@click.option("--event-time", metavar="COLUMN", help="Says when a row happened.")
@click.option("--known-at", metavar="COLUMN", help="Says from when it could be known.")
@click.option("--created", metavar="COLUMN", help="What to call the time at which a row reached us.")
@click.option("--keep", type=click.Choice(["first", "last", "all"]), help="What a second content of a key means.")
@click.option("--timezone", metavar="ZONE", help="The zone of times that have none.")
@click.option("--batch", metavar="TEXT", help="What this delivery is called, with --keep all.")
@click.option(
    "--history", is_flag=True, help="The rows were known when they happened: they count from then, not from now."
)
def ingest(output: Output, name: str, file: str, key: tuple[str, ...], **rules: Any) -> None:
    """Take the rows of FILE (Parquet, CSV, Arrow, JSON lines) into the table NAME. Repeating it changes nothing."""
    from pathlib import Path

    report = output.project.tables.ingest(name, Path(file).absolute(), key=list(key) or None, **rules)
    refused = [f"{count:,} refused: {reason}" for reason, count in report.reasons.items()]
    output.say(report, str(report), *refused)


@command.add_command
@trivet_command("erase", short_help="Remove someone's rows from all versions.")
@click.argument("name")
@click.argument("values", nargs=-1, required=True, metavar="COLUMN=VALUE...")
@click.option("--why", required=True, help="The reason; the ledger keeps it. No personal data, please.")
@click.option(
    "--everywhere",
    is_flag=True,
    help="Also remove artifacts, reports, predictions and other refused rows that hold it.",
)
def erase(output: Output, name: str, values: tuple[str, ...], why: str, everywhere: bool) -> None:
    """Remove the rows of the table NAME with these values from all of its versions, for good."""
    of = {column: value for column, sign, value in (each.partition("=") for each in values) if sign}
    if len(of) != len(values):
        raise click.UsageError("Write whose rows as COLUMN=VALUE, each column once.")
    gone = output.project.tables.erase(name, of, why=why, everywhere=everywhere)
    output.say(gone, str(gone))


@command.add_command
@trivet_command("drop", short_help="Remove a table with all its versions.")
@click.argument("name")
@click.option("--why", required=True, help="The reason; the ledger keeps it.")
@click.option("--force", is_flag=True, help="Also where something in use is made from it.")
def drop(output: Output, name: str, *, why: str, force: bool) -> None:
    """Remove the table NAME with all its versions and refused rows. What was made from it stays on record."""
    gone = output.project.tables.drop(name, why=why, force=force)
    output.say(gone, str(gone))


@command.add_command
@trivet_command("compact", short_help="Put small files together.")
@click.argument("name")
@click.option("--retention", default="7d", show_default=True, help="Keep replaced files so long for other readers.")
def compact(output: Output, name: str, retention: str) -> None:
    """Put the small files of the table NAME together. Its versions stay readable."""
    done = output.project.tables.compact(name, retention=retention)
    output.say(done, str(done))


def _late(found: Lateness) -> list[str]:
    if found.worst is None:
        return []
    within = f"95 % within {seconds(found.most_of_all)}, all within {seconds(found.worst)}"
    return [f"{found.late:,} rows came after one of a later time; {within}"]


def _erased(run: Run, now: datetime) -> str:
    why = run.tags.get("why", "")
    return f"erased {age(run.started, now)} by {run.user}: {run.metrics.get('rows', 0):.0f} rows. {why}"


def _said(value: Any) -> Any:
    return ", ".join(value) if isinstance(value, tuple) else value
