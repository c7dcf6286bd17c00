import math
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trivet.ledger import Artifact
from trivet.pipelines.compare import LEVELS, compare, first_difference, worst
from trivet.plugins import open_url

NOW = datetime(2020, 1, 1, tzinfo=UTC)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def blobs(tmp_path_factory):
    return open_url("blobs", "memory:", tmp_path_factory.mktemp("blobs"))


def artifact(blobs, value=None, *, kind="json", content=None, spec=None, name="value.json"):
    files = {name: blobs.put(msgspec.json.encode(value))}
    return Artifact.of(kind, spec or {}, files, content=content, created=NOW)


def test_levels(blobs):
    assert LEVELS == ("bytes", "canonical", "predictions", "metrics", "different")
    same = compare(artifact(blobs, {"a": 1}), artifact(blobs, {"a": 1}), blobs, blobs)
    assert (same.level, same.difference) == ("bytes", "")
    one, other = artifact(blobs, 1, kind="model", content="c" * 64), artifact(blobs, 2, kind="model", content="c" * 64)
    canonical = compare(one, other, blobs, blobs)
    assert canonical.level == "canonical"
    assert canonical.difference.startswith("the file value.json was 6b86b273ff34 (1 bytes) and is d4735e3a265e")
    near = compare(artifact(blobs, {"auc": 0.7}), artifact(blobs, {"auc": 0.7000000000001}), blobs, blobs)
    assert (near.level, near.difference) == ("metrics", "auc was 0.7 and is 0.7000000000001. That is within 1e-09.")
    far = compare(artifact(blobs, {"auc": 0.7}), artifact(blobs, {"auc": 0.8}), blobs, blobs)
    assert (far.level, far.difference) == ("different", "auc was 0.7 and is 0.8.")


def test_other_differences(blobs):
    other_kind = compare(artifact(blobs, 1), artifact(blobs, 1, kind="table"), blobs, blobs)
    assert other_kind.difference == "it was a json and is a table."
    files = compare(
        artifact(blobs, 1, kind="folder", name="a"), artifact(blobs, 1, kind="folder", name="b"), blobs, blobs
    )
    assert files.difference.startswith("the file a was 6b86b273ff34 (1 bytes) and is not there.")
    spec = compare(
        artifact(blobs, 1, kind="table", spec={"rows": 1}),
        artifact(blobs, 1, kind="table", spec={"rows": 2}),
        blobs,
        blobs,
    )
    assert (spec.level, spec.difference) == ("canonical", "its rows was 1 and is 2. The content is the same.")


@pytest.mark.parametrize(
    ("then", "now", "said"),
    [
        ({"a": [1, {"b": None}]}, {"a": [1, {"b": 2}]}, "a[1].b was null and is 2."),
        ({"a": 1}, {"b": 1}, 'the value was {"a":1} and is {"b":1}.'),
        ([1], [1, 2], "the value was [1] and is [1,2]."),
        ({"a": True}, {"a": 1}, "a was true and is 1."),
        ({"a": "x" * 80}, {"a": "y"}, 'a was "' + "x" * 56 + '... and is "y".'),
    ],
)
def test_the_first_difference_is_placed(then, now, said):
    assert first_difference(then, now, tolerance=0.0) == said


@settings(max_examples=100, deadline=None)
@given(json_values, json_values)
def test_no_difference_means_equal(then, now):
    def strict(value):
        if isinstance(value, dict):
            return {key: strict(item) for key, item in value.items()}
        if isinstance(value, list):
            return [strict(item) for item in value]
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return ("number" if number else type(value).__name__, value)

    assert (first_difference(then, now, tolerance=0.0) is None) == (strict(then) == strict(now))
    assert first_difference(then, then, tolerance=0.0) is None


@settings(max_examples=60, deadline=None)
@given(st.floats(0.1, 1e6), st.floats(-1e-8, 1e-8))
def test_the_tolerance_is_relative(value, by):
    assert first_difference(10**18, 10**18 + 1, tolerance=1e-9) is not None
    near = first_difference(value, value * (1 + by), tolerance=1e-9) is None
    assert near == math.isclose(value, value * (1 + by), rel_tol=1e-9)


@given(st.lists(st.sampled_from(LEVELS), min_size=1))
def test_the_worst_level_holds_for_all(levels):
    assert all(LEVELS.index(level) <= LEVELS.index(worst(levels)) for level in levels)
    assert worst(levels) in levels
