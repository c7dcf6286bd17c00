"""One prediction: what the model saw and since when, what it answered, and where all of it came from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trivet.server.drawing import Box
from trivet.server.views.graphs import Graph, artifact_box, run_box

if TYPE_CHECKING:
    from trivet.project import Project

__all__ = ["prediction"]


def prediction(project: Project, id: str) -> dict[str, Any]:  # noqa: A002 - the word in the path
    """Everything that is known of one prediction."""
    found = project.prediction(id)
    graph = _graph(project, found)
    return {
        "title": f"prediction {found['id']}",
        "p": found,
        "values": _values(project, found),
        "graph": graph.draw(),
        "left_out": graph.left_out,
    }


def _values(project: Project, found: dict[str, Any]) -> list[dict[str, Any]]:
    """The entities, then what the caller sent, then the features under the names of the model's inputs."""
    signature = project.context.ledger.artifact(found["digest"]).spec.get("signature", {})
    names = {column["feature"]: column["name"] for column in signature.get("inputs", []) if column.get("feature")}
    asked = [
        {"name": key, "value": value, "origin": origin, "feature": None, "time": None, "status": ""}
        for origin, word in (("entity key", "entities"), ("request", "request"))
        for key, value in found[word].items()
    ]
    read = [
        {
            "name": names.get(key, key),
            "value": value,
            "origin": "feature",
            "feature": key,
            "time": found["feature_times"].get(key),
            "status": found["feature_status"].get(key, ""),
        }
        for key, value in found["features"].items()
    ]
    return asked + read


def _graph(project: Project, found: dict[str, Any]) -> Graph:
    """Raw files, training set, model; then the deployment with the gate report that let it in; then the prediction."""
    ledger = project.context.ledger
    served = ledger.run(found["deployment"])
    name = f"prediction:{found['id']}"
    boxes = {served.id: run_box(served), name: Box("prediction", found["id"], "focus")}
    graph = Graph(project, focus=name).add_model(found["digest"])
    graph.link(found["digest"], served.id, name, boxes=boxes)
    for slot, digest in served.inputs.items():
        if slot.startswith("online."):
            graph.add(project.lineage(digest)).link(digest, served.id, boxes={})
    if report := served.inputs.get("gate_report"):
        graph.link(report, served.id, boxes={report: artifact_box(ledger.artifact(report))})
        made = project.lineage(report, depth=1).producers(report)
        if made and found["digest"] in made[0].inputs.values():
            graph.link(found["digest"], made[0].id, report, boxes={made[0].id: run_box(made[0])})
    return graph
