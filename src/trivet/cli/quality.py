"""``trivet quality``: what is expected of data, what checks found, what was set aside."""

from __future__ import annotations

import click

from trivet.cli.output import Noun, Output, age, table
from trivet.cli.output import command as trivet_command

__all__ = ["command"]

_SHOWN = 20


@click.group("quality", cls=Noun, short_help="List expectations and their last checks, learn, profile.")
def command() -> None:
    """List what is expected of sources and views; `trivet quality NAME` shows one with its last reports."""


@command.add_command
@trivet_command("show", short_help="List all expectations, or show those of one source or view.")
@click.argument("name", required=False)
def show(output: Output, name: str | None) -> None:
    """List what is expected and how the last check went, or show one NAME: flights, source.flights, view.congestion."""
    quality, now = output.project.quality, output.project.context.clock()
    every = quality.all()
    if name is None:
        last = {each.expectations.subject: quality.reports(each.expectations.subject, limit=1) for each in every}
        rows = [
            (
                *(subject, each.version, len(each.expectations.expected)),
                ("passed" if checked[0].report.passed else "broken") if checked else "never checked",
                age(checked[0].run.started, now) if checked else None,
                quality.refused(each.expectations.name).height or None,
            )
            for each in every
            for subject, checked in [(each.expectations.subject, last[each.expectations.subject])]
        ]
        shown = table(["of", "version", "expectations", "last check", "checked", "set aside"], rows)
        data = [
            {
                "subject": each.expectations.subject,
                "version": each.version,
                "expected": [str(one) for one in each.expectations.expected],
                "reports": [one.report.to_json() for one in last[each.expectations.subject]],
            }
            for each in every
        ]
        output.say(data, shown if rows else "Nothing is expected yet.")
        return
    found = quality.one(name)
    reports = quality.reports(found.expectations.subject)
    past = [
        (each.run.id, age(each.run.started, now), "passed" if each.report.passed else "broken", each.report.rows,
         each.report.refused, "; ".join(str(one) for one in each.report.failed))
        for each in reports
    ]  # fmt: skip
    told = {
        **found.expectations.to_spec(),
        "version": found.version,
        "reports": [{"run": each.run.id, **each.report.to_json()} for each in reports],
    }
    log = table(["check", "when", "verdict", "rows", "set aside", "broken"], past, fold=["broken"])
    output.say(told, str(found), "", log if past else f"Never checked: trivet check {found.expectations.subject}")


@command.add_command
@trivet_command("learn", short_help="Propose expectations from a period that was good.")
@click.argument("name")
@click.option("--since", metavar="TIME", help="Rows that became known from then on. [default: all]")
@click.option("--before", metavar="TIME", help="Rows that became known until then. [default: now]")
def learn(output: Output, name: str, since: str | None, before: str | None) -> None:
    """Print, as Python to put into your features.py, what could be expected of the source or view NAME."""
    found = output.project.learn_expectations(name, since=since, before=before)
    output.say(found.to_spec(), found.to_python())


@command.add_command
@trivet_command("profile", short_help="Show each column of a source over time.")
@click.argument("name")
@click.option("--per", default="1d", show_default=True, metavar="DURATION", help="The length of a period.")
@click.option("--since", metavar="TIME", help="Only rows that became known from then on.")
@click.option("--column", "columns", multiple=True, metavar="COLUMN", help="Only these; may be repeated.")
def profile(output: Output, name: str, per: str, since: str | None, columns: tuple[str, ...]) -> None:
    """Show rows, nulls, mean and range of each column of the source NAME in each period."""
    found = output.project.quality.profile(name, per=per, since=since)
    if columns:
        found = found.filter(found["column"].is_in(columns))
    named = ["period", "column", "rows", "nulls", "distinct", "mean", "low", "high"]
    rows = found.select(named).rows()
    rest = (
        [f"and {len(rows) - 2 * _SHOWN:,} more: --column and --since narrow it down"] if len(rows) > 2 * _SHOWN else []
    )
    output.say(found.to_dicts(), table(named, rows[-2 * _SHOWN :]), *rest)


@command.add_command
@trivet_command("refused", short_help="Show the rows that were set aside.")
@click.argument("name")
@click.option("--limit", default=_SHOWN, show_default=True, type=click.IntRange(min=0), help="How many.")
def refused(output: Output, name: str, limit: int) -> None:
    """Show the rows of the source or table NAME that were set aside, each with the reason; the newest last."""
    rows = output.project.quality.refused(name)
    newest = rows.tail(limit)
    shown = table(["reason", "row"], newest.select("reason", "row").rows(), fold=["reason", "row"])
    output.say(newest.to_dicts(), f"{rows.height:,} rows of {name} are set aside.", *([shown] if newest.height else []))
