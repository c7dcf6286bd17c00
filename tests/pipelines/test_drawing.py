"""What travels into a restored place."""

import importlib.util
import shutil

import numpy as np
import polars as pl
import pytest
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.tree import DecisionTreeClassifier

from trivet.pipelines import drawing
from trivet.pipelines.drawing import answers, draw
from trivet.pipelines.values.model import Model

ROWS = pl.DataFrame({"x": [0.0, 1.0, 2.0, 3.0], "y": [0, 0, 1, 1], "name": ["a", "b", "c", "c"]})


def test_a_copy_of_it_works_under_another_name(tmp_path):
    copy = shutil.copy(drawing.__file__, tmp_path / "copied.py")
    spec = importlib.util.spec_from_file_location("copied", copy)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.answers(Model.fit(LinearRegression(), ROWS, features=["x"], label="y"), ROWS)["values"]


def test_the_chance_of_two_classes_of_more_and_numbers():
    two = Model.fit(LogisticRegression(), ROWS, features=["x"], label="y")
    assert answers(two, ROWS)["values"] == two.predict_proba(ROWS)[:, 1].tolist()
    more = Model.fit(DecisionTreeClassifier(), ROWS, features=["x"], label="name")
    assert np.asarray(answers(more, ROWS)["values"]).shape == (4, 3)
    number = Model.fit(LinearRegression(), ROWS, features=["x"], label="y")
    assert answers(number, ROWS)["values"] == number.predict(ROWS).tolist()


def test_what_is_no_pipeline_is_not_drawn():
    with pytest.raises(TypeError, match="json:loads is no pipeline but function"):
        draw("json:loads", {}, {}, "memory:", ".")
