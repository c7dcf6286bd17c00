"""``trivet lineage``: where a thing came from, or what came of it."""

from __future__ import annotations

from collections.abc import Mapping
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
    ids = {digest: project.artifact(digest).id for digest in found.artifacts}
    data = {
        "origin": start.digest,
        "artifacts": ids,
        "runs": {run.id: f"{run.kind} {run.name}" for run in found.runs},
        "edges": [edge._asdict() for edge in found.edges],
    }
    tree = Tree(start.id)
    _grow(tree, found, start.digest, ids, down=down, path=frozenset())
    output.say(data, tree)


def _grow(
    tree: Any, lineage: Lineage, digest: str, ids: Mapping[str, str], *, down: bool, path: frozenset[str]
) -> None:
    """Hang the runs next to an artifact below it, and their artifacts below them; nothing twice on one path."""
    path |= {digest}
    for run in (lineage.consumers if down else lineage.producers)(digest):
        branch = tree.add(f"{run.kind} [bold]{run.name}[/bold] run:{run.id}")
        for slot, other in (run.outputs if down else run.inputs).items():
            if other in ids and other not in path:
                _grow(branch.add(f"{slot}: {ids[other]}"), lineage, other, ids, down=down, path=path)
