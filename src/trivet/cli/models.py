"""``trivet models``: the registry."""

from __future__ import annotations

import click

from trivet.cli.output import Output, age, table
from trivet.cli.output import command as trivet_command

__all__ = ["command"]


@trivet_command("models", short_help="List registered models, or show one.")
@click.argument("reference", required=False)
def command(output: Output, reference: str | None) -> None:
    """List registered models, or show the one that REFERENCE (delay@champion, delay@2, delay) means."""
    project = output.project
    found = project.models() if reference is None else [project.model(reference)]
    rows, data = [], []
    for version in found:
        report = project.gate_report(version.digest)
        verdict = report.spec["verdict"] if report else "no gate report"
        data.append({**version.to_json(), "gate": verdict})
        rows.append(
            (
                version.name,
                version.version,
                ", ".join(version.aliases) or "-",
                verdict,
                age(version.registered, project.context.clock()),
                version.by,
                f"model:{version.digest[:12]}",
            )
        )
    shown = table(["model", "version", "aliases", "gate", "registered", "by", "artifact"], rows)
    output.say(data, shown if rows else "No model is registered yet.")
    if reference is not None and (report := project.gate_report(found[0].digest)) and not output.as_json:
        output.say(None, "", str(project.load(report)))
