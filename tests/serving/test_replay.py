import importlib

import msgspec
import pytest
from tests.serving.conftest import SIGNATURE, score

from trivet.errors import Invalid
from trivet.serving.predictor import Request
from trivet.serving.records import to_arrow
from trivet.serving.replay import ENTRY, predict_again


class Model:
    signature = SIGNATURE

    def score(self, rows):
        return score(rows)


def test_the_recorded_output_comes_out_again_from_what_stands_in_the_table(make, log):
    values = {"distance": 123.5, "carrier": None, "night": True}
    make().predict([Request({"origin": origin}, values) for origin in ("JFK", "LGA", "x", None)])
    for row in to_arrow(log).to_pylist():
        parameters = {name: msgspec.json.decode(row[name]) for name in ("features", "request")}
        assert predict_again(Model(), **parameters) == msgspec.json.decode(row["output"])


def test_a_record_of_another_model_is_refused():
    with pytest.raises(Invalid, match="The record lacks the value 'distance'"):
        predict_again(Model(), features={}, request={"carrier": "AA", "night": True})


def test_the_entry_can_be_imported():
    module, _, name = ENTRY.partition(":")
    assert getattr(importlib.import_module(module), name) is predict_again
