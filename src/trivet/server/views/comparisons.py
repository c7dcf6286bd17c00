"""Runs beside one another: what differs, their curves, parallel coordinates, points, importance, and their pictures."""

from __future__ import annotations

import base64
from html import escape
from typing import TYPE_CHECKING, Any

from msgspec import UNSET

from trivet.errors import Invalid, NotFound
from trivet.ledger import Run
from trivet.server.comparing import draw_curves, draw_parallel, draw_points, draw_shares
from trivet.server.views.shapes import run_row

if TYPE_CHECKING:
    from trivet.project import Project
    from trivet.tracking.compare import Comparison

__all__ = ["compare"]

_MOST_RUNS, _MOST_CURVES, _MOST_AXES = 50, 12, 7
_PICTURES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".gif": "image/gif"}
_MOST_BYTES = 2_000_000


def compare(
    project: Project, runs: str = "", where: str = "", order: str = "", metric: str = "", smoothing: str = "",
    log: str = "", x: str = "", y: str = "",
) -> dict[str, Any]:  # fmt: skip
    """The runs of a list of ids, or the first that fit a query, side by side.

    Raises:
        Invalid: fewer than two runs, more than 50, or a word that is not understood.
        NotFound: a run, a metric or a column that does not exist.
    """
    ids = [one.strip() for one in runs.split(",") if one.strip()]
    if len(ids) > _MOST_RUNS:
        raise Invalid(f"{len(ids)} runs are too many for a page. Compare {_MOST_RUNS} at most.")
    found = [project.context.ledger.run(one) for one in dict.fromkeys(ids)]
    if where or order or not ids:
        found += project.runs(where, order=order, limit=_MOST_RUNS - len(found))
    compared = project.compare(*{run.id: run for run in found}.values())
    metrics = sorted({name for run in compared.runs for name in run.metrics})
    if metric and metric not in metrics:
        raise NotFound("metric of these runs", metric[:80], metrics)
    weight = _number(smoothing)
    return {
        "title": f"{len(compared.runs)} runs compared",
        "asked": {"runs": runs, "where": where, "order": order, "metric": metric, "smoothing": smoothing, "log": log,
                  "x": x, "y": y},
        "runs": [run_row(project, run) for run in compared.runs],
        "labels": compared.labels,
        "metrics": metrics,
        "columns": [*(f"params.{name}" for name in compared.varying), *(f"metrics.{name}" for name in metrics)],
        "rows": [
            {"section": row.section, "name": row.name, "values": [None if v is UNSET else v for v in row.values]}
            for row in compared.rows
        ],
        "charts": _charts(compared, [metric] if metric else metrics, weight, log, x, y),
        "pictures": _pictures(project, compared.runs),
    }  # fmt: skip


def _number(text: str) -> float:
    try:
        return float(text) if text else 0.0
    except ValueError as exc:
        raise Invalid(f"smoothing={text[:40]!r} is no number. Give one from 0 to below 1.") from exc


def _charts(compared: Comparison, metrics: list[str], weight: float, log: str, x: str, y: str) -> list[str]:
    charts = []
    for name in metrics[:_MOST_CURVES]:
        lines = compared.curve_of(name, most=400, smoothing=weight)
        if any(len(line) > 1 for line in lines.values()):
            charts.append(draw_curves(lines, title=name, log=log == "on"))
    if metrics and compared.varying:
        axes = [f"params.{name}" for name in compared.varying[: _MOST_AXES - 1]] + [f"metrics.{metrics[0]}"]
        columns = {name: compared.column(name) for name in axes}
        charts.append(draw_parallel(columns, compared.labels, title=f"Parameters and {metrics[0]}"))
        x, y = x or axes[0], y or axes[-1]
        charts.append(draw_points(compared.column(x), compared.column(y), compared.labels, title=f"{x} and {y}"))
        charts += _importance(compared, metrics[0])
    return charts


def _importance(compared: Comparison, metric: str) -> list[str]:
    try:
        found = compared.weights(metric)
    except Invalid:
        return []  # too few runs have the metric: there is nothing to be said
    title = f"What goes with {metric}: {found.method}, {found.runs} runs"
    return [draw_shares({weight.name: weight.importance for weight in found.weights}, title=title)]


def _pictures(project: Project, runs: tuple[Run, ...]) -> list[dict[str, Any]]:
    """The pictures that at least one run made, by slot, one for each run."""
    kinds = {slot: _PICTURES.get("." + slot.rpartition(".")[2].lower()) for run in runs for slot in run.outputs}
    return [
        {"slot": slot, "images": [_image(project, run, slot, kind) for run in runs]}
        for slot, kind in list(kinds.items())[:24]
        if kind
    ]


def _image(project: Project, run: Run, slot: str, kind: str) -> str | None:
    """The picture as an address that holds it, or None."""
    if slot not in run.outputs:
        return None
    files = project.context.ledger.artifact(run.outputs[slot]).files
    file = next(iter(files.values()), None)
    if file is None or file.size > _MOST_BYTES:
        return None
    return escape(f"data:{kind};base64,{base64.b64encode(project.context.blobs.read(file.digest)).decode()}")
