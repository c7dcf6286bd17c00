"""Comparisons as Plotly figures, for notebooks: ``pip install 'trivet[plotly]'``.

Only what is shown is decided here; the numbers come from ``compare``, ``curves`` and ``importance``. Figures are plain
Plotly figures, so whatever Plotly can do with them can be done with these.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trivet.errors import MissingExtra
from trivet.tracking.curves import At
from trivet.tracking.importance import Importance

__all__ = ["draw_curves", "draw_importance", "draw_parallel", "draw_scatter"]


def draw_curves(curves: Mapping[str, Sequence[At]], metric: str, *, log: bool) -> Any:
    """A line for each run over its steps."""
    go = _plotly()
    lines = [
        go.Scatter(x=[at.step for at in line], y=[at.value for at in line], name=name, mode="lines")
        for name, line in curves.items()
    ]
    figure = go.Figure(lines)
    figure.update_layout(xaxis_title="step", yaxis_title=metric, yaxis_type="log" if log else "linear")
    return figure


def draw_parallel(columns: Mapping[str, Sequence[Any]], color: str) -> Any:
    """An axis for each column, a line for each run, coloured by one column."""
    go = _plotly()
    axes = [_axis(name, column) for name, column in columns.items()]
    shade = next(axis["values"] for axis in axes if axis["label"] == color)
    return go.Figure(go.Parcoords(dimensions=axes, line={"color": shade, "colorscale": "Viridis", "showscale": True}))


def draw_scatter(labels: Sequence[str], x: Sequence[Any], y: Sequence[Any], names: tuple[str, str]) -> Any:
    """A point for each run."""
    go = _plotly()
    figure = go.Figure(go.Scatter(x=list(x), y=list(y), text=list(labels), mode="markers"))
    figure.update_layout(xaxis_title=names[0], yaxis_title=names[1])
    return figure


def draw_importance(found: Importance) -> Any:
    """A bar for each parameter, with what it rests on as the title."""
    go = _plotly()
    shown = list(reversed(found.weights))
    bars = go.Bar(x=[weight.importance for weight in shown], y=[weight.name for weight in shown], orientation="h")
    figure = go.Figure(bars)
    figure.update_layout(title=f"{found.metric}: {found.method} over {found.runs} runs", xaxis_title="share")
    return figure


def _axis(name: str, column: Sequence[Any]) -> dict[str, Any]:
    """Numbers on their scale, anything else at places that bear its text."""
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in column if value is not None):
        return {"label": name, "values": [float("nan") if value is None else value for value in column]}
    texts = ["-" if value is None else str(value) for value in column]
    places = {text: place for place, text in enumerate(sorted(set(texts)))}
    ticks = {"tickvals": list(places.values()), "ticktext": list(places)}
    return {"label": name, "values": [places[text] for text in texts], **ticks}


def _plotly() -> Any:
    try:
        import plotly.graph_objects as go  # type: ignore[import-not-found,unused-ignore]
    except ImportError as exc:
        raise MissingExtra("plotly", extra="plotly", wanted_for="A figure") from exc
    return go
