"""The command line: one file per noun, loaded when used, calling only the public API."""

from __future__ import annotations

from importlib import import_module
from keyword import iskeyword

import click

from trivet import __version__

__all__ = ["main"]

COMMANDS = {
    "init": "Make a project in a folder.",
    "run": "Run a pipeline of a file or folder.",
    "runs": "List recorded runs.",
    "sync": "Hand in what killed or cut-off runs left in the spool.",
    "compare": "Show what differs among runs, side by side.",
    "features": "List, define and find features; join, materialize, read, audit.",
    "tables": "List the project's tables; ingest, erase, compact.",
    "push": "Add events to a table and to the features online.",
    "check": "Check what is expected of sources and feature views.",
    "quality": "List what is expected and how checks went; learn, profile.",
    "series": "List time series, show one, read or write.",
    "models": "List registered models, or show one.",
    "promote": "Point an alias of a model at a version.",
    "serve": "Answer predictions of a model, or features, over HTTP.",
    "retire": "Say that a deployment has done its work; its alarms end.",
    "server": "Show the web pages and the API.",
    "monitor": "Check a deployed model: labels, drift, heartbeats, alarms.",
    "show": "Show whatever an id means.",
    "lineage": "Show where a thing came from, or what came of it.",
    "diff": "Show what differs between two things.",
    "reproduce": "Make a thing again in a clean place and compare.",
    "export": "Write a file that makes a thing again elsewhere.",
    "import": "Take what another project exported.",
    "why": "Say why a step ran, or what makes two runs differ.",
}


class LazyGroup(click.Group):
    """Knows its commands by name and imports the file of one when it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """In the order of the table above, which follows the work."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:  # noqa: ARG002
        """The command, imported now."""
        if name not in COMMANDS:
            return None
        command: click.Command = import_module(f"trivet.cli.{name}{'_' if iskeyword(name) else ''}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with the nearest names where there is no such command."""
        from trivet.errors import NotFound

        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            raise click.UsageError(str(NotFound("command", args[0], COMMANDS)), ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """The table, without importing a single command."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="trivet")
def main() -> None:
    """MLOps on three legs: access to data, keeping track, deployment.

    Every command takes --json for machines and --project FOLDER for another folder than this one.
    """
