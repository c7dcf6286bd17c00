"""JSON values come back equal; what is none is refused in a sentence that says where."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trivet.errors import Corrupt, Invalid
from trivet.ledger import Artifact
from trivet.pipelines import values
from trivet.pipelines.values.json import JsonKind, plain

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


def same(a, b):
    if isinstance(a, float) and isinstance(b, float):
        return (math.isnan(a) and math.isnan(b)) or (a == b and math.copysign(1, a) == math.copysign(1, b))
    if isinstance(a, list):
        return isinstance(b, list) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    return type(a) is type(b) and a == b


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(JSON)
def test_values_come_back_equal_with_their_order_and_equal_identity(context, value):
    artifact = values.save(value, context, kind="json")
    again = values.load(artifact, context.blobs)
    assert same(value, again)
    assert values.save(again, context, kind="json").digest == artifact.digest


def test_the_order_of_keys_and_the_type_of_numbers():
    def content(value):
        return values.store(value, Sink())[1].content

    assert content({"a": 1, "b": 2}) == content({"b": 2, "a": 1})
    assert content(1) != content(1.0)
    assert content(True) != content(1)


class Sink:
    def put(self, content):
        from trivet.digest import digest_bytes
        from trivet.ledger import File

        return File(digest_bytes(content), len(content))


@dataclass
class Point:
    x: int
    tags: tuple[str, ...]


class Score(msgspec.Struct):
    auc: float


def test_tuples_dataclasses_structs_and_numpy_scalars_come_back_plain(context):
    value = {"p": Point(1, ("a",)), "s": Score(0.5), "n": np.int64(3), "f": np.float32(0.5), "b": np.bool_(True)}
    again = values.load(values.save(value, context), context.blobs)
    assert again == {"p": {"x": 1, "tags": ["a"]}, "s": {"auc": 0.5}, "n": 3, "f": 0.5, "b": True}
    assert type(again["n"]) is int


def test_the_file_is_strict_json_even_with_nan(context):
    artifact = values.save([float("nan"), float("-inf")], context)
    text = context.blobs.read(artifact.files["value.json"].digest)
    assert text == b'[{"$float":"nan"},{"$float":"-inf"}]'


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ({"a": {1}}, r"The value\['a'\] is of type builtins.set, which is no JSON value"),
        ([datetime(2020, 1, 1)], r"The value\[0\] is of type datetime.datetime"),
        ({1: 2}, "has the key 1, and keys of JSON are text. Write '1'"),
        (2**64, "beyond 64 bits"),
        ({"$float": "nan"}, "stands for a float"),
        (np.zeros(3), "numpy.ndarray, which is no JSON value"),
        ("\ud800", "lone surrogate"),
        (b"x", "builtins.bytes"),
        (Point, "builtins.type"),
        (object(), "builtins.object"),
    ],
)
def test_what_is_no_json_is_refused_and_the_sentence_says_where(context, value, sentence):
    with pytest.raises(Invalid, match=sentence):
        values.save(value, context, kind="json")
    assert not JsonKind().accepts(value)
    assert context.ledger.artifacts() == []


def test_plain_copies():
    inner = [1]
    assert plain({"a": inner})["a"] is not inner


def test_damage_is_corrupt(context):
    artifact = Artifact.of("json", {}, {"value.json": context.blobs.put(b"{")}, created=context.clock())
    with pytest.raises(Corrupt, match="not readable as JSON"):
        values.load(artifact, context.blobs)
