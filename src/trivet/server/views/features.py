"""Feature views: their definitions, what reads them, their versions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trivet.server.views.shapes import artifact_row, pointer_row

if TYPE_CHECKING:
    from trivet.features.catalogue import Listed
    from trivet.project import Project

__all__ = ["feature", "features"]

_USERS = frozenset({"training_set", "model", "deployment"})
_SHOWN = 50


def features(project: Project) -> dict[str, Any]:
    """Every feature view in its current version."""
    return {"title": "Features", "views": [_view(project, listed) for listed in project.feature_views()]}


def feature(project: Project, name: str) -> dict[str, Any]:
    """One feature view: definitions, source, users, versions."""
    listed = project.feature_view(name)
    spec = listed.view.to_spec()
    uses = [project.artifact(digest) for digest in project.lineage(listed.digest, down=True, depth=4).artifacts]
    users = [artifact_row(use) for use in uses if use.kind in _USERS]
    return {
        "title": listed.name,
        "view": {
            **_view(project, listed),
            "definitions": {key: str(item) for key, item in listed.view.features.items()},
            "keys": spec["entity"]["keys"],
            "source": spec["source"],
            "ttl": spec.get("ttl"),
        },
        "used_by": users[:_SHOWN],
        "used_by_count": len(users),
        "history": [
            pointer_row(pointer)
            for pointer in project.context.ledger.pointers(name=f"feature_view/{listed.name}", history=True)
        ],
    }


def _view(project: Project, listed: Listed) -> dict[str, Any]:
    watermark = project.watermark(listed.view)
    return {
        "name": listed.name,
        "entity": listed.view.entity.name,
        "source_name": listed.view.source.name,
        "features": list(listed.view.features),
        "description": listed.view.description,
        "version": listed.version,
        "digest": listed.digest,
        "watermark": None if watermark is None else watermark.isoformat(),
    }
