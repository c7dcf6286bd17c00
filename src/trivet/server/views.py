"""What each page shows, as plain data: functions from the project and the request's words.

A view asks the public API only, answers JSON values (plus drawings, which the API leaves out), and leaves
markup to the templates.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from trivet.ledger import Artifact, Run
from trivet.server.drawing import Box, Point, draw_graph, draw_line
from trivet.types import duration_text

if TYPE_CHECKING:
    from trivet.features.catalogue import Listed
    from trivet.ledger.lineage import Lineage
    from trivet.monitoring.alarms import OpenAlarm
    from trivet.monitoring.heartbeats import Heartbeat
    from trivet.project import Project
    from trivet.tracking.registry import ModelVersion

__all__ = [
    "artifact",
    "deployment",
    "deployments",
    "feature",
    "features",
    "model",
    "models",
    "overview",
    "place",
    "prediction",
    "run",
    "runs",
    "without_drawings",
]

_PAGE = 50
_KINDS = ("all", "experiment", "pipeline", "task", "training_set", "gate", "serve", "monitor", "reproduce")
_DRAWINGS = frozenset({"graph", "charts"})


def without_drawings(data: Mapping[str, Any]) -> dict[str, Any]:
    """A page's data without its pictures: what the API answers."""
    return {key: value for key, value in data.items() if key not in _DRAWINGS}


def place(project: Project, reference: str) -> str:
    """The path of the page that shows what ``reference`` means."""
    if reference.startswith("prediction:"):
        return f"/predictions/{reference.removeprefix('prediction:')}"
    record = project.get(reference)
    if isinstance(record, Run):
        return f"/deployments/{record.id}" if record.kind == "serve" else f"/runs/{record.id}"
    return f"/artifacts/{record.digest}"


def overview(project: Project) -> dict[str, Any]:
    """Counts, alarms, deployments and the latest runs."""
    live = deployments(project)["deployments"]
    cards = [
        {"name": "feature views", "count": len(project.feature_views()), "href": "/features"},
        {"name": "model versions", "count": len(project.models()), "href": "/models"},
        {"name": "deployments", "count": len(live), "href": "/deployments"},
        {"name": "open alarms", "count": len(project.alarms()), "href": "/deployments"},
    ]
    return {
        "title": "Overview",
        "project": project.root.name,
        "cards": cards,
        "alarms": [_alarm(alarm) for alarm in project.alarms()],
        "deployments": live,
        "runs": [_run(found) for found in project.runs(limit=12)],
    }


def features(project: Project) -> dict[str, Any]:
    """Every feature view in its current version."""
    return {"title": "Features", "views": [_feature_view(project, listed) for listed in project.feature_views()]}


def feature(project: Project, name: str) -> dict[str, Any]:
    """One feature view: definitions, source, users, versions."""
    listed = project.feature_view(name)
    spec = listed.view.to_spec()
    uses = [project.artifact(digest) for digest in project.lineage(listed.digest, down=True).artifacts]
    return {
        "title": listed.name,
        "view": {
            **_feature_view(project, listed),
            "definitions": {key: str(item) for key, item in listed.view.features.items()},
            "source": {"entity": spec["entity"], **spec["source"]},
        },
        "used_by": [
            {"kind": use.kind, "digest": use.digest, "id": use.id, "note": use.spec.get("name", "")}
            for use in uses
            if use.kind in {"training_set", "model", "deployment"}
        ],
        "history": [
            _pointer(pointer)
            for pointer in project.context.ledger.pointers(name=f"feature_view/{listed.name}", history=True)
        ],
    }


def runs(project: Project, kind: str = "all", before: str | None = None) -> dict[str, Any]:
    """A page of runs, newest first."""
    found = project.runs(kind=None if kind == "all" else kind, before=before, limit=_PAGE)
    words = f"?kind={kind}&before=" if kind != "all" else "?before="
    return {
        "title": "Runs",
        "kinds": _KINDS,
        "chosen": kind,
        "runs": [_run(item) for item in found],
        "more": f"/runs{words}{found[-1].id}" if len(found) == _PAGE else None,
    }


def run(project: Project, id: str) -> dict[str, Any]:  # noqa: A002 - the word in the path
    """One run: what it was given, what it made, how to make it again."""
    found = project.context.ledger.run(id)
    log = project.context.ledger.artifact(found.tags["log"]) if "log" in found.tags else None
    return {
        "title": found.name,
        "run": _run(found),
        "edges": [
            {"direction": direction, "slot": slot, "digest": digest, "id": project.context.ledger.artifact(digest).id}
            for direction, slots in (("in", found.inputs), ("out", found.outputs))
            for slot, digest in slots.items()
        ],
        "children": [_run(child) for child in reversed(project.runs(parent=found.id, limit=_PAGE))],
        "charts": _learning_curves(project, found.id),
        "log": _text(project, log) if log else "",
    }


def models(project: Project) -> dict[str, Any]:
    """Every version of every model, newest first, with the verdict of its gate."""
    shown = [_model(project, version) for version in project.models()]
    return {"title": "Models", "models": sorted(shown, key=lambda item: (item["name"], -item["version"]))}


def model(project: Project, name: str, version: int) -> dict[str, Any]:
    """One model version: gate report, inputs, lineage, history."""
    found = project.model(f"{name}@{version}")
    artifact = project.context.ledger.artifact(found.digest)
    shown = _model(project, found)
    shown["estimator"] = artifact.spec.get("estimator", "")
    shown["inputs"] = artifact.spec.get("signature", {}).get("inputs", [])
    return {
        "title": f"{name}@{version}",
        "model": shown,
        "report": _gate_report(project, found.digest),
        "graph": _graph(project, project.lineage(found.digest), focus=found.digest),
        "history": [
            _pointer(pointer) for pointer in project.context.ledger.pointers(name=f"model/{name}", history=True)
        ],
    }


def deployments(project: Project) -> dict[str, Any]:
    """Everything that answers or has answered, newest first."""
    return {"title": "Deployments", "deployments": [item.to_json() for item in project.deployments()]}


def deployment(project: Project, id: str) -> dict[str, Any]:  # noqa: A002 - the word in the path
    """One deployment: performance as labels arrive, drift, heartbeats, alarms, latest predictions."""
    found = project.deployment(id)
    report = project.monitor(found.id, record=False)
    data = report.to_json()
    joined = report.labels.joined
    return {
        "title": f"{found.name}@{found.version}",
        "d": found.to_json(),
        "alarms": [_alarm(alarm) for alarm in project.alarms() if alarm.alarm.subject == report.subject.name],
        "cards": [
            {"name": "predictions", "count": f"{found.predictions:,}"},
            {"name": "labels that came", "count": f"{joined:,}"},
            {"name": "may be silent for", "count": found.max_silence},
            {"name": "let in by its gate", "count": found.gate},
        ],
        "performance": data["performance"],
        "charts": _performance(data["performance"]),
        "drift": data["drift"],
        "heartbeats": [_heartbeat(beat, report.at) for beat in report.heartbeats],
        "predictions": project.predictions(deployment=found.id, limit=20),
    }


def prediction(project: Project, id: str) -> dict[str, Any]:  # noqa: A002 - the word in the path
    """One prediction: what the model saw and since when, what it answered, and where all of it came from."""
    found = project.prediction(id)
    lineage = project.lineage(found["digest"])
    names = {column["feature"]: column["name"] for column in _signature(project, found["digest"])}
    values = [
        {"name": key, "value": value, "origin": origin, "feature": None, "time": None, "status": ""}
        for origin in ("entities", "request")
        for key, value in found[origin].items()
    ]
    values += [
        {
            "name": names.get(key, key),
            "value": value,
            "origin": "",
            "feature": key,
            "time": found["feature_times"].get(key),
            "status": found["feature_status"].get(key, ""),
        }
        for key, value in found["features"].items()
    ]
    start = {f"prediction:{id}": Box("prediction", id, "focus")}
    graph = _graph(project, lineage, focus="", extra=start, links=[(found["digest"], f"prediction:{id}")])
    return {"title": f"prediction {id}", "p": found, "values": values, "graph": graph}


def artifact(project: Project, digest: str) -> dict[str, Any]:
    """Any artifact: declaration, files, names, lineage both ways."""
    found = project.context.ledger.artifact(digest)
    graph = _graph(project, project.lineage(found), project.lineage(found, down=True, depth=2), focus=found.digest)
    return {
        "title": found.id,
        "artifact": {**msgspec.to_builtins(found), "id": found.id},
        "size": f"{found.size:,} bytes",
        "names": [_pointer(pointer) for pointer in project.context.ledger.pointers(digest=found.digest)],
        "graph": graph,
        "preview": _preview(project, found),
    }


# -- shared shapes --------------------------------------------------------------------------------------------


def _run(found: Run) -> dict[str, Any]:
    return {**msgspec.to_builtins(found), "seconds": found.seconds}


def _pointer(pointer: Any) -> dict[str, Any]:
    data: dict[str, Any] = msgspec.to_builtins(pointer)
    return data


def _feature_view(project: Project, listed: Listed) -> dict[str, Any]:
    watermark = project.watermark(listed.view)
    return {
        "name": listed.name,
        "entity": listed.view.entity.name,
        "features": list(listed.view.features),
        "description": listed.view.description,
        "version": listed.version,
        "digest": listed.digest,
        "watermark": None if watermark is None else watermark.isoformat(),
    }


def _model(project: Project, version: ModelVersion) -> dict[str, Any]:
    report = _gate_report(project, version.digest)
    return {
        "name": version.name,
        "version": version.version,
        "aliases": list(version.aliases),
        "digest": version.digest,
        "at": version.registered.isoformat(),
        "by": version.by,
        "why": version.why,
        "gate": report["verdict"] if report else "no gate report",
    }


def _gate_report(project: Project, digest: str) -> dict[str, Any] | None:
    report = project.gate_report(digest)
    return None if report is None else {**report.spec, "digest": report.digest}


def _signature(project: Project, digest: str) -> list[dict[str, Any]]:
    columns: list[dict[str, Any]] = project.context.ledger.artifact(digest).spec.get("signature", {}).get("inputs", [])
    return columns


def _text(project: Project, artifact: Artifact) -> str:
    files = list(artifact.files.values())
    return project.context.blobs.read(files[0].digest).decode(errors="replace") if files else ""


def _learning_curves(project: Project, id: str) -> list[str]:  # noqa: A002
    series: dict[str, list[Point]] = {}
    for metric in project.context.ledger.metrics(id):
        series.setdefault(metric.name, []).append(Point(str(metric.step), metric.value))
    return [draw_line(points, title=name) for name, points in series.items() if len(points) > 1]


def _performance(periods: Sequence[Mapping[str, Any]]) -> list[str]:
    titles = {"auc": "AUC", "base_rate": "Base rate", "log_loss": "Log loss", "calibration": "Label less score"}
    names = [name for name in titles if any(name in period["metrics"] for period in periods)]
    drawn = []
    for name in names:
        found = [(period["start"][:10], period["metrics"].get(name)) for period in periods]
        points = [Point(day, m["estimate"], m["low"], m["high"]) if m else Point(day, None) for day, m in found]
        drawn.append(draw_line(points, title=f"{titles[name]} by period, with its 95 % band"))
    return drawn


def _alarm(alarm: OpenAlarm) -> dict[str, Any]:
    return {**alarm.alarm.to_json(), "digest": alarm.digest, "raised": alarm.raised.isoformat()}


def _heartbeat(beat: Heartbeat, now: datetime) -> dict[str, Any]:
    silent = (now - (beat.last or beat.since)).total_seconds() * 1_000_000 > beat.expected
    return {
        "kind": beat.kind,
        "state": "dead" if silent else "alive",
        "last": None if beat.last is None else beat.last.isoformat(),
        "expected": duration_text(beat.expected),
    }


def _preview(project: Project, artifact: Artifact) -> dict[str, Any] | None:
    if artifact.kind not in {"table", "training_set"}:
        return None
    import polars as pl

    value = project.load(artifact)
    table = value.to_arrow() if hasattr(value, "to_arrow") else value
    frame = pl.DataFrame(table).head(8)
    return {"columns": frame.columns, "rows": [[_cell(value) for value in row] for row in frame.iter_rows()]}


def _cell(value: object) -> str:
    return "–" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)


def _graph(
    project: Project,
    *lineages: Lineage,
    focus: str,
    extra: Mapping[str, Box] | None = None,
    links: Iterable[tuple[str, str]] = (),
) -> str:
    boxes: dict[str, Box] = dict(extra or {})
    edges: list[tuple[str, str]] = list(links)
    for lineage in lineages:
        for digest in lineage.artifacts:
            boxes[digest] = _artifact_box(project.artifact(digest), focus)
        for made in lineage.runs:
            boxes[made.id] = Box(made.name, f"{made.kind} {made.started:%Y-%m-%d %H:%M}", "run", f"/runs/{made.id}")
        edges += [
            (edge.digest, edge.run) if edge.direction == "input" else (edge.run, edge.digest) for edge in lineage.edges
        ]
    return draw_graph(boxes, list(dict.fromkeys(edges)))


def _artifact_box(found: Artifact, focus: str) -> Box:
    name = str(found.spec.get("name") or found.spec.get("path") or "")
    style = {"source": "raw", "model": "model"}.get(found.kind, "")
    title = f"{found.kind.replace('_', ' ')} {name}".strip()
    return Box(
        title, found.digest[:12], f"{style} focus" if found.digest == focus else style, f"/artifacts/{found.digest}"
    )
