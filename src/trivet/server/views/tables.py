"""Tables of the project's own: what they hold, what they refused, and their versions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from trivet.features.tables import TableInfo
    from trivet.ledger import Run
    from trivet.project import Project

__all__ = ["table", "tables"]

_SHOWN, _FEW, _MANY = 50, 10_000, 5_000_000


def tables(project: Project) -> dict[str, Any]:
    """Every table as it is now."""
    return {"title": "Tables", "tables": [_row(info) for info in project.tables.list()]}


def table(project: Project, name: str) -> dict[str, Any]:
    """One table: rules, columns, versions with the runs that made them, who reads it, some of what it refused."""
    info, versions = project.tables.describe(name), project.tables.history(name)
    return {
        "title": name,
        "table": _row(info),
        "rules": {field: getattr(info.rules, field) for field in info.rules.__struct_fields__},
        "columns": {column: _type(kind) for column, kind in info.columns.items()},
        "versions": [msgspec.to_builtins(each) for each in versions[:_SHOWN]],
        "versions_count": len(versions),
        "read_by": _readers(project, name),
        "refused": _refused(project, info),
        "lateness": msgspec.to_builtins(project.tables.lateness(name)) if info.rows <= _MANY else None,
        "arrivals": [msgspec.to_builtins(each) for each in versions[:_SHOWN] if each.counts.get("late")],
        "erasures": [_kept(each) for each in project.tables.erasures(name)],
        "compactions": [_kept(each) for each in project.runs(kind="compact", name=name, limit=_SHOWN)],
        "series": name.replace(".", ":") if "." in name else None,
        "expected": project.quality.find(f"source.{name.replace('.', '_')}") is not None,
    }


def _row(info: TableInfo) -> dict[str, Any]:
    return {
        "name": info.name,
        "version": info.version,
        "rows": info.rows,
        "refused": info.refused,
        "key": list(info.rules.key),
        "watermark": None if info.watermark is None else info.watermark.isoformat(),
        "files": info.files,
        "size": info.size,
    }


def _kept(run: Run) -> dict[str, Any]:
    """A run that took rows away or put files together: when, by whom, why, and the counts. Not whose rows."""
    return {
        "run": run.id,
        "at": run.started.isoformat(),
        "by": run.user,
        "why": run.tags.get("why", ""),
        "status": run.status,
        "columns": run.parameters.get("columns", []),
        "everywhere": bool(run.parameters.get("everywhere")),
        "counts": {name: int(count) for name, count in run.metrics.items()},
    }


def _readers(project: Project, name: str) -> list[dict[str, Any]]:
    """The feature views that read the table, directly or through another view."""
    path = project.tables.source(name).data
    return [
        {"name": each.name, "version": each.version, "features": list(each.view.features)}
        for each in project.feature_views()
        if any(leaf.data == path for leaf in each.view.source.leaves)
    ]


def _refused(project: Project, info: TableInfo) -> dict[str, Any] | None:
    """The rows that were refused last; none of a table that refused very many, because to sort them takes time."""
    if not 0 < info.refused <= _FEW:
        return None
    frame = project.tables.scan(f"{info.name}__refused").tail(10).collect()
    frame = frame.drop("digest", strict=False)
    return {"columns": frame.columns, "rows": [[_cell(value) for value in row] for row in frame.iter_rows()]}


def _type(kind: str) -> str:
    """A type of Polars in a word: ``Datetime(time_unit='us', time_zone='UTC')`` is a datetime, UTC."""
    zone = kind.partition("time_zone='")[2].partition("'")[0]
    return ", ".join(filter(None, [kind.partition("(")[0].lower(), zone]))


def _cell(value: object) -> object:
    return value if value is None or isinstance(value, bool | int | float) else str(value)
