"""The identity of a model: equal for equal fits in other processes, unequal for other data."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import BaseEstimator
from sklearn.ensemble import RandomForestClassifier

from trivet.errors import Invalid
from trivet.pipelines.values.fitted import fitted_digest

SCRIPT = """
import json, sys
import numpy as np
from sklearn.cluster import KMeans
from sklearn.compose import make_column_transformer
from sklearn.ensemble import *
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeRegressor
from trivet.pipelines.values.fitted import fitted_digest

def fits(shift):
    rng = np.random.default_rng(shift)
    x = rng.normal(size=(150, 4))
    y = (x[:, 0] + x[:, 1] ** 2 > 0.5).astype(int)
    yield "hist", HistGradientBoostingClassifier(max_iter=5, random_state=0, early_stopping=True), x, y
    told = HistGradientBoostingRegressor(max_iter=5, categorical_features=[0], random_state=0)
    yield "hist regressor", told, np.abs(x).round(), y
    yield "forest", RandomForestClassifier(n_estimators=5, random_state=0, n_jobs=THREADS), x, y
    yield "isolation", IsolationForest(n_estimators=5, random_state=0), x, None
    yield "boosting", GradientBoostingClassifier(n_estimators=5, random_state=0), x, y
    yield "tree", DecisionTreeRegressor(random_state=0), x, y
    yield "logistic", make_pipeline(StandardScaler(), LogisticRegression()), x, y
    columns = make_column_transformer((OneHotEncoder(), [0]), (FunctionTransformer(np.abs), [1]))
    yield "columns", make_pipeline(columns, Ridge()), x.round(), y
    yield "kmeans", KMeans(3, n_init=2, random_state=0), x, None
    yield "mlp", MLPClassifier((3,), max_iter=5, random_state=0), x, y
    yield "neighbours", KNeighborsClassifier(), x, y
    yield "text", TfidfVectorizer(), [f"word{n % (7 + shift)} other{n % 3}" for n in range(50)], None

import warnings
warnings.simplefilter("ignore")
print(json.dumps({name: fitted_digest(e.fit(x, y) if y is not None else e.fit(x)) for name, e, x, y in fits(SHIFT)}))
"""


def digests(*, shift=0, threads=1, hashing="random"):
    script = SCRIPT.replace("SHIFT", str(shift)).replace("THREADS", str(threads))
    variables = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONHASHSEED": hashing}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=variables, check=True)
    return json.loads(done.stdout)


def test_equal_fits_agree_across_processes_and_other_data_does_not():
    first = digests(hashing="1")
    assert digests(threads=2, hashing="2") == first
    other = digests(shift=1)
    assert [name for name in first if other[name] == first[name]] == []
    assert len(set(first.values())) == len(first)


class Holder(BaseEstimator):
    def __init__(self, value=None):
        self.value = value


def of(value):
    return fitted_digest(Holder(value))


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (1, 1.0),
        (1, True),
        ([1, 2], (1, 2)),
        (np.array([1, 2]), np.array([1, 2], "int32")),
        (np.zeros((2, 3)), np.zeros((3, 2))),
        (np.float64(1), 1.0),
        ({"a": 1}, {"a": 2}),
        (np.abs, np.sqrt),
        (partial(int, base=2), partial(int, base=3)),
        (sp.csr_matrix(np.eye(2)), sp.csr_matrix(np.eye(2) * 2)),
        (np.random.RandomState(0), np.random.RandomState(1)),
        (np.random.default_rng(0), np.random.default_rng(1)),
        (np.array([(1, 2.0)], "i4,f8"), np.array([(1, 3.0)], "i4,f8")),
        (np.array(["a", None], object), np.array(["a", "b"], object)),
    ],
)
def test_values_that_differ(left, right):
    assert of(left) != of(right)
    assert of(left) == of(left)


def test_values_that_are_the_same():
    assert of({"a": 1, "b": 2}) == of({"b": 2, "a": 1})
    assert of(np.arange(6).reshape(2, 3)) == of(np.asfortranarray(np.arange(6).reshape(2, 3)))
    assert of(np.array([1.0]).astype(">f8")) == of(np.array([1.0]))
    padded = np.zeros(2, np.dtype([("a", "i1"), ("b", "f8")], align=True))
    padded.view("u1")[1:8] = 7
    assert of(padded) == of(np.zeros(2, np.dtype([("a", "i1"), ("b", "f8")], align=True)))
    assert of({1, 2, 3}) == of({3, 2, 1})


def test_cycles_end():
    def cyclic(value):
        items: list = [value]
        items.append(items)
        return items

    assert of(cyclic(1)) == of(cyclic(1)) != of(cyclic(2))


def test_how_many_threads_and_how_much_is_printed_do_not_count():
    x, y = np.random.default_rng(0).normal(size=(50, 2)), np.arange(50) % 2
    fits = [RandomForestClassifier(3, random_state=0, n_jobs=n, verbose=0).fit(x, y) for n in (1, 2)]
    assert fitted_digest(fits[0]) == fitted_digest(fits[1])


def test_what_has_no_state_is_a_sentence():
    with pytest.raises(Invalid, match="whose state cannot be read"):
        of(n for n in range(3))
