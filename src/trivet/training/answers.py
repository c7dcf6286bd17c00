"""What a model says about labelled rows, in the form that a measure needs.

The rows come as a training set (anything with ``to_polars()`` and ``label``) or as any data frame, the model as
``trivet.pipelines.values.model.Model`` or anything with its ``signature``, ``predict`` and ``predict_proba``.
Invariant: every array is about the same rows in the same order; rows without a label are left out and counted.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from trivet.errors import Invalid, NotFound
from trivet.training.measures import Array, Needs

__all__ = ["Answers", "as_polars"]


def as_polars(data: Any) -> pl.DataFrame:
    """A training set or a data frame (Polars, pandas, Arrow) as Polars.

    Raises:
        Invalid: ``data`` is none of these.
    """
    if isinstance(data, pl.DataFrame):
        return data
    if hasattr(data, "to_polars"):
        return as_polars(data.to_polars())
    from trivet.pipelines.values.table import as_arrow

    return pl.DataFrame(as_arrow(data))


class Answers:
    """A model's answers about the labelled rows of ``test``.

    Attributes:
        frame: the rows that have a label.
        unlabelled: how many had none.
        classes: the classes of the label, or None where it is a number.

    Raises:
        NotFound: the label is no column of ``test``.
    """

    def __init__(self, model: Any, test: Any) -> None:
        frame = as_polars(test)
        label = getattr(test, "label", None) or model.signature.target
        if not label:
            raise Invalid("The model does not know which column it predicts. Make it with Model.fit(label=).")
        if label not in frame.columns:
            raise NotFound("column", label, frame.columns, hint="The label must be among the rows to judge a model on.")
        self.model, self.label = model, label
        self.frame = frame.filter(pl.col(label).is_not_null())
        self.unlabelled = frame.height - self.frame.height
        self.classes: tuple[Any, ...] | None = (
            None if model.signature.classes is None else tuple(model.signature.classes)
        )

    @property
    def kind(self) -> str:
        """``regression``, ``binary`` or ``multiclass``."""
        if self.classes is None:
            return "regression"
        return "binary" if len(self.classes) == 2 else "multiclass"

    @property
    def positives(self) -> int | None:
        """How many rows are of the last of two classes; None where there are no two classes."""
        return int(self.truth.sum()) if self.kind == "binary" else None

    @cached_property
    def truth(self) -> Array:
        """The label: a number, or the place of its class among the classes."""
        values = self.frame[self.label]
        if self.classes is None:
            return self._numbers(values)
        return self._places(values.to_list(), "label")

    def of(self, needs: Needs) -> tuple[Array, Array]:
        """What happened and what the model said, as a measure that ``needs`` this takes them.

        Raises:
            Invalid: this kind of model does not answer that.
        """
        match needs, self.kind:
            case "class", "binary" | "multiclass":
                return self.truth, self._said_classes
            case "probability", "binary":
                return self.truth, self._probabilities[:, 1]
            case "value", "regression":
                return self.truth, self._said_values
        articles = {"regression": "a number", "binary": "one of two classes", "multiclass": "one of several classes"}
        raise Invalid(f"A measure that needs a {needs} cannot judge a model that predicts {articles[self.kind]}.")

    @cached_property
    def log_losses(self) -> tuple[Array, Array]:
        """Ones, and the probability given to the class that came: the log loss for any number of classes."""
        given = self._probabilities[np.arange(self.frame.height), self.truth.astype(int)]
        return np.ones(self.frame.height), given

    def constant(self, needs: Needs) -> Array:
        """The best constant answer in hindsight: the shares of the classes, the commonest class, or the mean."""
        truth = self.truth
        if self.kind == "multiclass" and needs == "probability":
            shares = np.bincount(truth.astype(int)) / max(len(truth), 1)
            return np.asarray(shares[truth.astype(int)])
        if not len(truth):
            return truth
        best = float(np.bincount(truth.astype(int)).argmax()) if needs == "class" else float(truth.mean())
        return np.full(len(truth), best)

    @cached_property
    def _probabilities(self) -> Array:
        if not self.frame.height:
            return np.empty((0, len(self.classes or ())))
        said = np.asarray(self.model.predict_proba(self.frame), dtype=float)
        if said.shape != (self.frame.height, len(self.classes or ())):
            raise Invalid(f"The model answered probabilities of shape {said.shape} for {self.frame.height} rows.")
        return said

    @cached_property
    def _said_classes(self) -> Array:
        if not self.frame.height:
            return np.empty(0)
        return self._places(np.asarray(self.model.predict(self.frame)).tolist(), "prediction")

    @cached_property
    def _said_values(self) -> Array:
        if not self.frame.height:
            return np.empty(0)
        return np.asarray(self.model.predict(self.frame), dtype=float)

    def _numbers(self, values: pl.Series) -> Array:
        try:
            return values.cast(pl.Float64).to_numpy()
        except pl.exceptions.PolarsError as exc:
            raise Invalid(f"The label {self.label!r} holds {values.dtype}, and the model predicts numbers.") from exc

    def _places(self, values: list[Any], what: str) -> Array:
        places = {value: index for index, value in enumerate(self.classes or ())}
        if unknown := sorted({repr(value) for value in values if value not in places}):
            known = ", ".join(repr(value) for value in places)
            raise Invalid(
                f"The {what} {self.label!r} holds {', '.join(unknown[:3])}; the model knows the classes {known}."
            )
        return np.array([places[value] for value in values], dtype=float)
