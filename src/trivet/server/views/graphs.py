"""Lineage as a picture: which boxes are shown, what they say and where they lead.

Of several runs that made the same artifact (cached ones, mostly) only the first is drawn, and of a graph with very many
boxes those nearest to the start; ``left_out`` says how many are not shown. Layout is left to ``drawing``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING
from urllib.parse import quote

from trivet.ledger import Artifact, Run
from trivet.server.drawing import Box, draw_graph
from trivet.server.views.shapes import name_of

if TYPE_CHECKING:
    from trivet.ledger.lineage import Edge, Lineage
    from trivet.project import Project

__all__ = ["Graph", "artifact_box", "run_box"]

MOST = 80
_KINDS = {"feature_view": "view", "feature_service": "service"}
_STYLES = {"source": "raw", "model": "model", "gate_report": "model", "deployment": "live"}


@dataclass
class Graph:
    """A picture being put together."""

    project: Project
    focus: str = ""
    boxes: dict[str, Box] = field(default_factory=dict)
    edges: dict[tuple[str, str], None] = field(default_factory=dict)
    left_out: int = 0

    def add(self, lineage: Lineage) -> Graph:
        """Everything of a lineage, the nearest first."""
        runs = _worth_drawing(lineage)
        parts = {edge.digest: edge.slot for edge in lineage.edges if _is_part(edge, runs)}
        self.left_out += len(lineage.runs) - len(runs)
        for digest in lineage.artifacts:
            self._put(digest, partial(self._artifact, digest, parts.get(digest, "")))
        for run in runs.values():
            self._put(run.id, partial(run_box, run))
        for edge in lineage.edges:
            if edge.run in runs:
                ends = (edge.digest, edge.run) if edge.direction == "input" else (edge.run, edge.digest)
                self.edges[ends] = None
        return self

    def add_model(self, digest: str) -> Graph:
        """A model back to raw files; through its training set where no run is known to have fitted it."""
        lineage = self.project.lineage(digest)
        self.add(lineage)
        train = self.project.context.ledger.artifact(digest).spec.get("training_set")
        if train and not lineage.producers(digest):
            self.add(self.project.lineage(train))
            self.edges[train, digest] = None
        return self

    def link(self, *path: str, boxes: Mapping[str, Box]) -> Graph:
        """Further boxes, and an arrow from each name of ``path`` to the next."""
        self.boxes |= boxes
        self.edges |= dict.fromkeys(pairwise(path))
        return self

    def draw(self) -> str:
        """The picture as SVG."""
        linked = {end for edge in self.edges for end in edge} | {self.focus}
        shown = {name: box for name, box in self.boxes.items() if name in linked}
        return draw_graph(shown, list(self.edges))

    def _put(self, name: str, make: Callable[[], Box]) -> None:
        if name in self.boxes:
            return
        if len(self.boxes) >= MOST:
            self.left_out += 1
        else:
            self.boxes[name] = make()

    def _artifact(self, digest: str, part: str) -> Box:
        return artifact_box(self.project.context.ledger.artifact(digest), part=part, focus=self.focus)


def run_box(run: Run) -> Box:
    """A run."""
    page = "deployments" if run.kind == "serve" else "runs"
    kind = "deployment" if run.kind == "serve" else run.kind.replace("_", " ")
    return Box(f"{kind} {run.name}", f"{run.started:%Y-%m-%d %H:%M}", "run", f"/{page}/{quote(run.id)}")


def artifact_box(found: Artifact, *, part: str = "", focus: str = "") -> Box:
    """An artifact; ``part`` is the slot it came out of, where a run has several."""
    style = _STYLES.get(found.kind, "")
    style = f"{style} focus" if found.digest == focus else style
    name = part or ("" if found.kind in {"model", "training_set"} else name_of(found))
    title = f"{_KINDS.get(found.kind) or found.kind.replace('_', ' ')} {name}".strip()
    described = "" if part else _described(found)
    return Box(title, described or found.digest[:12], style, f"/artifacts/{found.digest}")


def _described(found: Artifact) -> str:
    """What tells an artifact from others of its kind: its file, its rows, its estimator."""
    match found.kind:
        case "source":
            return ", ".join(found.files)
        case "model":
            return str(found.spec.get("estimator", "")).rpartition(".")[2]
        case "feature_view":
            count = len(found.spec["features"])
            return f"of {found.spec['entity']['name']}, {count} feature{'s' * (count != 1)}"
        case "gate_report":
            return str(found.spec.get("verdict", ""))
        case "table" if "rows" in found.spec:
            return f"{found.spec['rows']:,} rows"
        case "training_set" if isinstance(report := found.spec.get("report"), dict) and "rows" in report:
            return f"{report['rows']:,} rows asked"
    return ""


def _is_part(edge: Edge, runs: Mapping[str, Run]) -> bool:
    return edge.direction == "output" and edge.run in runs and len(runs[edge.run].outputs) > 1


def _worth_drawing(lineage: Lineage) -> dict[str, Run]:
    """Of the runs that made an artifact the first; the step, not the pipeline around it, which has its output too."""
    made: set[str] = set()
    kept: dict[str, Run] = {}
    for run in sorted(lineage.runs, key=lambda run: (run.status == "cached", run.kind == "pipeline", run.id)):
        fresh = set(run.outputs.values()) - made
        if fresh or not run.outputs:
            kept[run.id] = run
            made |= fresh
    return kept
