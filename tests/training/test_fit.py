"""Estimators by name: those of the list and no others, with their parameters checked."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from sklearn.base import is_classifier
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from tests.training.models import rows
from trivet.errors import Invalid, NotFound
from trivet.training.fit import ESTIMATORS, estimator_of, fit


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("name", ESTIMATORS)
def test_every_listed_estimator_fits_rows_with_gaps(name: str) -> None:
    frame = rows(60).with_columns(x=pl.when(pl.int_range(pl.len()) == 3).then(None).otherwise("x"))
    model = fit(frame, name, features=["x", "origin"], label="late")
    assert np.isfinite(model.predict(frame).astype(float)).all()
    assert (model.signature.classes is not None) == is_classifier(model.estimator)


def test_names_may_be_dotted() -> None:
    assert type(estimator_of("sklearn.ensemble.RandomForestClassifier")) is RandomForestClassifier
    assert type(estimator_of("ensemble.RandomForestClassifier")) is RandomForestClassifier


@pytest.mark.parametrize(
    "name", ["os.system", "sklearn.linear_model.RandomForestClassifier", "RandomForest", "", "x.RandomForestClassifier"]
)
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(NotFound, match="There is no estimator"):
        estimator_of(name)


def test_the_nearest_names_are_offered() -> None:
    with pytest.raises(NotFound, match="Did you mean 'RandomForestClassifier'"):
        estimator_of("RandomForestClasifier")
    with pytest.raises(
        NotFound, match=r"There is no parameter of RandomForestClassifier 'max_dept'\. Did you mean 'max_depth'"
    ):
        estimator_of("RandomForestClassifier", max_dept=3)


def test_parameters_and_seed_reach_the_estimator() -> None:
    made = estimator_of("RandomForestClassifier", seed=7, max_depth=3)
    assert (made.max_depth, made.random_state) == (3, 7)
    assert estimator_of("RandomForestClassifier", seed=7, random_state=1).random_state == 1
    piped = estimator_of("LogisticRegression", C=0.5)
    assert isinstance(piped, Pipeline)
    assert piped[-1].C == 0.5


def test_an_estimator_of_ones_own_is_left_alone() -> None:
    own = LogisticRegression()
    made = estimator_of(own, C=0.5)
    assert (made.C, own.C) == (0.5, 1.0)
    with pytest.raises(Invalid, match="has fit"):
        estimator_of(7)


def test_the_same_seed_makes_the_same_model() -> None:
    first, again = (fit(rows(300), "RandomForestClassifier", n_estimators=5, seed=3, label="late") for _ in range(2))
    assert (first.predict_proba(rows(50)) == again.predict_proba(rows(50))).all()
