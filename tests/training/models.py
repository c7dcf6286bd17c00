"""Models whose quality is known, and rows to judge them on."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import polars as pl


class Scorer:
    """Answers the logistic function of a weighted sum of columns: as much of a model as judging asks for."""

    def __init__(self, shift: float = 0.0, classes: tuple[Any, ...] | None = (0, 1), **weights: float) -> None:
        self.weights, self.shift = weights, shift
        self.signature = SimpleNamespace(target="late", classes=classes)
        self.estimator = self

    def values(self, frame: pl.DataFrame) -> np.ndarray:
        return sum((weight * frame[name].to_numpy() for name, weight in self.weights.items()), np.zeros(len(frame)))

    def predict_proba(self, frame: pl.DataFrame) -> np.ndarray:
        p = 1 / (1 + np.exp(-(self.values(frame) + self.shift)))
        return np.stack([1 - p, p], axis=1)

    def predict(self, frame: pl.DataFrame) -> np.ndarray:
        classes = self.signature.classes
        if classes is None:
            return self.values(frame)
        return np.array(classes, dtype=object)[(self.predict_proba(frame)[:, 1] > 0.5).astype(int)]


def rows(count: int = 4000, seed: int = 0, **also: Any) -> pl.DataFrame:
    """Rows with the label ``late``, a column ``x`` that tells about it, ``noise`` that does not, and ``origin``."""
    generator = np.random.default_rng(seed)
    late = (generator.random(count) < 0.25).astype(int)
    return pl.DataFrame(
        {
            "late": late,
            "x": generator.normal(size=count) + late,
            "noise": generator.normal(size=count),
            "origin": generator.choice(["EWR", "JFK", "LGA"], count),
            **also,
        }
    )
