"""``trivet lineage``: where a thing came from, or what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from trivet.cli.output import Output
from trivet.cli.output import command as trivet_command

if TYPE_CHECKING:
    from rich.text import Text

    from trivet.ledger import Artifact, Run
    from trivet.ledger.lineage import Lineage

__all__ = ["command"]

PREDICTION = "prediction:"


@trivet_command("lineage", short_help="Show where a thing came from, or what came of it.")
@click.argument("reference")
@click.option("--down", is_flag=True, help="What came of it, instead of where it came from.")
@click.option("--depth", type=click.IntRange(min=0), help="How many runs away at most.")
def command(output: Output, reference: str, down: bool, depth: int | None) -> None:
    """Show the runs and artifacts that led to REFERENCE, back to raw files."""
    from rich.text import Text
    from rich.tree import Tree

    project = output.project
    prediction = project.prediction(reference.removeprefix(PREDICTION)) if reference.startswith(PREDICTION) else None
    if prediction is not None:
        reference = f"{PREDICTION}{prediction['id']}"
    found = project.lineage(reference, down=down, depth=depth)
    artifacts = {digest: project.artifact(digest) for digest in found.artifacts}
    growth = _Growth(found, artifacts, down=down)
    if found.origin in artifacts:
        tree = Tree(Text(_called(artifacts[found.origin])))
        growth.grow(tree, found.origin)
    else:
        tree = Tree(Text(reference))
        growth.run(tree, project.context.ledger.run(found.origin))
    data = {
        "origin": found.origin,
        "artifacts": {digest: artifact.id for digest, artifact in artifacts.items()},
        "runs": {run.id: f"{run.kind} {run.name}" for run in found.runs},
        "edges": [edge._asdict() for edge in found.edges],
    }
    if prediction is not None:
        data |= {"prediction": prediction["id"], "deployment": prediction["deployment"]}
    output.say(data, tree)


class _Growth:
    """Hangs the runs next to an artifact below it, and their artifacts below them; what is above already, once."""

    def __init__(self, lineage: Lineage, artifacts: dict[str, Artifact], *, down: bool) -> None:
        self.lineage, self.artifacts, self.down = lineage, artifacts, down
        self.grown: set[str] = set()

    def grow(self, tree: Any, digest: str) -> None:
        """What is beside an artifact, below ``tree``."""
        self.grown.add(digest)
        for run in self._next(digest):
            self.run(tree, run)

    def run(self, tree: Any, run: Run) -> None:
        """A run with what is beyond it, below ``tree``."""
        from rich.text import Text

        if run.id in self.grown:
            tree.add(_run_text(run).append(" (above)"))
            return
        self.grown.add(run.id)
        branch = tree.add(_run_text(run))
        for slot, other in (run.outputs if self.down else run.inputs).items():
            if other not in self.artifacts:
                continue
            again = other in self.grown and bool(self._next(other))
            leaf = branch.add(Text(f"{slot}: {_called(self.artifacts[other])}{' (above)' if again else ''}"))
            if not again:
                self.grow(leaf, other)

    def _next(self, digest: str) -> Sequence[Run]:
        """The runs beside an artifact; a pipeline only where none of its steps is there to say more."""
        runs = (self.lineage.consumers if self.down else self.lineage.producers)(digest)
        steps = [run for run in runs if run.kind != "pipeline"]
        return steps or runs


def _run_text(run: Run) -> Text:
    from rich.text import Text

    kind = "deployment" if run.kind == "serve" else run.kind
    return Text.assemble(f"{kind} ", (run.name, "bold"), f" run:{run.id}", f" {run.started:%Y-%m-%d %H:%M} UTC")


def _called(artifact: Artifact) -> str:
    """The id, with the name or the file that people know."""
    name = str(artifact.spec.get("name") or artifact.spec.get("gate") or "")
    files = ", ".join(artifact.files) if artifact.kind == "source" else ""
    return " ".join(filter(None, [artifact.id, name, f"({files})" if files else ""]))
