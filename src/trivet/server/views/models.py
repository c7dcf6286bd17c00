"""Registered models: versions and aliases, and one version with its evidence and where it came from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trivet.server.views.graphs import Graph
from trivet.server.views.shapes import artifact_row, pointer_row

if TYPE_CHECKING:
    from trivet.project import Project
    from trivet.tracking.registry import ModelVersion

__all__ = ["model", "models"]


def models(project: Project) -> dict[str, Any]:
    """Every version of every model, newest first, with the verdict of its gate."""
    shown = [_model(project, version) for version in project.models()]
    return {"title": "Models", "models": sorted(shown, key=lambda item: (item["name"], -item["version"]))}


def model(project: Project, name: str, version: int) -> dict[str, Any]:
    """One model version: gate report, inputs, lineage, deployments, history."""
    found = project.model(f"{name}@{version}")
    ledger = project.context.ledger
    artifact = ledger.artifact(found.digest)
    numbers = {each.digest: each.version for each in project.models() if each.name == name}
    graph = Graph(project, focus=found.digest).add_model(found.digest)
    return {
        "title": f"{name}@{version}",
        "model": {
            **_model(project, found),
            "estimator": artifact.spec.get("estimator", ""),
            "target": artifact.spec.get("signature", {}).get("target", ""),
            "inputs": artifact.spec.get("signature", {}).get("inputs", []),
            "size": artifact.size,
        },
        "report": _gate_report(project, found.digest),
        "deployments": [item.to_json() for item in project.deployments() if item.digest == found.digest],
        "graph": graph.draw(),
        "left_out": graph.left_out,
        "history": [
            {**pointer_row(pointer), "version": numbers.get(pointer.digest or "")}
            for pointer in ledger.pointers(name=f"model/{name}", history=True)
        ],
    }


def _model(project: Project, version: ModelVersion) -> dict[str, Any]:
    report = project.gate_report(version.digest)
    return {
        "name": version.name,
        "version": version.version,
        "aliases": list(version.aliases),
        "digest": version.digest,
        "at": version.registered.isoformat(),
        "by": version.by,
        "why": version.why,
        "gate": report.spec["verdict"] if report else "no gate report",
    }


def _gate_report(project: Project, digest: str) -> dict[str, Any] | None:
    """The newest report with every field of a finding present, whatever its artifact left out as empty."""
    from trivet.training.gate_report import GateReport

    artifact = project.gate_report(digest)
    if artifact is None:
        return None
    report: GateReport = project.load(artifact)
    judged = {"model": report.model, "baseline": report.baseline, "data": report.data}
    return {
        "gate": report.gate,
        "verdict": report.verdict,
        "level": report.level,
        "rows": report.rows,
        "positives": report.positives,
        "unlabelled": report.unlabelled,
        "resamples": report.resamples,
        "conditions": [_finding(each) for each in report.conditions],
        "judged": {
            slot: artifact_row(project.context.ledger.artifact(found)) for slot, found in judged.items() if found
        },
        "digest": artifact.digest,
        "at": artifact.created.isoformat(),
    }


def _finding(finding: Any) -> dict[str, Any]:
    names = (
        "condition", "comparison", "threshold", "verdict", "measure", "estimate", "low", "high", "level", "method",
        "rows", "positives", "unjudged",
    )  # fmt: skip
    plain = {name: getattr(finding, name) for name in names}
    return plain | {"members": list(finding.members), "groups": [_finding(group) for group in finding.groups]}
