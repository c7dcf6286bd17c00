"""The standard measures by the kind of model, against scikit-learn."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import sklearn.metrics as oracle
from sklearn.svm import LinearSVC

from tests.training.models import Scorer, rows
from trivet.errors import Invalid, NotFound
from trivet.training.evaluate import evaluate
from trivet.training.fit import fit


def test_two_classes() -> None:
    train, test = rows(1500), rows(1000, seed=1)
    model = fit(train, "LogisticRegression", features=["x", "origin"], label="late")
    y, p, said = test["late"], model.predict_proba(test)[:, 1], model.predict(test)
    assert evaluate(model, test) == pytest.approx(
        {
            "auc": oracle.roc_auc_score(y, p),
            "average_precision": oracle.average_precision_score(y, p),
            "log_loss": oracle.log_loss(y, p),
            "brier": oracle.brier_score_loss(y, p),
            "accuracy": oracle.accuracy_score(y, said),
        }
    )


def in_three(frame: pl.DataFrame) -> pl.DataFrame:
    early, late = pl.col("x") < -0.5, pl.col("x") > 0.8
    return frame.with_columns(
        late=pl.when(early).then(pl.lit("early")).when(late).then(pl.lit("late")).otherwise(pl.lit("on time"))
    )


def test_several_classes() -> None:
    frame, test = in_three(rows(900)), in_three(rows(400, seed=2))
    model = fit(frame, "RandomForestClassifier", n_estimators=20, max_depth=3, features=["x", "noise"], label="late")
    p = model.predict_proba(test)
    assert evaluate(model, test) == pytest.approx(
        {
            "log_loss": oracle.log_loss(test["late"].to_list(), p, labels=sorted({"early", "on time", "late"})),
            "accuracy": oracle.accuracy_score(test["late"].to_list(), model.predict(test)),
        }
    )


def test_numbers() -> None:
    frame = rows(900).with_columns(late=pl.col("x") * 2 + pl.col("noise"))
    model = fit(frame.head(600), "Ridge", features=["x"], label="late")
    test = frame.tail(300)
    y, said = test["late"], model.predict(test)
    assert evaluate(model, test) == pytest.approx(
        {
            "rmse": oracle.root_mean_squared_error(y, said),
            "mae": oracle.mean_absolute_error(y, said),
            "r2": oracle.r2_score(y, said),
        }
    )


def test_a_classifier_without_probabilities_is_judged_by_its_classes() -> None:
    model = fit(rows(600), LinearSVC(), features=["x"], label="late")
    assert set(evaluate(model, rows(300, seed=1))) == {"accuracy"}


def test_one_class_has_no_auc() -> None:
    found = evaluate(Scorer(x=1.0), rows().filter(pl.col("late") == 1))
    assert "auc" not in found
    assert found["log_loss"] > 0


def test_rows_without_labels_have_no_measures() -> None:
    with pytest.raises(Invalid, match="no labelled rows"):
        evaluate(Scorer(x=1.0), rows().with_columns(late=pl.lit(None)))
    with pytest.raises(NotFound, match="There is no column 'late'"):
        evaluate(Scorer(x=1.0), rows().drop("late"))


def test_a_model_that_answers_nonsense_is_refused() -> None:
    class Broken(Scorer):
        def predict_proba(self, frame: pl.DataFrame) -> np.ndarray:
            return np.full((len(frame), 2), np.nan)

    with pytest.raises(Invalid, match="hold no finite number as answer"):
        evaluate(Broken(x=1.0), rows(10))
