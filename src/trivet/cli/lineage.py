"""``trivet lineage``: where a thing came from, or what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from trivet.cli.output import Output
from trivet.cli.output import command as trivet_command

if TYPE_CHECKING:
    from trivet.ledger.lineage import Lineage

__all__ = ["command"]


@trivet_command("lineage", short_help="Show where a thing came from, or what came of it.")
@click.argument("reference")
@click.option("--down", is_flag=True, help="What came of it, instead of where it came from.")
@click.option("--depth", type=int, help="How many runs away at most.")
def command(output: Output, reference: str, down: bool, depth: int | None) -> None:
    """Show the runs and artifacts that led to REFERENCE, back to raw files."""
    from rich.tree import Tree

    project = output.project
    if reference.startswith("prediction:"):
        reference = project.prediction(reference.removeprefix("prediction:"))["digest"]
    start = project.artifact(reference)
    found = project.lineage(start, down=down, depth=depth)
    data = {
        "start": start.digest,
        "artifacts": {digest: item.id for digest, item in found.artifacts.items()},
        "runs": {id: f"{item.kind} {item.name}" for id, item in found.runs.items()},  # noqa: A001
        "edges": [[edge.source, edge.target, edge.slot] for edge in found.edges],
    }
    tree = Tree(start.id)
    _grow(tree, found, start.digest, down=down, path=frozenset())
    output.say(data, tree)


def _grow(tree: Any, lineage: Lineage, node: str, *, down: bool, path: frozenset[str]) -> None:
    """Hang what is one step from ``node`` below it; what was on the path already is not repeated."""
    for edge in lineage.edges:
        here, there = (edge.source, edge.target) if down else (edge.target, edge.source)
        if here != node or there in path:
            continue
        if there in lineage.runs:
            run = lineage.runs[there]
            branch = tree.add(f"{run.kind} [bold]{run.name}[/bold] run:{run.id}")
        else:
            branch = tree.add(f"{edge.slot}: {lineage.artifacts[there].id}")
        _grow(branch, lineage, there, down=down, path=path | {node})
