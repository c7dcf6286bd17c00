import datetime as dt
import math
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivet.errors import Invalid
from trivet.tracking.entries import check_name, check_path, check_step, free_slot, number, parameter


@pytest.mark.parametrize(
    "value",
    [1, 1.0, True, np.float32(1), np.float64(1), np.int64(1), np.bool_(True), np.array(1.0), Decimal(1), Fraction(1)],
)
def test_numbers_of_every_library_are_floats(value):
    assert type(number("auc", value)) is float
    assert number("auc", value) == 1.0


def test_nan_and_infinity_are_numbers():
    assert math.isnan(number("loss", np.float64("nan")))
    assert number("loss", -math.inf) == -math.inf


@pytest.mark.parametrize("value", ["0.5", b"1", None, [1.0], np.array([1.0]), 1 + 2j, 10**400, {}])
def test_what_is_no_number_is_refused_by_name(value):
    with pytest.raises(Invalid, match=r"The metric 'auc' is .* not a number"):
        number("auc", value)


json_like = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text() | st.integers(), inner, max_size=3)
        | st.tuples(inner, inner)
    ),
    max_leaves=8,
)


@given(json_like)
def test_a_parameter_reads_back_from_json_as_it_was_recorded(value):
    plain = parameter("x", value)
    assert msgspec.json.decode(msgspec.json.encode(plain)) == plain
    assert parameter("x", plain) == plain


class Colour(Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.int32(3), 3),
        (np.float64(0.5), 0.5),
        (np.array([1, 2]), [1, 2]),
        (float("nan"), "nan"),
        (np.float32("-inf"), "-inf"),
        ({0: 1, 1: 5}, {"0": 1, "1": 5}),
        ((1, "a"), [1, "a"]),
        ({3, 1}, [1, 3]),
        (Path("data") / "x.csv", "data/x.csv"),
        (dt.date(2013, 1, 1), "2013-01-01"),
        (Colour.RED, "red"),
        (np.str_("gini"), "gini"),
    ],
)
def test_familiar_values_become_json(value, plain):
    assert parameter("x", value) == plain
    assert type(parameter("x", value)) is type(plain)


@pytest.mark.parametrize("value", [print, object(), Invalid, np.zeros(10_000), b"raw"])
def test_what_is_not_data_is_no_parameter(value):
    with pytest.raises(Invalid, match=r"The parameter 'x' is a .*, which is not data"):
        parameter("x", {"deep": [value]})


@pytest.mark.parametrize("name", ["", "  ", None, 3, "a\nb", "a" * 251])
def test_names_need_text(name):
    with pytest.raises(Invalid):
        check_name("metric", name)


@pytest.mark.parametrize("name", ["/etc/passwd", "../up", "a//b", "a/./b", "a\\b", "c:x", "a/", ".."])
def test_paths_stay_where_they_are_put(name):
    with pytest.raises(Invalid, match="relative path"):
        check_path(name)


@pytest.mark.parametrize("name", ["roc.png", "figures/roc.png", "räume.txt", ".hidden", "a b"])
def test_ordinary_paths_pass(name):
    assert check_path(name) == name


@pytest.mark.parametrize("step", [-1, 1.5, "3", None, 2**63])
def test_steps_are_whole_numbers_from_nought(step):
    with pytest.raises(Invalid, match="step"):
        check_step(step)
    assert check_step(np.int64(7)) == 7


def test_a_taken_slot_is_numbered():
    assert free_slot({}, "m", "a") == "m"
    assert free_slot({"m": "a", "m-2": "b"}, "m", "c") == "m-3"
    assert free_slot({"m": "a", "m-2": "b"}, "m", "b") == "m-2"
