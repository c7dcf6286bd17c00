"""``trivet features``: the feature views of the project."""

from __future__ import annotations

import click

from trivet.cli.output import Output, table
from trivet.cli.output import command as trivet_command

__all__ = ["command"]


@trivet_command("features", short_help="List feature views, or show one.")
@click.argument("name", required=False)
def command(output: Output, name: str | None) -> None:
    """List stored feature views, or show the definition of the one called NAME."""
    if name is None:
        views = output.project.feature_views()
        rows = [
            (each.name, each.version, each.view.entity.name, ", ".join(each.view.features), each.view.description)
            for each in views
        ]
        shown = table(["view", "version", "entity", "features", "description"], rows, fold=["features", "description"])
        found = [{**each.view.to_spec(), "version": each.version, "digest": each.digest} for each in views]
        output.say(found, shown if rows else "No feature views are stored yet.")
        return
    listed = output.project.feature_view(name)
    output.say({**listed.view.to_spec(), "version": listed.version, "digest": listed.digest}, str(listed))
