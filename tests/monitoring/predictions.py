"""Prediction records and labels as serving and labelling keep them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import polars as pl

START = datetime(2026, 1, 1, tzinfo=UTC)


def predictions(
    count: int = 1000, seed: int = 0, *, every: timedelta = timedelta(minutes=10), shift: float = 0.0
) -> pl.DataFrame:
    """Predictions of one model, at regular times, with the feature ``x`` and the request's value ``plan``."""
    generator = np.random.default_rng(seed)
    x = generator.normal(shift, 1, count)
    plans = generator.choice(["gold", "silver"], count)
    times = [START + index * every for index in range(count)]
    return pl.DataFrame(
        {
            "id": [f"p{index}" for index in range(count)],
            "at": pl.Series(times, dtype=pl.Datetime("us", "UTC")),
            "features": [msgspec.json.encode({"x": value}).decode() for value in x.tolist()],
            "request": [msgspec.json.encode({"plan": str(plan)}).decode() for plan in plans],
            "score": 1 / (1 + np.exp(1 - x)),
        }
    )


def labels(of: pl.DataFrame, seed: int = 0, *, after: timedelta = timedelta(hours=3)) -> pl.DataFrame:
    """One label for each prediction, drawn with the chance that its score says."""
    generator = np.random.default_rng(seed + 1)
    return pl.DataFrame(
        {
            "prediction": of["id"],
            "label": (generator.random(len(of)) < of["score"].to_numpy()).astype(float),
            "at": of["at"] + after,
        }
    )
