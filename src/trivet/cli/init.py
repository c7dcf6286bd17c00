"""``trivet init``: a project is a folder with a ``trivet.toml``."""

from __future__ import annotations

from pathlib import Path

import click

from trivet.cli.output import Output
from trivet.cli.output import command as trivet_command
from trivet.errors import Conflict

__all__ = ["command"]

_TOML = """\
# A Trivet project. Everything has a default that needs no server; a URL moves a part elsewhere.
# See the whole list with its defaults in docs/reference/settings.md.

[ledger]
# url = "postgresql://user@host/database"

[blobs]
# url = "s3://bucket/prefix"

[serving]
# port = 8417
"""


@trivet_command("init", short_help="Make a project in a folder.")
@click.argument("folder", default=".", type=click.Path(path_type=Path, file_okay=False))
def command(output: Output, folder: Path) -> None:
    """Make a project in FOLDER (this one by default).

    Writes trivet.toml with every setting commented out, and keeps .trivet out of Git.
    """
    folder = folder.resolve()
    settings = folder / "trivet.toml"
    if settings.exists():
        raise Conflict(f"{settings} exists already. Edit it, or make the project in another folder.")
    folder.mkdir(parents=True, exist_ok=True)
    settings.write_text(_TOML, "utf-8")
    ignore = folder / ".gitignore"
    lines = ignore.read_text("utf-8").splitlines() if ignore.exists() else []
    if ".trivet/" not in lines:
        ignore.write_text("\n".join([*lines, ".trivet/", ""]), "utf-8")
    output.say(
        {"project": str(folder), "settings": str(settings)},
        f"A project in {folder}.",
        "Next: open it in Python with `import trivet as tv; project = tv.open()` and define a first feature view;",
        "`trivet server` shows its pages as they fill.",
    )
