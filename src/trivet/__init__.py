"""Trivet: MLOps on three legs. Access to data, keeping track, deployment. This file is the public API.

    import trivet as tv

    project = tv.open()                                 # trivet.toml upwards from here, else embedded in ./.trivet

Every name below is imported when it is first used, so that ``import trivet`` loads no heavy library.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from trivet.errors import TrivetError as TrivetError
    from trivet.features.aggregates import count as count
    from trivet.features.aggregates import first as first
    from trivet.features.aggregates import last as last
    from trivet.features.aggregates import latest as latest
    from trivet.features.aggregates import max as max  # noqa: A004
    from trivet.features.aggregates import mean as mean
    from trivet.features.aggregates import min as min  # noqa: A004
    from trivet.features.aggregates import nunique as nunique
    from trivet.features.aggregates import quantile as quantile
    from trivet.features.aggregates import std as std
    from trivet.features.aggregates import sum as sum  # noqa: A004
    from trivet.features.declare import feature_view as feature_view
    from trivet.features.definitions import Entity as Entity
    from trivet.features.definitions import FeatureView as FeatureView
    from trivet.features.definitions import Source as Source
    from trivet.features.definitions import Times as Times
    from trivet.features.on_demand import on_demand as on_demand
    from trivet.features.quality.expectation import expect as expect
    from trivet.features.quality.expectation import expect_fresh as expect_fresh
    from trivet.features.quality.expectation import expect_rows as expect_rows
    from trivet.features.quality.expectations import Expectations as Expectations
    from trivet.features.services import FeatureService as FeatureService
    from trivet.features.training_set import TrainingSet as TrainingSet
    from trivet.pipelines.task import pipeline as pipeline
    from trivet.pipelines.task import task as task
    from trivet.pipelines.values.model import Model as Model
    from trivet.project import Project as Project
    from trivet.project import open as open  # noqa: A004
    from trivet.training.evaluate import evaluate as evaluate
    from trivet.training.fit import fit as fit
    from trivet.training.gates import Gate as Gate
    from trivet.training.gates import GateReport as GateReport
    from trivet.training.gates import at_least as at_least
    from trivet.training.gates import at_most as at_most
    from trivet.training.gates import better_than as better_than
    from trivet.training.gates import judge as judge
    from trivet.training.gates import not_worse_than as not_worse_than
    from trivet.training.gates import slices as slices

__version__ = "0.1.0"

_HOMES = {
    "trivet.errors": ("TrivetError",),
    "trivet.project": ("Project", "open"),
    # leg one: access to data
    "trivet.features.definitions": ("Entity", "FeatureView", "Source", "Times"),
    "trivet.features.declare": ("feature_view",),
    "trivet.features.on_demand": ("on_demand",),
    "trivet.features.services": ("FeatureService",),
    "trivet.features.aggregates": (
        *("count", "first", "last", "latest", "max", "mean", "min", "nunique", "quantile", "std", "sum"),
    ),
    "trivet.features.quality.expectation": ("expect", "expect_fresh", "expect_rows"),
    "trivet.features.quality.expectations": ("Expectations",),
    "trivet.features.training_set": ("TrainingSet",),
    # what runs: plain functions, models
    "trivet.pipelines.task": ("pipeline", "task"),
    "trivet.pipelines.values.model": ("Model",),
    # leg three: training and gates
    "trivet.training.evaluate": ("evaluate",),
    "trivet.training.fit": ("fit",),
    "trivet.training.gates": (
        *("Gate", "GateReport", "at_least", "at_most", "better_than", "judge", "not_worse_than", "slices"),
    ),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = ["__version__", *sorted(_HOME)]  # noqa: PLE0604 - names, computed


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'trivet' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
