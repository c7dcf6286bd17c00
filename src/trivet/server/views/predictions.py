"""One prediction: what the model saw and since when, what it answered, and where all of it came from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trivet.server.drawing import Box
from trivet.server.views.graphs import Graph

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
    """Everything that the deployment was made of, back to raw files, and the prediction behind it."""
    name = f"prediction:{found['id']}"
    graph = Graph(project, focus=name).add(project.lineage(name)).add_model(found["digest"])
    return graph.link(found["deployment"], name, boxes={name: Box("prediction", found["id"], "focus")})
