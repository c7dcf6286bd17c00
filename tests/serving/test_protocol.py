import json
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.serving.conftest import Column, Signature, read
from trivet.errors import Invalid, NotFound
from trivet.serving.predictor import Deployed, Predictor
from trivet.serving.protocol import infer, model_metadata, server_metadata


def tensor(name, datatype, data, shape=None, **more):
    return {"name": name, "shape": shape or [len(data), 1], "datatype": datatype, "data": data} | more


def inputs(**changes):
    columns = {
        "origin": tensor("origin", "BYTES", ["JFK", "LGA"]),
        "distance": tensor("distance", "FP64", [100.0, 900.0]),
        "carrier": tensor("carrier", "BYTES", ["AA", None], shape=[2]),
        "night": tensor("night", "BOOL", [[True], [False]]),
    }
    return [column for column in (columns | changes).values() if column is not None]


def call(predictor, json_length=None, tail=b"", most_rows=100, **body):
    data = json.dumps({"inputs": inputs()} | body).encode()
    length = len(data) if json_length == "yes" else json_length
    answer, answer_length = infer(predictor, data + tail, json_length=length, most_rows=most_rows)
    if answer_length is None:
        return json.loads(answer), b""
    return json.loads(answer[:answer_length]), answer[answer_length:]


def test_metadata_has_every_column_and_output(make):
    assert server_metadata("1.2") == {"name": "trivet", "version": "1.2", "extensions": ["binary_tensor_data"]}
    assert model_metadata(make(), ["3", "2"]) == {
        "name": "delay",
        "versions": ["3", "2"],
        "platform": "trivet_tabular",
        "inputs": [
            {"name": "origin", "datatype": "BYTES", "shape": [-1, 1]},
            {"name": "distance", "datatype": "FP64", "shape": [-1, 1]},
            {"name": "carrier", "datatype": "BYTES", "shape": [-1, 1]},
            {"name": "night", "datatype": "BOOL", "shape": [-1, 1]},
        ],
        "outputs": [
            {"name": "prediction", "datatype": "BYTES", "shape": [-1]},
            {"name": "probability", "datatype": "FP64", "shape": [-1, 2]},
        ],
    }


def test_tensors_go_in_and_come_out_and_the_id_is_echoed(make, log):
    answer, _ = call(make(), id="42")
    assert answer == {
        "model_name": "delay",
        "model_version": "3",
        "id": "42",
        "outputs": [
            {"name": "prediction", "datatype": "BYTES", "shape": [2], "data": ["no", "yes"]},
            {"name": "probability", "datatype": "FP64", "shape": [2, 2], "data": [0.8, 0.2, pytest.approx(0.1), 0.9]},
        ],
    }
    assert [record.entities["origin"] for record in log] == ["JFK", "LGA"]
    assert log[1].request["carrier"] is None


def test_only_the_outputs_asked_for(make, log):
    answer, _ = call(make(), outputs=[{"name": "id"}, {"name": "prediction"}])
    assert [output["name"] for output in answer["outputs"]] == ["id", "prediction"]
    assert answer["outputs"][0]["data"] == [record.id for record in log]


def binary(name, datatype, data, rows):
    return {"name": name, "shape": [rows, 1], "datatype": datatype, "parameters": {"binary_data_size": len(data)}}


def texts(*values):
    return b"".join(struct.pack("<I", len(value.encode())) + value.encode() for value in values)


def test_binary_tensors_mean_what_json_means(make, log):
    tails = {
        "origin": ("BYTES", texts("JFK", "LGA")),
        "distance": ("FP32", struct.pack("<2f", 100, float("nan"))),
        "night": ("BOOL", b"\x01\x00"),
    }
    columns = {name: binary(name, datatype, data, 2) for name, (datatype, data) in tails.items()}
    answer, tail = call(
        make(), "yes", b"".join(data for _, data in tails.values()),
        inputs=inputs(**columns), parameters={"binary_data_output": True},
    )  # fmt: skip
    assert [output["parameters"] for output in answer["outputs"]] == [
        {"binary_data_size": 12},
        {"binary_data_size": 32},
    ]
    assert tail == texts("no", "no") + struct.pack("<4d", 0.8, 0.2, 1.0, 0.0)
    assert log[1].request == {"distance": None, "carrier": None, "night": False}


def test_one_output_in_binary_and_one_in_json(make):
    outputs = [{"name": "probability", "parameters": {"binary_data": True}}, {"name": "prediction"}]
    answer, tail = call(make(), outputs=outputs)
    assert answer["outputs"][1]["data"] == ["no", "yes"]
    assert struct.unpack("<4d", tail)[3] == 0.9


def test_integers_and_booleans_as_classes_and_regressions():
    columns = (Column("x", "number"),)
    for classes, datatype, output, packed in (
        ((0, 1), "INT64", {"prediction": 1, "probability": {"0": 0.5, "1": 0.5}}, struct.pack("<q", 1)),
        ((False, True), "BOOL", {"prediction": True, "probability": [0.5, 0.5]}, b"\x01"),
        (None, "FP64", {"prediction": 1.5}, struct.pack("<d", 1.5)),
        (("a", "b"), "BYTES", {"prediction": "b", "probability": 0.5}, texts("b")),
    ):
        deployed = Deployed("m", "1", "d", Signature(columns, classes=classes))
        predictor = Predictor(deployed, read, lambda rows, output=output: [output] * len(rows))
        body = {"inputs": [tensor("x", "INT64", [1])], "parameters": {"binary_data_output": True}}
        answer, tail = call(predictor, **body)
        assert answer["outputs"][0]["datatype"] == datatype == model_metadata(predictor, [])["outputs"][0]["datatype"]
        assert tail.startswith(packed)


def test_a_classifier_without_probabilities(make):
    predictor = make(scorer=lambda rows: [{"prediction": "no"} for _ in rows])
    assert [output["name"] for output in call(predictor)[0]["outputs"]] == ["prediction"]
    with pytest.raises(Invalid, match="gives no probabilities"):
        call(predictor, outputs=[{"name": "probability"}])


def test_an_empty_call_is_answered(make):
    empty = [tensor(name, kind, [], shape=[0]) for name, kind in (
        ("origin", "BYTES"), ("distance", "FP64"), ("carrier", "BYTES"), ("night", "BOOL"))]  # fmt: skip
    assert call(make(), inputs=empty)[0]["outputs"][0]["shape"] == [0]
    with pytest.raises(Invalid, match="lacks the value 'night'"):
        call(make(), inputs=empty[:3])


NEGATIVE = {
    "no inputs": ({"inputs": []}, "lacks"),
    "unknown column": ({"inputs": inputs(carier=tensor("carier", "BYTES", ["AA", "AA"]), carrier=None)}, "did you mean"),
    "a feature sent": ({"inputs": inputs(rain=tensor("rain", "FP64", [1.0, 1.0]))}, "do not send it"),
    "twice the same": ({"inputs": [*inputs(), inputs()[0]]}, "the same name"),
    "rows differ": ({"inputs": inputs(night=tensor("night", "BOOL", [True]))}, "different numbers of rows: 1, 2"),
    "shape and data differ": ({"inputs": inputs(night=tensor("night", "BOOL", [True], shape=[2]))}, "1 values"),
    "two columns in one": ({"inputs": inputs(night=tensor("night", "BOOL", [True] * 4, shape=[2, 2]))}, "one tensor per"),
    "negative shape": ({"inputs": inputs(night=tensor("night", "BOOL", [], shape=[-1]))}, "shape"),
    "unknown datatype": ({"inputs": inputs(night=tensor("night", "BOOLEAN", [True, True]))}, "There are: BOOL"),
    "text in FP64": ({"inputs": inputs(distance=tensor("distance", "FP64", ["1", "2"]))}, "is FP64 and holds '1'"),
    "float in INT64": ({"inputs": inputs(distance=tensor("distance", "INT64", [1.5, 2]))}, "is INT64 and holds 1.5"),
    "null in BOOL": ({"inputs": inputs(night=tensor("night", "BOOL", [True, None]))}, "boolean is expected"),
    "number for text": ({"inputs": inputs(origin=tensor("origin", "INT64", [1, 2]))}, "text or null is expected"),
    "nested too deep": ({"inputs": inputs(night=tensor("night", "BOOL", [[[True]], [[True]]]))}, "holds [True]"),
    "too big a number": ({"inputs": inputs(distance=tensor("distance", "INT64", [10**30, 2]))}, "distance"),
    "no data": ({"inputs": inputs(night={"name": "night", "shape": [2], "datatype": "BOOL"})}, "no list of data"),
    "data is no list": ({"inputs": inputs(night=tensor("night", "BOOL", {"a": 1}, shape=[2]))}, "no list of data"),
    "too many rows": ({"most_rows": 1}, "1 is the most"),
    "an extra field": ({"input": []}, "unknown field"),
    "id is a number": ({"id": 5}, "Expected `str`"),
    "classification": ({"outputs": [{"name": "probability", "parameters": {"classification": 2}}]}, "not offered"),
    "binary beyond the body": ({"inputs": inputs(night=binary("night", "BOOL", b"123", 3))}, "binary_data_size 3"),
    "bytes left over": ({"json_length": "yes", "tail": b"12345"}, "5 bytes follow"),
    "json too long": ({"json_length": 10**6}, "Inference-Header-Content-Length"),
    "json cut short": ({"json_length": 20, "tail": b""}, "no inference request"),
    "half a double": (
        {"json_length": "yes", "tail": b"123", "inputs": inputs(distance=binary("distance", "FP64", b"123", 2))},
        "no multiple of 8",
    ),
    "half a text": (
        {"json_length": "yes", "tail": b"\xff\0\0\0a", "inputs": inputs(carrier=binary("carrier", "BYTES", b"12345", 2))},
        "middle of a text",
    ),
    "no text": (
        {"json_length": "yes", "tail": b"\1\0\0\0\xff", "inputs": inputs(carrier=binary("carrier", "BYTES", b"12345", 1))},
        "no UTF-8",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", NEGATIVE)
def test_what_breaks_the_protocol_is_a_sentence(make, name, log):
    body, says = NEGATIVE[name]
    with pytest.raises(Invalid) as caught:
        call(make(), **body)
    assert says in caught.value.message
    assert log == []


def test_an_unknown_output_is_not_found(make):
    with pytest.raises(NotFound, match="Did you mean 'probability'"):
        call(make(), outputs=[{"name": "probabilities"}])


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(["name", "shape", "datatype", "data", "parameters"]), plain, st.binary(max_size=30))
def test_nothing_but_our_errors_comes_out_of_a_fuzzed_tensor(field, value, tail):
    deployed = Deployed("m", "1", "d", Signature((Column("x", "number"),)), {"k": ""})
    predictor = Predictor(deployed, None, lambda rows: [{"prediction": "no"} for _ in rows])
    tensors = [tensor("k", "BYTES", ["a"]), tensor("x", "FP64", [1.0]) | {field: value}]
    body = json.dumps({"inputs": tensors}).encode()
    for data, length in ((body, None), (body + tail, len(body)), (tail, None)):
        try:
            infer(predictor, data, json_length=length, most_rows=10)
        except (Invalid, NotFound):
            continue
