"""The standard measures of a model on rows it has not seen: plain numbers, for comparing runs.

Evidence with bounds, on which anything depends, is the work of ``trivet.training.gates``.
"""

from __future__ import annotations

from typing import Any

from trivet.errors import Invalid
from trivet.training.answers import Answers
from trivet.training.measures import find

__all__ = ["evaluate"]

STANDARD = {
    "regression": ("rmse", "mae", "r2"),
    "binary": ("auc", "average_precision", "log_loss", "brier", "accuracy"),
    "multiclass": ("log_loss", "accuracy"),
}


def evaluate(model: Any, test: Any) -> dict[str, float]:
    """The measures that fit the kind of model, by name.

    Of a classifier of two classes AUC, average precision, log loss, Brier score and accuracy; of more classes log
    loss and accuracy; of numbers RMSE, MAE and R2. Measures that the rows do not define (the AUC of a single class)
    are left out, and so are those of probabilities where the model answers none.

    Raises:
        NotFound: the label is no column of ``test``.
        Invalid: there are no labelled rows, or labels that the model does not know.

    Example:
        >>> import polars as pl
        >>> from trivet.training.fit import fit
        >>> rows = pl.DataFrame({"x": range(8), "late": [False, True] * 4})
        >>> list(evaluate(fit(rows, "LogisticRegression", label="late"), rows))
        ['auc', 'average_precision', 'log_loss', 'brier', 'accuracy']
    """
    answers = Answers(model, test)
    if not answers.frame.height:
        raise Invalid(f"There are no labelled rows to evaluate on: {answers.unlabelled} have no {answers.label!r}.")
    names = [
        name for name in STANDARD[answers.kind] if find(name).needs != "probability" or _answers_probability(model)
    ]
    values = {name: _value(name, answers) for name in names}
    return {name: value for name, value in values.items() if value == value}


def _answers_probability(model: Any) -> bool:
    return hasattr(getattr(model, "estimator", model), "predict_proba")


def _value(name: str, answers: Answers) -> float:
    measure = find(name)
    multiclass = name == "log_loss" and answers.kind == "multiclass"
    return measure(*(answers.log_losses if multiclass else answers.of(measure.needs)))
