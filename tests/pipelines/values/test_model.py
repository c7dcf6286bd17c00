"""A model remembers how it was trained to read its inputs, and its file cannot run code."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
import zipfile
from types import SimpleNamespace

import msgspec
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import threadpoolctl
from sklearn.cluster import KMeans
from sklearn.compose import make_column_transformer
from sklearn.ensemble import (
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from trivet.digest import digest_bytes
from trivet.errors import Corrupt, Invalid, NotFound, Refused
from trivet.ledger import Artifact
from trivet.pipelines import values
from trivet.pipelines.values.model import Column, Model, Signature


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Two threads on a busy machine wait for one another."""
    with threadpoolctl.threadpool_limits(1):
        yield


@pytest.fixture(scope="module")
def frame():
    rng, n = np.random.default_rng(0), 400
    frame = pd.DataFrame(
        {
            "distance": rng.normal(size=n),
            "carrier": pd.Series(rng.choice(["UA", "AA", "DL"], n)).where(rng.random(n) > 0.05, None),
            "night": rng.random(n) > 0.5,
        }
    )
    frame["late"] = np.where(frame.distance + (frame.carrier == "DL") > 0.5, "yes", "no")
    return frame


@pytest.fixture(scope="module")
def model(frame):
    return Model.fit(HistGradientBoostingClassifier(max_iter=10, random_state=0), frame, label="late")


def test_the_signature_says_what_the_model_takes(model):
    inputs = (
        Column("distance", "number"),
        Column("carrier", "category", ("AA", "DL", "UA")),
        Column("night", "boolean"),
    )
    assert model.signature == Signature(inputs, "late", ("no", "yes"))
    assert repr(model) == "<Model HistGradientBoostingClassifier of 'late': 3 inputs, 2 classes>"


@pytest.mark.parametrize(
    "convert", [lambda f: f, pl.from_pandas, pa.Table.from_pandas, lambda f: f.astype({"carrier": "category"})]
)
def test_any_frame_gives_the_same_model(model, frame, convert):
    other = Model.fit(HistGradientBoostingClassifier(max_iter=10, random_state=0), convert(frame), label="late")
    assert values.store(other, Sink())[1].content == values.store(model, Sink())[1].content
    np.testing.assert_array_equal(other.predict_proba(convert(frame)), model.predict_proba(frame))


class Sink:
    def put(self, content):
        from trivet.ledger import File

        return File(digest_bytes(content), len(content))


def test_rows_and_frames_get_the_same_answers(model, frame):
    rows = pa.Table.from_pandas(frame.drop(columns="late").head(50)).to_pylist()
    answers = model.score(rows)
    np.testing.assert_array_equal([a["prediction"] for a in answers], model.predict(frame.head(50)))
    chances = [[a["probability"]["no"], a["probability"]["yes"]] for a in answers]
    np.testing.assert_array_equal(chances, model.predict_proba(frame.head(50)))
    np.testing.assert_array_equal(np.concatenate([model.encode_row(row) for row in rows]), model.encode(frame.head(50)))
    assert msgspec.json.encode(answers)
    assert model.score([]) == []


def test_a_model_comes_back_the_same(model, frame, context):
    artifact = values.save(model, context)
    again = values.load(artifact, context.blobs)
    assert again.signature == model.signature
    np.testing.assert_array_equal(again.predict_proba(frame), model.predict_proba(frame))
    assert values.save(again, context).digest == artifact.digest
    assert artifact.kind == "model"
    assert msgspec.json.decode(msgspec.json.encode(artifact.spec)) == artifact.spec


@pytest.mark.parametrize(
    "estimator",
    [
        HistGradientBoostingClassifier(max_iter=5, random_state=0),
        RandomForestClassifier(5, random_state=0),
        make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression()),
    ],
)
def test_identity_survives_the_file_and_follows_the_data(estimator, frame, context):
    model = Model.fit(estimator, frame, label="late")
    artifact = values.save(model, context)
    assert values.save(values.load(artifact, context.blobs), context).digest == artifact.digest
    assert values.save(Model.fit(estimator, frame, label="late"), context).digest == artifact.digest
    assert values.save(Model.fit(estimator, frame[5:], label="late"), context).digest != artifact.digest
    assert not hasattr(estimator, "classes_")  # the user's own estimator is left unfitted


def test_regressors_answer_numbers(frame, context):
    data = frame.drop(columns=["late", "carrier"]).assign(y=frame.distance * 2)
    model = Model.fit(GradientBoostingRegressor(n_estimators=5, random_state=0), data, label="y")
    assert model.signature.classes is None
    (answer,) = model.score([{"distance": 1.0, "night": True}])
    assert answer == {"prediction": model.predict(data.assign(distance=1.0, night=True))[0]}
    with pytest.raises(Invalid, match="has no probabilities"):
        model.predict_proba(data)
    values.load(values.save(model, context), context.blobs)


@pytest.mark.parametrize(
    ("labels", "keys"), [([0, 1], ["0", "1"]), ([True, False], ["false", "true"]), ([0.5, 1.5], None)]
)
def test_classes_of_any_json_type(frame, labels, keys):
    data = frame[["distance"]].assign(y=np.where(frame.late == "yes", labels[0], labels[1]))
    estimator = HistGradientBoostingClassifier(max_iter=2) if keys else HistGradientBoostingRegressor(max_iter=2)
    model = Model.fit(estimator, data, label="y")
    (answer,) = model.score([{"distance": 0.5}])
    if keys:
        assert list(answer["probability"]) == keys
        assert answer["prediction"] in labels
    assert msgspec.json.encode(answer)


def test_gradient_boosting_is_told_which_columns_are_categories(model, frame):
    assert model.estimator.categorical_features == [1]
    told = Model.fit(HistGradientBoostingClassifier(max_iter=2, categorical_features=[2]), frame, label="late")
    assert told.estimator.categorical_features == [2]
    many = pd.DataFrame({"c": [f"c{n:03}" for n in range(600)] * 2, "y": [0, 1] * 600})
    assert Model.fit(HistGradientBoostingClassifier(max_iter=2), many, label="y").estimator.categorical_features is None


def test_telling_it_equals_a_frame_with_categorical_columns(frame):
    """Our matrix and scikit-learn's own reading of a frame give the same model."""
    data = frame.dropna().astype({"carrier": "category", "night": float})
    ours = Model.fit(HistGradientBoostingClassifier(max_iter=10, random_state=0), data, label="late")
    theirs = HistGradientBoostingClassifier(max_iter=10, random_state=0).fit(data.drop(columns="late"), data.late)
    np.testing.assert_array_equal(ours.predict_proba(data), theirs.predict_proba(data.drop(columns="late")))


class TrainingSet:
    """What a training set of the features leg looks like from here."""

    def __init__(self, frame):
        self.frame, self.label = frame, "late"
        self.columns_of_features = [Column("distance", "number", None, "flights:distance", "f" * 64)]
        self.artifact = SimpleNamespace(digest="a" * 64)

    def to_arrow(self):
        return pa.Table.from_pandas(self.frame, preserve_index=False)


def test_a_training_set_brings_label_features_and_provenance(frame, context):
    train = TrainingSet(frame)
    model = Model.fit(HistGradientBoostingClassifier(max_iter=2), train)
    assert model.signature.inputs == (Column("distance", "number", None, "flights:distance", "f" * 64),)
    assert model.training_set == "a" * 64
    wide = Model.fit(HistGradientBoostingClassifier(max_iter=2), train, features=["distance", "night"])
    assert [column.feature for column in wide.signature.inputs] == ["flights:distance", None]
    assert len(model.predict(train)) == len(frame)
    artifact = values.save(model, context)
    assert values.load(artifact, context.blobs).training_set == "a" * 64


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ({}, Invalid, "Which column to predict"),
        ({"label": "lat"}, NotFound, "no column 'lat'. Did you mean 'late'"),
        ({"label": "late", "features": ["distanc"]}, NotFound, "Did you mean 'distance'"),
        ({"label": "late", "features": ["late"]}, Invalid, "must not see what it predicts"),
        ({"label": "carrier"}, Invalid, "is null in [0-9]+ of 400 rows"),
    ],
)
def test_bad_input_is_a_sentence(frame, arguments, error, sentence):
    with pytest.raises(error, match=sentence):
        Model.fit(HistGradientBoostingClassifier(), frame, **arguments)


def test_no_rows_and_no_model_are_sentences(frame, context):
    with pytest.raises(Invalid, match="no rows"):
        Model.fit(HistGradientBoostingClassifier(), frame.head(0), label="late")
    with pytest.raises(Invalid, match="is not fitted"):
        values.save(LogisticRegression(), context)
    with pytest.raises(Invalid, match="distance is 'far', and a number is expected"):
        Model.fit(HistGradientBoostingClassifier(max_iter=2), frame, label="late").score(
            [{"distance": "far", "carrier": None, "night": None}]
        )


def test_a_fitted_estimator_is_wrapped_as_it_is(frame, context):
    x = frame[["distance", "night"]].astype(float)
    by_matrix = Model.wrap(LogisticRegression().fit(x.to_numpy(), frame.late))
    assert by_matrix.features == ("x0", "x1")
    assert by_matrix.score([{"x0": 1.0, "x1": 0}])[0]["prediction"] in {"yes", "no"}
    by_frame = LogisticRegression().fit(x, frame.late)
    artifact = values.save(by_frame, context)
    again = values.load(artifact, context.blobs)
    assert again.features == ("distance", "night")
    np.testing.assert_array_equal(again.predict(x), by_frame.predict(x))
    rows = x.head(5).to_dict(orient="records")
    assert [a["prediction"] for a in again.score(rows)] == list(by_frame.predict(x.head(5)))
    assert Model.wrap(KMeans(2, n_init=1).fit(x.to_numpy())).score([{"x0": 0.0, "x1": 1}])[0]["prediction"] in {0, 1}


def test_a_pipeline_that_encodes_text_itself_keeps_doing_so(frame, context):
    columns = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["carrier"]), remainder="passthrough")
    data = frame.dropna()
    pipeline = make_pipeline(columns, LogisticRegression()).fit(data[["distance", "carrier"]], data.late)
    again = values.load(values.save(pipeline, context), context.blobs)
    assert again.signature.inputs == (Column("distance", "number"), Column("carrier", "category", ("AA", "DL", "UA")))
    assert [
        a["prediction"] for a in again.score([{"distance": 0.5, "carrier": "DL"}, {"distance": -3, "carrier": "?"}])
    ] == list(pipeline.predict(pd.DataFrame({"distance": [0.5, -3], "carrier": ["DL", "?"]})))
    np.testing.assert_array_equal(again.predict(pl.from_pandas(data)), pipeline.predict(data[["distance", "carrier"]]))


# --- trust -------------------------------------------------------------------------------------------------


def forged(model, context, old, new):
    """The model's file with another type written into it."""
    artifact = values.save(model, context)
    source = zipfile.ZipFile(io.BytesIO(context.blobs.read(artifact.files["model.skops"].digest)))
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as target:
        for name in source.namelist():
            data = source.read(name)
            if name == "schema.json":
                schema = json.loads(data)
                assert (schema["__module__"], schema["__class__"]) == old
                schema["__module__"], schema["__class__"] = new
                data = json.dumps(schema).encode()
            target.writestr(name, data)
    files = dict(artifact.files) | {"model.skops": context.blobs.put(stream.getvalue())}
    return Artifact.of("model", artifact.spec, files, created=context.clock())


@pytest.mark.parametrize(
    "type_",
    [
        ("os", "system"),
        ("subprocess", "Popen"),
        ("builtins", "eval"),
        ("numpy", "load"),
        ("sklearn.datasets", "fetch_openml"),
    ],
)
def test_types_that_could_run_code_are_refused(context, type_):
    model = Model.wrap(LogisticRegression().fit([[0.0], [1.0]], [0, 1]))
    artifact = forged(model, context, ("sklearn.linear_model._logistic", "LogisticRegression"), type_)
    with pytest.raises(Refused, match=r".".join(type_)):
        values.load(artifact, context.blobs)


class Evil(LogisticRegression):
    """A class of the user's own."""


def test_an_estimator_of_ones_own_is_refused_when_loaded(context):
    artifact = values.save(Evil().fit([[0.0], [1.0]], [0, 1]), context)
    with pytest.raises(Refused, match="Evil, and only"):
        values.load(artifact, context.blobs)


def test_damage_is_corrupt(context):
    artifact = values.save(LogisticRegression().fit([[0.0], [1.0]], [0, 1]), context)
    for name in artifact.files:
        files = dict(artifact.files) | {name: context.blobs.put(b"{")}
        with pytest.raises(Corrupt):
            values.load(Artifact.of("model", artifact.spec, files, created=context.clock()), context.blobs)


def test_importing_the_kind_imports_neither_scikit_learn_nor_skops():
    code = "import sys, trivet.pipelines.values.model; print(sorted({'sklearn', 'skops'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_encode_row_is_fast(model):
    row = {"distance": 0.5, "carrier": "AA", "night": True}
    started = time.perf_counter()
    for _ in range(1000):
        model.encode_row(row)
    assert time.perf_counter() - started < 0.1
