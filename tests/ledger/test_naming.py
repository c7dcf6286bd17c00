from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivet.errors import Invalid
from trivet.ledger.naming import check_label, check_name, escape, is_alias, is_name, is_version, split_name, unescape


@pytest.mark.parametrize(
    "name", ["model/delay", "model/late flights", "model/délai", "feature_view/a.b-c_d", "a/🛫", "m/1"]
)
def test_names(name):
    assert check_name(name) == name
    assert "/".join(split_name(name)) == name


@pytest.mark.parametrize(
    "name", ["", "model", "model/", "/a", "Model/a", "1/a", "m/a/b", "m/a@1", "m/a:1", "m/*", "m/ a", "m/a\n"]
)
def test_what_is_no_name(name):
    assert not is_name(name)
    with pytest.raises(Invalid, match="KIND/NAME"):
        check_name(name)


def test_a_long_name_is_shortened_in_the_sentence():
    with pytest.raises(Invalid) as caught:
        check_name("m/" + "x" * 10_000)
    assert len(str(caught.value)) < 400


@given(st.text(st.characters(exclude_categories=()) | st.sampled_from("/:@*% %2F🛫\u200d"), min_size=1, max_size=500))
def test_any_text_becomes_a_name_and_comes_back(text):
    name = check_name(f"experiment/{escape(text)}")
    assert unescape(split_name(name)[1]) == text


@given(st.text(min_size=1), st.text(min_size=1))
def test_two_texts_are_two_names(one, other):
    assert (escape(one) == escape(other)) == (one == other)


@pytest.mark.parametrize("text", ["", "x" * 501])
def test_a_text_that_becomes_no_name(text):
    with pytest.raises(Invalid, match="1 to 500"):
        escape(text)


def test_an_escaped_name_is_as_long_as_people_read_it():
    assert is_name("m/" + escape("/" * 500))
    assert not is_name("m/" + "%2F" * 501)


@given(st.integers(1, 10**17))
def test_numbers_are_versions_and_never_aliases(number):
    assert is_version(str(number))
    assert not is_alias(str(number))


@pytest.mark.parametrize(
    "label", ["0", "01", "-1", "1.0", "1e3", "٣", "²", "", " 1", "1\n", "1_000", "2026-10-01", "é"]
)
def test_what_is_no_label(label):
    with pytest.raises(Invalid, match="not a label"):
        check_label(label)


@pytest.mark.parametrize("label", ["champion", "eu-west.shadow", "_x", "A1"])
def test_aliases(label):
    assert check_label(label) == label
    assert not is_version(label)
