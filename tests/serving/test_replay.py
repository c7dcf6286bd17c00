import importlib

import msgspec
import numpy as np
import polars as pl
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

from tests.serving.conftest import SIGNATURE, Column, Signature, score
from trivet.errors import Invalid
from trivet.pipelines.values.model import Model
from trivet.serving.predictor import Request
from trivet.serving.records import to_arrow
from trivet.serving.replay import ENTRY, predict_again


class ByHand:
    signature = SIGNATURE

    def score(self, rows):
        return score(rows)


def test_the_recorded_output_comes_out_again_from_what_stands_in_the_table(make, log):
    values = {"distance": 123.5, "carrier": None, "night": True}
    make().predict([Request({"origin": origin}, values) for origin in ("JFK", "LGA", "x", None)])
    for row in to_arrow(log).to_pylist():
        parameters = {name: msgspec.json.decode(row[name]) for name in ("features", "request", "entities")}
        assert predict_again(ByHand(), **parameters) == msgspec.json.decode(row["output"])


def test_a_real_model_gives_the_recorded_output_to_the_last_bit(make, log):
    chance = np.random.default_rng(0)
    frame = pl.DataFrame(
        {
            "distance": chance.normal(500, 200, 300),
            "delay_3h": chance.exponential(10, 300),
            "carrier": chance.choice(["AA", "UA"], 300),
            "rain": chance.normal(0, 1, 300),
            "night": chance.random(300) > 0.5,
            "late": chance.integers(0, 2, 300),
        }
    )
    model = Model.fit(HistGradientBoostingClassifier(max_iter=5), frame, label="late")
    sources = {column.name: column.feature for column in SIGNATURE.inputs}
    inputs = tuple(msgspec.structs.replace(column, feature=sources[column.name]) for column in model.signature.inputs)
    model = Model(model.estimator, msgspec.structs.replace(model.signature, inputs=inputs))
    values = [
        {"distance": 512.25, "carrier": "AA", "night": True},
        {"distance": None, "carrier": "new", "night": False},
    ]
    predictor = make(scorer=model.score, signature=model.signature)
    predictor.predict([Request({"origin": origin}, value) for origin in ("JFK", "LGA", "x") for value in values])
    assert len({record.score for record in log}) > 2
    for row in to_arrow(log).to_pylist():
        parameters = {name: msgspec.json.decode(row[name]) for name in ("features", "request", "entities")}
        again = predict_again(model, **parameters)
        assert msgspec.json.encode(again).decode() == row["output"]


def test_an_entity_key_that_the_model_reads_comes_from_the_recorded_entities(make, log):
    signature = Signature((Column("origin", "category"), Column("distance", "number")), classes=None)

    class LettersAndMiles:
        def __init__(self):
            self.signature = signature

        def score(self, rows):
            return [{"prediction": len(row["origin"] or "") + row["distance"]} for row in rows]

    model = LettersAndMiles()
    requests = [Request({"origin": origin}, {"distance": 10.0}) for origin in ("JFK", None)]
    answers = make(scorer=model.score, signature=signature).predict(requests)
    assert [answer.prediction for answer in answers] == [13.0, 10.0]
    for row in to_arrow(log).to_pylist():
        parameters = {name: msgspec.json.decode(row[name]) for name in ("features", "request", "entities")}
        assert predict_again(model, **parameters) == msgspec.json.decode(row["output"])


def test_a_record_of_another_model_is_refused():
    with pytest.raises(Invalid, match="The record lacks the value 'distance'"):
        predict_again(ByHand(), features={}, request={"carrier": "AA", "night": True}, entities={})


def test_the_entry_can_be_imported():
    module, _, name = ENTRY.partition(":")
    assert getattr(importlib.import_module(module), name) is predict_again
