"""``trivet promote``: move an alias."""

from __future__ import annotations

import click

from trivet.cli.output import Output
from trivet.cli.output import command as trivet_command

__all__ = ["command"]


@trivet_command("promote", short_help="Point an alias of a model at a version.")
@click.argument("name")
@click.argument("version", type=int)
@click.option("--alias", default="champion", show_default=True)
@click.option("--why", default="", help="The reason, kept in the history of the name.")
def command(output: Output, name: str, version: int, alias: str, why: str) -> None:
    """Point ALIAS of the model NAME at VERSION."""
    found = output.project.promote(name, version, alias, why=why)
    if (report := output.project.gate_report(found.digest)) is None or report.spec["verdict"] != "pass":
        verdict = "no gate report" if report is None else f"a gate report that says {report.spec['verdict']!r}"
        output.note(f"It has {verdict}, so it will not be served until it passes a gate.")
    output.say(found.to_json(), f"{name}@{alias} is now version {found.version} (model:{found.digest[:12]}).")
