import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.serving.conftest import SIGNATURE, Column, Signature
from trivet.errors import Invalid
from trivet.serving.inputs import Inputs

INPUTS = Inputs(SIGNATURE, {"origin": "text"})
GOOD = {"distance": 1.5, "carrier": "AA", "night": False}


def test_it_knows_what_comes_from_where():
    assert INPUTS.entities == {"origin": "text"}
    assert INPUTS.values == {"distance": "number", "carrier": "category", "night": "boolean"}
    assert INPUTS.features == {"delay_3h": "congestion:delay_3h", "rain": "weather:rain"}


@pytest.mark.parametrize(
    ("entities", "values", "says"),
    [
        ({}, GOOD, ["lacks the entity key 'origin'", "origin (text or null)"]),
        (
            {"orign": "JFK"},
            GOOD,
            ["lacks the entity key 'origin'", "unknown entity key 'orign' (did you mean 'origin'?)"],
        ),
        ({"origin": "JFK", "distance": 3}, GOOD, ["unknown entity key 'distance' (it belongs in 'values')"]),
        ({"origin": 5}, GOOD, ["entity key 'origin' = 5 where text or null is expected"]),
        ({"origin": ["JFK"]}, GOOD, ["origin"]),
        ({"origin": "JFK"}, {}, ["'distance', 'carrier', 'night'"]),
        ({"origin": "JFK"}, {**GOOD, "origin": "JFK"}, ["(it belongs in 'entities')"]),
        ({"origin": "JFK"}, {**GOOD, "rain": 1.0}, ["'rain' (it is read from 'weather:rain', do not send it)"]),
        ({"origin": "JFK"}, {**GOOD, "distanc": 1}, ["(did you mean 'distance'?)"]),
        ({"origin": "JFK"}, {**GOOD, "distance": "far"}, ["value 'distance' = 'far' where number or null"]),
        ({"origin": "JFK"}, {**GOOD, "distance": True}, ["distance"]),
        ({"origin": "JFK"}, {**GOOD, "distance": math.nan}, ["distance"]),
        ({"origin": "JFK"}, {**GOOD, "distance": -math.inf}, ["distance"]),
        ({"origin": "JFK"}, {**GOOD, "distance": 10**400}, ["distance", "..."]),
        ({"origin": "JFK"}, {**GOOD, "carrier": 1}, ["carrier", "category or null"]),
        ({"origin": "JFK"}, {**GOOD, "night": None}, ["night", "boolean is expected"]),
        ({"origin": "JFK"}, {**GOOD, "night": 1}, ["night"]),
    ],
)
def test_what_does_not_fit_is_named_with_what_is_expected(entities, values, says):
    with pytest.raises(Invalid) as caught:
        INPUTS.check(entities, values, where="Request 7")
    assert caught.value.message.startswith("Request 7 ")
    for part in says:
        assert part in caught.value.message


@pytest.mark.parametrize("values", [GOOD, {**GOOD, "distance": None, "carrier": None}, {**GOOD, "carrier": "unseen"}])
def test_null_and_unseen_categories_are_allowed(values):
    INPUTS.check({"origin": None}, values)
    assert INPUTS.row({"origin": None}, values, {})["carrier"] == values["carrier"]


@given(
    st.floats() | st.integers() | st.none() | st.text(max_size=2), st.sampled_from(["text", "integer", "boolean", ""])
)
def test_keys_fit_their_types(value, kind):
    fits = value is None or {
        "text": isinstance(value, str), "integer": isinstance(value, int), "boolean": False, "": True
    }[kind]  # fmt: skip
    if isinstance(value, int) and abs(value) > 2**63:
        fits = False
    inputs = Inputs(Signature(()), {"k": kind})
    try:
        inputs.check({"k": value}, {})
    except Invalid:
        assert not fits or value == 2**63
    else:
        assert fits


def test_the_row_has_the_models_order_and_no_infinity():
    row = INPUTS.row({"origin": "JFK"}, GOOD, {"congestion:delay_3h": math.inf, "weather:rain": 2})
    assert list(row.items()) == [
        ("distance", 1.5),
        ("delay_3h", None),
        ("carrier", "AA"),
        ("rain", 2),
        ("night", False),
    ]
    assert INPUTS.row({}, GOOD, {})["rain"] is None


def test_a_model_may_read_nothing_from_requests():
    inputs = Inputs(Signature((Column("x", "number", feature="v:x"),)), {"k": ""})
    inputs.check({"k": 1.5}, {})
    with pytest.raises(Invalid, match="It takes the values: none"):
        inputs.check({"k": 1}, {"y": 1})


def test_an_entity_key_may_be_an_input_of_the_model_too():
    columns = (Column("distance", "number"), Column("origin", "category"), Column("gate", "number"))
    inputs = Inputs(Signature(columns), {"origin": "", "gate": "", "tailnum": ""})
    assert inputs.values == {"distance": "number"}
    entities = {"origin": "JFK", "gate": 7, "tailnum": "N1"}
    inputs.check(entities, {"distance": 3})
    assert inputs.row(entities, {"distance": 3}, {}) == {"distance": 3, "origin": "JFK", "gate": 7}
    inputs.check(dict.fromkeys(entities), {"distance": None})


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"origin": 4}, "entity key 'origin' = 4 where category or null is expected"),
        ({"gate": "seven"}, "entity key 'gate' = 'seven' where number or null is expected"),
        ({"gate": math.nan}, "entity key 'gate' = nan where number or null is expected"),
    ],
)
def test_an_entity_key_that_the_model_reads_must_fit_as_any_input(changes, says):
    inputs = Inputs(Signature((Column("origin", "category"), Column("gate", "number"))), {"origin": "", "gate": ""})
    with pytest.raises(Invalid, match=says):
        inputs.check({"origin": "JFK", "gate": 7} | changes, {})


def test_an_entity_key_sent_as_a_value_is_told_where_it_belongs():
    inputs = Inputs(Signature((Column("origin", "category"),)), {"origin": ""})
    with pytest.raises(Invalid, match=r"'origin' \(it belongs in 'entities'\)"):
        inputs.check({"origin": "JFK"}, {"origin": "JFK"})
