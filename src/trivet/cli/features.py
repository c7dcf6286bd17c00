"""``trivet features``: the definitions of the project, and what is asked of them."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import msgspec

from trivet.cli.output import Noun, Output, table
from trivet.cli.output import command as trivet_command
from trivet.errors import Invalid

__all__ = ["command"]


@click.group("features", cls=Noun, short_help="List feature views and services, show one, check, import.")
def command() -> None:
    """List the definitions of the project; `trivet features NAME` shows one."""


@command.add_command
@trivet_command("show", short_help="List all definitions, or show one.")
@click.argument("name", required=False)
def show(output: Output, name: str | None) -> None:
    """List feature views, on-demand views and services, or show the one called NAME."""
    if name is not None:
        one = output.project.feature_view(name)
        found = {**one.definition.to_spec(), "kind": one.kind, "version": one.version, "digest": one.digest}
        output.say(found, str(one))
        return
    listed = output.project.definitions()
    rows = [
        (
            *(each.name, each.kind.replace("_", " "), each.version, each.definition.owner),
            ", ".join(each.features),
            each.definition.description,
        )
        for each in listed
    ]
    columns = ["name", "kind", "version", "owner", "features", "description"]
    shown = table(columns, rows, fold=["features", "description"])
    specs = [
        {**each.definition.to_spec(), "kind": each.kind, "version": each.version, "digest": each.digest}
        for each in listed
    ]
    output.say(specs, shown if rows else "No features are defined yet.")


@command.add_command
@trivet_command("check", short_help="Look for leaks in a training set.")
@click.argument("training_set")
@click.option("--rows", default=300, show_default=True, help="How many rows to compute again, one by one.")
@click.option("--seed", default=0, show_default=True, help="Which rows are drawn.")
def check(output: Output, training_set: str, *, rows: int, seed: int) -> None:
    """Compute rows of TRAINING_SET again with a plain loop, and look for values that give the label away.

    Exits with 1 where something leaks or differs.
    """
    report = output.project.check_leaks(training_set, rows=rows, seed=seed)
    output.say(report.to_json(), str(report))
    if not report.ok:
        sys.exit(1)


@command.add_command
@trivet_command("import-feast", short_help="Bring the definitions of a Feast repository over.")
@click.argument("repository", type=click.Path(path_type=Path))
@click.option("--to", type=click.Path(path_type=Path), help="The file to write. [default: REPOSITORY/features.py]")
@click.option("--force", is_flag=True, help="Replace the file.")
def import_feast(output: Output, repository: Path, *, to: Path | None, force: bool) -> None:
    """Write the definitions of the Feast folder REPOSITORY as a Python file of Trivet's, and say what did not fit.

    The repository's Python files are executed; Feast itself need not be installed.
    """
    from trivet.interop.feast import import_feast as carry_over

    done = carry_over(repository)
    file = to or repository / "features.py"
    if file.exists() and not force:
        raise Invalid(f"{file} exists already. Name another with --to, or replace it with --force.")
    file.write_text(done.code, "utf-8")
    output.say({**msgspec.to_builtins(done), "file": str(file)}, str(done), f"\nWritten to {file}.")
