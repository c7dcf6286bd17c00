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
        rows = [(view.name, view.entity.name, ", ".join(view.features), view.description) for view in views]
        shown = table(["view", "entity", "features", "description"], rows)
        output.say([view.to_spec() for view in views], shown if rows else "No feature views are stored yet.")
        return
    view = output.project.feature_view(name)
    rows = [(feature, str(definition)) for feature, definition in view.features.items()]
    heading = f"{view.name}, of {view.entity.name} from {view.source.name}. {view.description}"
    output.say(view.to_spec(), heading, table(["feature", "definition"], rows))
