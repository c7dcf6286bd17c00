from hypothesis import given
from hypothesis import strategies as st

from trivet.cli.outline import outline, said

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=6), ANYTHING, max_size=5))
def test_whatever_is_recorded_has_an_outline(value):
    assert isinstance(outline(value), str)


def test_nested_values_stand_below_their_name_and_long_lists_end():
    shown = outline(
        {"a": {"b": {"c": 1}}, "rows": [{"x": number} for number in range(70)], "names": list("abcdefghijklmnop")}
    )
    assert shown.splitlines()[:3] == ["a", "  b", "    c  1"]
    assert "and 10 more" in shown
    assert shown.endswith("and 4 more")


def test_several_lines_stay_under_their_first():
    assert outline({"error": "one\ntwo"}) == "error  one\n       two"


def test_what_is_true_is_true():
    assert (said(True), said(False), said(float("nan")), said(2013)) == ("true", "false", "nan", "2013")
