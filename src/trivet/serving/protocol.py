"""The Open Inference Protocol v2 over a predictor: tensors in, tensors out, JSON or binary.

Specification: https://github.com/kserve/open-inference-protocol (REST), with Triton's extension
``binary_tensor_data``. Tabular convention: one tensor per column or entity key, of shape ``[n]`` or ``[n, 1]``; the
answer holds ``prediction`` and, for a classifier, ``probability`` of shape ``[n, classes]``. An output ``id``, the ids
of the prediction records, is there for those who ask for it by name.

What the specification leaves open is settled so: a null in JSON data and a NaN in a binary tensor are both null.
This module knows bytes and predictors, nothing of HTTP but the header that says where the JSON ends.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from trivet.errors import Invalid, NotFound
from trivet.serving.predictor import Deployed, Prediction, Predictor, Request

__all__ = ["infer", "model_metadata", "server_metadata"]

Value = str | int | float | bool


class _Output(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    parameters: dict[str, Value] = {}


class _Tensor(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    shape: list[int]
    datatype: str
    parameters: dict[str, Value] = {}
    data: Any = msgspec.UNSET


class _Call(msgspec.Struct, forbid_unknown_fields=True):
    inputs: list[_Tensor]
    id: str = ""
    parameters: dict[str, Value] = {}
    outputs: list[_Output] = []


class _Answer(msgspec.Struct, omit_defaults=True):
    model_name: str
    model_version: str
    id: str = ""
    outputs: list[dict[str, Any]] = []


_decode_call = msgspec.json.Decoder(_Call).decode
_FORMATS = {
    "BOOL": "?", "UINT8": "B", "UINT16": "H", "UINT32": "I", "UINT64": "Q", "INT8": "b", "INT16": "h", "INT32": "i",
    "INT64": "q", "FP16": "e", "FP32": "f", "FP64": "d",
}  # fmt: skip
_DATATYPES = {
    "number": "FP64",
    "category": "BYTES",
    "boolean": "BOOL",
    "text": "BYTES",
    "integer": "INT64",
    "": "BYTES",
}
_LENGTH = struct.Struct("<I")


def server_metadata(version: str) -> dict[str, Any]:
    """The body of ``GET /v2``."""
    return {"name": "trivet", "version": version, "extensions": ["binary_tensor_data"]}


def model_metadata(predictor: Predictor, versions: Sequence[str]) -> dict[str, Any]:
    """The body of ``GET /v2/models/{m}``."""
    inputs = {**predictor.inputs.entities, **predictor.inputs.values}
    classes = predictor.deployed.signature.classes
    outputs = [{"name": "prediction", "datatype": _datatype(classes or [0.0]), "shape": [-1]}]
    if classes is not None:
        outputs.append({"name": "probability", "datatype": "FP64", "shape": [-1, len(classes)]})
    return {
        "name": predictor.deployed.name,
        "versions": list(versions),
        "platform": "trivet_tabular",
        "inputs": [{"name": name, "datatype": _DATATYPES[kind], "shape": [-1, 1]} for name, kind in inputs.items()],
        "outputs": outputs,
    }


def infer(
    predictor: Predictor,
    body: bytes,
    *,
    json_length: int | None = None,
    most_rows: int,
    parsed: Callable[[], None] = lambda: None,
) -> tuple[bytes, int | None]:
    """Answer one inference call.

    Args:
        predictor: the model.
        body: JSON, followed by binary tensors where ``json_length`` says so.
        json_length: the header ``Inference-Header-Content-Length``.
        most_rows: how many rows a call may have.
        parsed: called when the tensors have been read, for timing.

    Returns:
        The body and, if binary tensors follow its JSON, the length of the JSON.

    Raises:
        Invalid: anything about the call that is not as specified or does not fit the model.
        NotFound: an output was asked for that does not exist.
    """
    call, tail = _opened(body, json_length)
    columns = {tensor.name: values for tensor, values in _columns(call.inputs, tail)}
    if len(columns) != len(call.inputs):
        raise Invalid("Two inputs have the same name. Send each column once.")
    requests = _requests(predictor, columns, most_rows)
    wanted = _wanted(call, predictor.deployed)
    parsed()
    predictions = predictor.predict(requests)
    if "probability" in wanted and any(prediction.probability is None for prediction in predictions):
        if call.outputs:
            raise Invalid(f"The model {predictor.deployed.name!r} gives no probabilities. Ask for 'prediction'.")
        del wanted["probability"]
    return _answer(call, predictor.deployed, predictions, wanted)


# --- in ------------------------------------------------------------------------------------------------------------


def _opened(body: bytes, json_length: int | None) -> tuple[_Call, memoryview]:
    length = len(body) if json_length is None else json_length
    if not 0 <= length <= len(body):
        raise Invalid(f"Inference-Header-Content-Length is {length} and the body has {len(body)} bytes.")
    try:
        return _decode_call(body[:length]), memoryview(body)[length:]
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise Invalid(f"The body is no inference request: {exc}.") from exc


def _columns(tensors: Sequence[_Tensor], tail: memoryview) -> Iterator[tuple[_Tensor, list[Any]]]:
    """The values of each tensor; binary ones lie in the tail one after another in the order of the inputs."""
    offset = 0
    for tensor in tensors:
        rows = _rows(tensor)
        size = tensor.parameters.get("binary_data_size")
        if size is None:
            yield tensor, _from_json(tensor, rows)
            continue
        if type(size) is not int or size < 0 or offset + size > len(tail):
            raise Invalid(
                f"Input {tensor.name!r} says binary_data_size {size!r} and {len(tail) - offset} bytes remain."
            )
        if tensor.data is not msgspec.UNSET:
            raise Invalid(f"Input {tensor.name!r} has both data and binary_data_size. Send one of them.")
        yield tensor, _from_binary(tensor, rows, tail[offset : offset + size])
        offset += size
    if offset != len(tail):
        raise Invalid(
            f"{len(tail) - offset} bytes follow the last binary tensor. Check Inference-Header-Content-Length."
        )


def _rows(tensor: _Tensor) -> int:
    if tensor.datatype not in _DECODERS:
        known = ", ".join(_DECODERS)
        raise Invalid(f"Input {tensor.name!r} has the datatype {tensor.datatype!r}. There are: {known}.")
    shape = tensor.shape
    if len(shape) not in (1, 2) or shape[0] < 0 or shape[1:] not in ([], [1]):
        raise Invalid(f"Input {tensor.name!r} has the shape {shape}. Send one tensor per column, [n] or [n, 1].")
    return shape[0]


def _from_json(tensor: _Tensor, rows: int) -> list[Any]:
    if not isinstance(tensor.data, list):
        raise Invalid(f"Input {tensor.name!r} has no list of data. Send data, or binary_data_size and the bytes.")
    flat = [item for row in tensor.data for item in (row if isinstance(row, list) else (row,))]
    if len(flat) != rows:
        raise Invalid(f"Input {tensor.name!r} has the shape {tensor.shape} and {len(flat)} values.")
    allowed = _DECODERS[tensor.datatype]
    for value in flat:
        if value is not None and type(value) not in allowed:
            raise Invalid(f"Input {tensor.name!r} is {tensor.datatype} and holds {_shown(value)}.")
    return flat


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


def _from_binary(tensor: _Tensor, rows: int, data: memoryview) -> list[Any]:
    if tensor.datatype == "BYTES":
        values: list[Any] = list(_texts(tensor, data))
    else:
        form = struct.Struct("<" + _FORMATS[tensor.datatype])
        if len(data) % form.size:
            raise Invalid(f"Input {tensor.name!r} has {len(data)} bytes, no multiple of {form.size}.")
        values = [value for (value,) in form.iter_unpack(data)]
    if len(values) != rows:
        raise Invalid(f"Input {tensor.name!r} has the shape {tensor.shape} and {len(values)} values.")
    return [None if type(value) is float and math.isnan(value) else value for value in values]


def _texts(tensor: _Tensor, data: memoryview) -> Iterator[str]:
    offset = 0
    while offset < len(data):
        end = offset + 4
        if end <= len(data):
            end += _LENGTH.unpack_from(data, offset)[0]
        if end > len(data) or end < offset + 4:
            raise Invalid(
                f"Input {tensor.name!r} ends in the middle of a text. Each is its length (4 bytes) and its bytes."
            )
        try:
            yield str(data[offset + 4 : end], "utf-8")
        except UnicodeDecodeError as exc:
            raise Invalid(f"Input {tensor.name!r} holds bytes that are no UTF-8 text.") from exc
        offset = end


_DECODERS: dict[str, frozenset[type]] = {
    "BOOL": frozenset({bool}),
    **{name: frozenset({int}) for name in _FORMATS if "INT" in name},
    **{name: frozenset({int, float}) for name in _FORMATS if name.startswith("FP")},
    "BYTES": frozenset({str}),
}


def _requests(predictor: Predictor, columns: Mapping[str, list[Any]], most_rows: int) -> list[Request]:
    lengths = {len(values) for values in columns.values()}
    if len(lengths) > 1:
        raise Invalid(f"The inputs have different numbers of rows: {', '.join(map(str, sorted(lengths)))}.")
    rows = lengths.pop() if lengths else 0
    if rows > most_rows:
        raise Invalid(f"The call has {rows} rows and {most_rows} is the most. Send several calls.")
    entities = {name: values for name, values in columns.items() if name in predictor.inputs.entities}
    others = {name: values for name, values in columns.items() if name not in predictor.inputs.entities}
    requests = [
        Request(
            {name: values[row] for name, values in entities.items()},
            {name: values[row] for name, values in others.items()},
        )
        for row in range(rows)
    ]
    if not rows:  # an empty call is answered if its columns are right
        predictor.inputs.check(dict.fromkeys(entities), _blank(predictor, others))
    return requests


def _blank(predictor: Predictor, columns: Mapping[str, list[Any]]) -> dict[str, Any]:
    return {name: False if predictor.inputs.values.get(name) == "boolean" else None for name in columns}


# --- out -----------------------------------------------------------------------------------------------------------


def _wanted(call: _Call, deployed: Deployed) -> dict[str, bool]:
    """The outputs to answer, and whether in binary."""
    usual = ["prediction"] + (["probability"] if deployed.signature.classes is not None else [])
    default = call.parameters.get("binary_data_output", False) is True
    if not call.outputs:
        return dict.fromkeys(usual, default)
    known = [*usual, "id"]
    wanted = {}
    for output in call.outputs:
        if output.name not in known:
            raise NotFound("output", output.name, known)
        if "classification" in output.parameters:
            raise Invalid("The classification extension is not offered. Ask for the output 'probability'.")
        wanted[output.name] = output.parameters.get("binary_data", default) is True
    return wanted


def _answer(
    call: _Call, deployed: Deployed, predictions: Sequence[Prediction], wanted: Mapping[str, bool]
) -> tuple[bytes, int | None]:
    outputs, tail = [], []
    for name, binary in wanted.items():
        tensor, values = _tensor(name, deployed, predictions)
        if binary:
            data = _to_binary(tensor["datatype"], values)
            tensor["parameters"] = {"binary_data_size": len(data)}
            tail.append(data)
        else:
            tensor["data"] = values
        outputs.append(tensor)
    answer = _Answer(deployed.name, deployed.version, call.id, outputs)
    text = msgspec.json.encode(answer)
    return b"".join([text, *tail]), len(text) if tail else None


def _tensor(name: str, deployed: Deployed, predictions: Sequence[Prediction]) -> tuple[dict[str, Any], list[Any]]:
    classes = deployed.signature.classes
    if name == "id":
        ids = [prediction.id for prediction in predictions]
        return {"name": name, "datatype": "BYTES", "shape": [len(ids)]}, ids
    if name == "prediction":
        values = [prediction.prediction for prediction in predictions]
        return {"name": name, "datatype": _datatype(classes or values or [0.0]), "shape": [len(values)]}, values
    rows = [_in_order(prediction.probability) for prediction in predictions]
    shape = [len(rows), len(classes or [])]
    return {"name": name, "datatype": "FP64", "shape": shape}, [value for row in rows for value in row]


def _in_order(probability: Any) -> list[float]:
    """Probabilities in the order of the classes, from a dict, a list, or that of the second of two classes."""
    if isinstance(probability, Mapping):
        return list(probability.values())
    if isinstance(probability, Sequence):
        return list(probability)
    return [1.0 - probability, probability]


def _datatype(values: Sequence[Any]) -> str:
    kinds = {type(value) for value in values}
    if kinds == {bool}:
        return "BOOL"
    if kinds == {int}:
        return "INT64"
    return "FP64" if kinds <= {int, float} else "BYTES"


def _to_binary(datatype: str, values: Sequence[Any]) -> bytes:
    if datatype == "BYTES":
        texts = [str(value).encode() for value in values]
        return b"".join(_LENGTH.pack(len(text)) + text for text in texts)
    return struct.pack(f"<{len(values)}{_FORMATS[datatype]}", *values)
