"""Any artifact: its declaration, what is in it as far as a page can show that, its names, its lineage both ways."""

from __future__ import annotations

import tarfile
from datetime import datetime
from io import BytesIO
from typing import TYPE_CHECKING, Any

import msgspec

from trivet.ledger import Artifact
from trivet.server.views.graphs import Graph
from trivet.server.views.shapes import pointer_row, text_of
from trivet.server.views.training_sets import training_set

if TYPE_CHECKING:
    from trivet.project import Project

__all__ = ["artifact"]

_ROWS = 10
_MOST_BYTES = 64 * 2**20
_MOST_TEXTS = 5
_TEXTS = (".txt", ".json", ".lock", ".toml", ".py", ".md", ".csv", ".log", ".patch")


def artifact(project: Project, digest: str) -> dict[str, Any]:
    """Any artifact by its digest, or by the only digest that starts so."""
    found = project.context.ledger.artifact(digest)
    graph = (
        Graph(project, focus=found.digest).add(project.lineage(found)).add(project.lineage(found, down=True, depth=3))
    )
    return {
        "title": found.id,
        "artifact": {**msgspec.to_builtins(found), "id": found.id},
        "size": found.size,
        "names": [pointer_row(pointer) for pointer in project.context.ledger.pointers(digest=found.digest)],
        "graph": graph.draw(),
        "left_out": graph.left_out,
        "linked": bool(graph.edges),
        "columns": _columns(found),
        "report": found.spec.get("report") if found.kind == "training_set" else None,
        **training_set(project, found),
        "preview": _preview(project, found),
        "members": _members(project, found),
        "texts": _texts(project, found),
    }


def _columns(found: Artifact) -> list[dict[str, Any]]:
    """The features of a training set, with the nulls of each."""
    if found.kind != "training_set":
        return []
    nulls = (found.spec.get("report") or {}).get("nulls") or {}
    return [{**each, "nulls": nulls.get(each["name"])} for each in found.spec.get("features", [])]


def _preview(project: Project, found: Artifact) -> dict[str, Any] | None:
    """The first rows of a table, a training set or a source of one Parquet file."""
    parquet = [file for name, file in found.files.items() if name.endswith(".parquet")]
    if found.kind not in {"table", "training_set", "source"} or len(parquet) != 1 or found.size > _MOST_BYTES:
        return None
    import polars as pl

    content = project.context.blobs.read(parquet[0].digest)
    frame = pl.scan_parquet(BytesIO(content)).head(_ROWS).collect()
    return {
        "count": pl.scan_parquet(BytesIO(content)).select(pl.len()).collect().item(),
        "columns": [
            {"name": name, "type": _type(dtype), "numeric": dtype.is_numeric()} for name, dtype in frame.schema.items()
        ],
        "rows": [[_cell(value) for value in row] for row in frame.iter_rows()],
    }


def _members(project: Project, found: Artifact) -> list[dict[str, Any]]:
    """The files inside the archive of a code artifact."""
    if found.kind != "code" or "code.tar.gz" not in found.files or found.size > _MOST_BYTES:
        return []
    content = BytesIO(project.context.blobs.read(found.files["code.tar.gz"].digest))
    with tarfile.open(fileobj=content) as archive:
        return [{"name": member.name, "size": member.size} for member in archive if member.isfile()]


def _texts(project: Project, found: Artifact) -> list[dict[str, str]]:
    """The files that are text (a value, a lock, a log), where the declaration does not say it already."""
    if found.kind in {"gate_report", "model", "table", "training_set"}:
        return []
    return [
        {"name": name, "text": text_of(project, found, name)} for name in sorted(found.files) if name.endswith(_TEXTS)
    ][:_MOST_TEXTS]


def _type(dtype: Any) -> str:
    zone = getattr(dtype, "time_zone", None)
    return f"{str(dtype).partition('(')[0].lower()}{f', {zone}' if zone else ''}"


def _cell(value: object) -> object:
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M:%S}"
    return value if value is None or isinstance(value, bool | int | float) else str(value)
