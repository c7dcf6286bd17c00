"""Figures, with a stand-in that keeps what Plotly would be given: Plotly itself is an extra."""

import sys
from types import ModuleType, SimpleNamespace

import pytest

from trivet.errors import MissingExtra
from trivet.tracking import figures
from trivet.tracking.curves import At
from trivet.tracking.importance import Importance, Weight


class Figure(SimpleNamespace):
    def __init__(self, data):
        super().__init__(data=data if isinstance(data, list) else [data], layout={})

    def update_layout(self, **more):
        self.layout |= more


@pytest.fixture
def plotly(monkeypatch):
    made = ModuleType("plotly.graph_objects")
    made.Figure = Figure
    for name in ("Scatter", "Parcoords", "Bar"):
        setattr(made, name, SimpleNamespace)
    package = ModuleType("plotly")
    package.graph_objects = made
    monkeypatch.setitem(sys.modules, "plotly", package)
    monkeypatch.setitem(sys.modules, "plotly.graph_objects", made)


@pytest.mark.usefixtures("plotly")
def test_figures_hold_the_numbers():
    drawn = figures.draw_curves({"a": [At(0, 1.0), At(1, 0.5)]}, "loss", log=True)
    assert (drawn.data[0].x, drawn.data[0].y, drawn.layout["yaxis_type"]) == ([0, 1], [1.0, 0.5], "log")
    points = figures.draw_scatter(["a"], [1], [2], ("x", "y")).data[0]
    assert (points.x, points.y, points.text) == ([1], [2], ["a"])
    axes = figures.draw_parallel({"depth": [1, None], "kind": ["b", "a"], "auc": [0.5, 0.7]}, "auc").data[0]
    assert [axis["label"] for axis in axes.dimensions] == ["depth", "kind", "auc"]
    assert axes.dimensions[1] == {"label": "kind", "values": [1, 0], "tickvals": [0, 1], "ticktext": ["a", "b"]}
    assert axes.line["color"] == [0.5, 0.7]
    bars = figures.draw_importance(Importance("auc", 9, "rank correlation", (Weight("a", 0.9, 1.0),)))
    assert (bars.data[0].x, bars.layout["title"]) == ([0.9], "auc: rank correlation over 9 runs")


def test_without_plotly_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "plotly", None)
    monkeypatch.setitem(sys.modules, "plotly.graph_objects", None)
    with pytest.raises(MissingExtra, match=r"trivet\[plotly\]"):
        figures.draw_scatter([], [], [], ("x", "y"))
