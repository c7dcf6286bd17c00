"""Leg one, access to data: definitions, point-in-time training sets, online features."""

from trivet.features.aggregates import (
    Aggregate,
    count,
    first,
    last,
    latest,
    max,  # noqa: A004 - words of the vocabulary, used as tv.max
    mean,
    min,  # noqa: A004
    nunique,
    quantile,
    std,
    sum,  # noqa: A004
)
from trivet.features.declare import feature_view
from trivet.features.definitions import Entity, FeatureView, Source, Times
from trivet.features.on_demand import OnDemand, on_demand
from trivet.features.references import Selected, Selection, resolve, select_all
from trivet.features.services import FeatureService

__all__ = [
    "Aggregate",
    "Entity",
    "FeatureService",
    "FeatureView",
    "OnDemand",
    "Selected",
    "Selection",
    "Source",
    "Times",
    "count",
    "feature_view",
    "first",
    "last",
    "latest",
    "max",
    "mean",
    "min",
    "nunique",
    "on_demand",
    "quantile",
    "resolve",
    "select_all",
    "std",
    "sum",
]
