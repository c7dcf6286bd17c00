"""What each page shows, as plain data: functions from the project and the request's words.

A view asks the public API only, answers JSON values (plus drawings, which the API leaves out), and leaves markup to
the templates. One file per noun; ``shapes`` and ``graphs`` are what several of them show.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trivet.server.views.artifacts import artifact
from trivet.server.views.comparisons import compare
from trivet.server.views.deployments import deployment, deployments
from trivet.server.views.differences import difference
from trivet.server.views.features import definition, feature, features
from trivet.server.views.models import model, models
from trivet.server.views.overview import overview
from trivet.server.views.places import place
from trivet.server.views.predictions import prediction
from trivet.server.views.quality import expectations, quality
from trivet.server.views.runs import run, runs
from trivet.server.views.series import one_series, series
from trivet.server.views.sources import entity, source, sources
from trivet.server.views.tables import table, tables

__all__ = [
    "artifact",
    "compare",
    "definition",
    "deployment",
    "deployments",
    "difference",
    "entity",
    "expectations",
    "feature",
    "features",
    "model",
    "models",
    "one_series",
    "overview",
    "place",
    "prediction",
    "quality",
    "run",
    "runs",
    "series",
    "source",
    "sources",
    "table",
    "tables",
    "without_drawings",
]

_DRAWINGS = frozenset({"graph", "charts"})


def without_drawings(data: Mapping[str, Any]) -> dict[str, Any]:
    """A page's data without its pictures: what the API answers."""
    return {key: value for key, value in data.items() if key not in _DRAWINGS}
