"""``trivet check``: whether data is what is expected of it."""

from __future__ import annotations

import sys

import click

from trivet.cli.output import Output
from trivet.cli.output import command as trivet_command

__all__ = ["command"]


@trivet_command("check", short_help="Check what is expected of sources and feature views.")
@click.argument("names", metavar="[SOURCE|VIEW]...", nargs=-1)
@click.option("--at", metavar="TIME", help="Judge freshness, volume and views as of then. [default: now]")
def command(output: Output, names: tuple[str, ...], at: str | None) -> None:
    """Check what is expected of each SOURCE or VIEW; of all, if none is named.

    Fails if a refusing expectation is broken. A name that a source and a view share is written source.NAME or
    view.NAME.
    """
    wanted = names or tuple(each.expectations.subject for each in output.project.quality.all())
    reports = [output.project.check(name, at=at) for name in wanted]
    output.say([each.to_json() for each in reports], *(map(str, reports) if reports else ["Nothing is expected yet."]))
    if not all(each.passed for each in reports):
        sys.exit(1)
