"""``trivet export``: one file with all that it takes to make a thing again elsewhere."""

from __future__ import annotations

from pathlib import Path

import click

from trivet.cli.output import Output
from trivet.cli.output import command as trivet_command

__all__ = ["command"]


@trivet_command("export", short_help="Write a file that makes a thing again elsewhere.")
@click.argument("reference")
@click.option("-o", "--output", "file", required=True, type=click.Path(path_type=Path), help="The file to write.")
def command(output: Output, reference: str, file: Path) -> None:
    """Write what it takes to make REFERENCE again into a file: records, code, lock and content.

    `trivet reproduce FILE` makes it again on another machine, `trivet import FILE` takes it into a project. The same
    thing gives the same bytes.
    """
    found = output.project.export(reference, file)
    size = file.stat().st_size
    data = {"file": str(file), "bytes": size, "run": found.subject.id, "runs": len(found.runs)}
    data |= {"artifacts": len(found.artifacts), "blobs": len(found.files)}
    what = f"{len(found.runs)} runs, {len(found.artifacts)} artifacts, {size:,} bytes"
    output.say(data, f"{file}: {found.subject.kind} {found.subject.name!r} with {what}.", f"trivet reproduce {file}")
