"""What the definitions stand on: sources and entities, each with who uses it and what is on record of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trivet.features.inventory import one_of, snapshots
from trivet.server.drawing import Point, draw_line
from trivet.server.views.uses import sources_of, usage_of_source

if TYPE_CHECKING:
    from trivet.features.definitions import Source
    from trivet.features.inventory import ListedEntity, ListedSource
    from trivet.ledger import Artifact
    from trivet.project import Project

__all__ = ["entity", "source", "sources"]

_SNAPSHOTS = 20


def sources(project: Project) -> dict[str, Any]:
    """All sources and entities of the current views."""
    expected = {each.expectations.subject for each in project.quality.all()}
    return {
        "title": "Sources and entities",
        "sources": [{**_row(each), "expected": f"source.{each.name}" in expected} for each in project.sources()],
        "entities": [_entity(each) for each in project.entities()],
    }


def source(project: Project, name: str) -> dict[str, Any]:
    """One source: where its rows come from and when they are known, who reads it, what was recorded of it.

    Raises:
        NotFound: no current view reads such a source.
    """
    listed: ListedSource = one_of("source", name, project.sources())
    declared = [sources_of(each) for each in listed.declared]
    kept = snapshots(project.context, name, most=_SNAPSHOTS)
    graph = usage_of_source(project, listed)
    return {
        "title": name,
        "source": _row(listed),
        "declared": [each for [each, *_] in declared],
        "beneath": [each.name for each in listed.source.inputs],
        "texts": [text for [each, *_] in declared for text in each["texts"]],
        "times": _times(listed.source),
        "read_by": _readers(project, listed),
        "snapshots": [_snapshot(each) for each in kept],
        "charts": _sizes(kept),
        "expected": project.quality.find(f"source.{name}") is not None,
        "refused": project.quality.refused(name).height,
        "table": next((each for each in project.tables.names() if each.replace(".", "_") == name), None),
        "graph": graph.draw(),
        "left_out": graph.left_out,
    }


def entity(project: Project, name: str) -> dict[str, Any]:
    """One entity: its keys, and the views and features of it.

    Raises:
        NotFound: no current view is of such an entity.
    """
    listed: ListedEntity = one_of("entity", name, project.entities())
    views = [each for each in project.feature_views() if each.name in listed.views]
    return {
        "title": name,
        "entity": _entity(listed),
        "declared": [dict(zip(each.keys, each.types, strict=True)) for each in listed.declared],
        "read_by": [
            {
                "name": each.name,
                "version": each.version,
                "source": each.view.source.name,
                "features": [one.partition(":")[2] for one in each.features],
                "description": each.definition.description,
            }
            for each in views
        ],
    }


def _row(listed: ListedSource) -> dict[str, Any]:
    about = sources_of(listed.source)[0]
    return {**about, "views": list(listed.views), "declarations": len(listed.declared)}


def _entity(listed: ListedEntity) -> dict[str, Any]:
    keys = dict(zip(listed.entity.keys, listed.entity.types, strict=True))
    return {"name": listed.name, "keys": keys, "views": list(listed.views), "features": list(listed.features)}


def _times(source: Source) -> list[dict[str, Any]]:
    """The columns with times of their own."""
    return [
        {"column": column, "event": times.event, "known": times.known or times.event, "after": times.to_spec()["after"]}
        for column, times in source.column_times.items()
    ]


def _readers(project: Project, listed: ListedSource) -> list[dict[str, Any]]:
    views = [each for each in project.feature_views() if each.name in listed.views]
    return [
        {"name": e.name, "version": e.version, "features": [f.partition(":")[2] for f in e.features]} for e in views
    ]


def _snapshot(found: Artifact) -> dict[str, Any]:
    version = found.spec.get("version")
    return {
        "digest": found.digest,
        "id": found.id,
        "at": found.created.isoformat(),
        "format": found.spec.get("format", ""),
        "size": found.size,
        "version": version,
        "files": len(found.files),
    }


def _sizes(kept: Any) -> list[str]:
    """How the recorded data grew."""
    if len(kept) < 2:
        return []
    points = [Point(f"{each.created:%Y-%m-%d %H:%M}", each.size / 1e6) for each in reversed(kept)]
    return [draw_line(points, title="recorded data, in MB")]
