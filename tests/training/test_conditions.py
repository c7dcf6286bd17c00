"""Declarations: accepted or refused when written, and the same after a journey through JSON."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trivet.errors import Invalid, NotFound
from trivet.training.conditions import Gate, at_least, at_most, better_than, not_worse_than, slices
from trivet.training.measures import MEASURES

measures = st.sampled_from(sorted(MEASURES))
numbers = st.floats(0, 1)
columns = st.lists(st.sampled_from("abc") | st.just(("a", "b")), min_size=1, max_size=3)
conditions = st.one_of(
    st.builds(at_least, measures, numbers),
    st.builds(at_most, measures, numbers),
    st.builds(better_than, measures, numbers),
    st.builds(not_worse_than, measures, numbers),
    st.builds(lambda measure, over, value: slices(measure, over, at_most=value), measures, columns, numbers),
)


@settings(max_examples=50, deadline=None)
@given(st.builds(Gate, st.text(min_size=1), st.lists(conditions, min_size=1, max_size=4), st.floats(0.5, 0.999)))
def test_a_gate_comes_back_from_json(gate: Gate) -> None:
    assert Gate.from_json(json.loads(json.dumps(gate.to_json()))) == gate


def test_a_single_column_may_be_given_as_text() -> None:
    assert slices("auc", "origin", at_least=0.6) == slices("auc", ["origin"], at_least=0.6)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        (lambda: at_least("rsme", 1), "Did you mean 'rmse'"),
        (lambda: at_least("auc", float("nan")), "finite number, not nan"),
        (lambda: better_than("auc", by=float("inf")), "finite number, not inf"),
        (lambda: not_worse_than("auc", margin=-0.1), "a margin is 0 or more"),
        (lambda: slices("auc", ["a"]), "needs one of at_least= and at_most="),
        (lambda: slices("auc", ["a"], at_least=1, at_most=1), "and not both"),
        (lambda: slices("auc", [], at_least=1), "needs the columns"),
        (lambda: slices("auc", ["a"], at_least=1, min_rows=1), "2 or more"),
        (lambda: slices("auc", ["a"], at_least=1, unjudged=2), "between 0 and 1"),
        (lambda: Gate("", [at_least("auc", 0.7)]), "has a name"),
        (lambda: Gate("g", []), "at least one condition"),
        (lambda: Gate("g", ["auc"]), "'auc' is no condition"),
        (lambda: Gate("g", [at_least("auc", 0.7)], level=95), "confidence level of gate 'g'"),
        (lambda: Gate("g", [at_least("auc", 0.7)], resamples=3), "3 resamples"),
        (lambda: Gate.from_json({"name": "g"}), "not the declaration of a gate"),
        (lambda: Gate.from_json({"name": "g", "conditions": [{"condition": "is"}]}), "not the declaration of a gate"),
        (
            lambda: Gate.from_json(
                {"name": "g", "conditions": [{"condition": "at_least", "measure": "auk", "threshold": 1}]}
            ),
            "Did you mean 'auc'",
        ),
    ],
)
def test_what_cannot_be_judged_is_refused(wrong: Any, sentence: str) -> None:
    with pytest.raises((Invalid, NotFound), match=sentence):
        wrong()
