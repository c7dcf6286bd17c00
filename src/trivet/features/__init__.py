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
from trivet.features.definitions import Entity, FeatureView, Source, Times, feature_view
from trivet.features.references import Selected, resolve, select_all

__all__ = [
    "Aggregate",
    "Entity",
    "FeatureView",
    "Selected",
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
    "quantile",
    "resolve",
    "select_all",
    "std",
    "sum",
]
