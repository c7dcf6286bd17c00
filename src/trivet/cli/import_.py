"""``trivet import``: take what another project exported."""

from __future__ import annotations

from pathlib import Path

import click

from trivet.cli.output import Output
from trivet.cli.output import command as trivet_command

__all__ = ["command"]


@trivet_command("import", short_help="Take what another project exported.")
@click.argument("file", type=click.Path(path_type=Path))
def command(output: Output, file: Path) -> None:
    """Take the records and the content of FILE, which `trivet export` wrote, into this project.

    What is here already is kept, and no name is moved.
    """
    found = output.project.import_(file)
    data = {"run": found.subject.id, "runs": len(found.runs), "artifacts": len(found.artifacts)}
    what = f"{len(found.runs)} runs and {len(found.artifacts)} artifacts are here"
    output.say(
        data, f"{what}. It is about the {found.subject.kind} {found.subject.name!r}: trivet show run:{found.subject.id}"
    )
