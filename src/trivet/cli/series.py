"""``trivet series``: values over time under a name."""

from __future__ import annotations

from typing import Any

import click
import msgspec

from trivet.cli.output import Noun, Output, age, table
from trivet.cli.output import command as trivet_command
from trivet.errors import Invalid

__all__ = ["command"]

_SHOWN = 40


@click.group("series", cls=Noun, short_help="List time series, show one, read or write.")
def command() -> None:
    """List the time series of the project; `trivet series NAME` shows one, or those of a namespace."""


@command.add_command
@trivet_command("show", short_help="List all series, or show one.")
@click.argument("name", required=False)
def show(output: Output, name: str | None) -> None:
    """List all series or those of the namespace NAME, or show the one called NAME, such as energy:price."""
    project = output.project
    if name is not None and ":" in name:
        info = project.series.describe(name)
        told = [(field.replace("_", " "), _said(value)) for field, value in msgspec.structs.asdict(info).items()]
        output.say(info, table(["", ""], told))
        return
    infos, now = project.series.list(name), project.context.clock()
    rows = [(i.name, i.type, _said(i.by), i.rows, i.revised, i.first, i.last, age(i.updated, now)) for i in infos]
    columns = ["series", "type", "by", "values", "revised", "first", "last", "updated"]
    output.say(
        infos, table(columns, rows) if rows else "There is no series yet. Write one: trivet series write NAME FILE"
    )


@command.add_command
@trivet_command("write", short_help="Write the values of a file.")
@click.argument("name")
@click.argument("file")
@click.option("--time", metavar="COLUMN", help="Says when. [default: time, or the only column of times]")
@click.option("--by", multiple=True, metavar="COLUMN", help="Tells the members of a panel apart; may be repeated.")
@click.option("--known-at", metavar="COLUMN", help="Says from when a value could be known.")
@click.option("--timezone", metavar="ZONE", help="The zone of times that have none.")
@click.option(
    "--ambiguous",
    type=click.Choice(["earliest", "latest", "null"]),
    help="Local times that happen twice. [default: refused]",
)
@click.option("--nonexistent", type=click.Choice(["null"]), help="Local times that never happen. [default: refused]")
def write(output: Output, name: str, file: str, *, by: tuple[str, ...], **options: Any) -> None:
    """Write the columns of FILE (Parquet, CSV, Arrow, JSON lines) as series of the namespace NAME, or as one series."""
    from pathlib import Path

    given = {option: value for option, value in options.items() if value is not None}
    written = output.project.series.write(name, Path(file).absolute(), by=list(by) or None, **given)
    output.say(written, str(written))


@command.add_command
@trivet_command("read", short_help="Read series as one table.")
@click.argument("series", nargs=-1, required=True, metavar="SERIES...")
@click.option("--freq", metavar="DURATION", help="The step of the grid. [default: the times of the values]")
@click.option("--start", metavar="TIME", help="The first moment; what was before is carried into it.")
@click.option("--end", metavar="TIME", help="The moment before which it ends.")
@click.option("--fill", type=click.Choice(["previous", "none", "linear", "zero"]), help="What is between values.")
@click.option("--max-gap", metavar="DURATION", help="How old a value may get that is carried on.")
@click.option("--timezone", metavar="ZONE", help="Of the grid, the answer, and times that have none.")
@click.option("--time-travel", metavar="DURATION", help="Only what was known so long before (-1d) or after its time.")
@click.option("--as-known-at", metavar="TIME", help="Only what was known at that moment.")
@click.option("--of", "members", multiple=True, metavar="KEY=VALUE", help="Members of a panel; may be repeated.")
@click.option("--csv", "as_csv", is_flag=True, help="Answer in CSV.")
def read(output: Output, series: tuple[str, ...], *, members: tuple[str, ...], as_csv: bool, **options: Any) -> None:
    """Read SERIES, such as energy:price or energy:*, as one aligned table."""
    of: dict[str, list[str]] = {}
    for each in members:
        key, sign, value = each.partition("=")
        if not sign:
            raise click.UsageError("Write members of a panel as KEY=VALUE.")
        of.setdefault(key, []).append(value)
    found = output.project.series.read(list(series), of=of, **options)
    if as_csv and output.as_json:
        raise Invalid("Ask for --csv or --json, not both.")
    if as_csv:
        click.echo(found.write_csv(datetime_format="%Y-%m-%dT%H:%M:%S%.f%:z"), nl=False)
        return
    rows = found.rows()
    shown = [[_said(value) for value in row] for row in rows[:_SHOWN]]
    rest = [f"and {len(rows) - _SHOWN:,} more"] if len(rows) > _SHOWN else []
    output.say(found.to_dicts(), table(found.columns, shown), *rest)


@command.add_command
@trivet_command("drop", short_help="Remove a series with all that it ever was.")
@click.argument("name")
@click.option("--why", required=True, help="The reason; the ledger keeps it.")
@click.option("--force", is_flag=True, help="Also where something in use is made from it.")
def drop(output: Output, name: str, *, why: str, force: bool) -> None:
    """Remove the series NAME, such as energy:price, with all its corrections."""
    output.project.series.drop(name, why=why, force=force)
    output.say({"series": name, "why": why}, f"{name} is removed.")


@command.add_command
@trivet_command("revisions", short_help="Show what was corrected.")
@click.argument("name")
@click.option("--limit", default=_SHOWN, show_default=True, type=click.IntRange(min=0), help="How many.")
def revisions(output: Output, name: str, limit: int) -> None:
    """Show the corrections of the series NAME, the newest first: what a time was said to be, and is since when."""
    found = output.project.series.revisions(name)
    rows = [[_said(value) for value in row] for row in found.head(limit).rows()]
    rest = [f"and {found.height - limit:,} more"] if found.height > limit else []
    output.say(found.to_dicts(), table(found.columns, rows) if rows else f"{name} was never corrected.", *rest)


def _said(value: Any) -> Any:
    if isinstance(value, tuple):
        return ", ".join(value)
    return value.isoformat() if hasattr(value, "isoformat") else value
