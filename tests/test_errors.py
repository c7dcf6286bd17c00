from __future__ import annotations

import copy
import pickle

import pytest

from trivet import errors
from trivet.errors import (
    Ambiguous,
    ConfigError,
    Invalid,
    MissingExtra,
    NotFound,
    Refused,
    StepFailed,
    TrivetError,
    nearest,
)

EXAMPLES = [
    TrivetError("a sentence"),
    NotFound("feature", "congestoin", ["congestion", "weather"], hint="Look."),
    Ambiguous("run", "01JCZ8", ["01JCZ8B", "01JCZ8A"]),
    Invalid("a sentence"),
    ConfigError("a sentence"),
    errors.Conflict("a sentence"),
    errors.Corrupt("a sentence"),
    Refused("a sentence"),
    errors.Unavailable("a sentence"),
    StepFailed("a sentence", run="01JCZ8"),
    MissingExtra("polars", extra="features", wanted_for="joins"),
]


def test_every_error_is_among_the_examples():
    kinds = {getattr(errors, name) for name in errors.__all__ if name != "nearest"}
    assert {type(error) for error in EXAMPLES} == kinds


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_an_error_crosses_between_processes_whole(error):
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(again) is type(error)
        assert str(again) == str(error)
        assert again.__dict__ == error.__dict__


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_an_error_is_its_sentence(error):
    assert str(error) == error.message
    assert str(error) != repr(error.message)  # as KeyError would show it


def test_codes_tell_errors_apart():
    codes = [type(error).code for error in EXAMPLES]
    assert len(set(codes)) == len(codes)


@pytest.mark.parametrize(
    ("error", "builtin"),
    [
        (NotFound("x", "y"), KeyError),
        (Ambiguous("x", "y", []), KeyError),
        (Invalid(""), ValueError),
        (ConfigError(""), Invalid),
        (errors.Conflict(""), RuntimeError),
        (errors.Corrupt(""), RuntimeError),
        (Refused(""), PermissionError),
        (StepFailed(""), RuntimeError),
        (MissingExtra("a", extra="b", wanted_for="c"), ImportError),
    ],
)
def test_an_error_is_also_the_builtin_that_one_expects(error, builtin):
    assert isinstance(error, builtin)
    assert isinstance(error, TrivetError)


@pytest.mark.parametrize(
    ("available", "sentence"),
    [
        ([], "There is no view 'wether'."),
        (["weather", "planes"], "There is no view 'wether'. Did you mean 'weather'?"),
        (["Weather", "wethr"], "There is no view 'wether'. Did you mean 'Weather' or 'wethr'?"),
        (["b", "a", "a"], "There is no view 'wether'. There are: a, b."),
        (
            [f"v{n}" for n in range(9)],
            "There is no view 'wether'. There are: v0, v1, v2, v3, v4, v5, v6, v7 and 1 more.",
        ),
    ],
)
def test_not_found_offers_what_exists(available, sentence):
    assert str(NotFound("view", "wether", available)) == sentence
    assert str(NotFound("view", "wether", available, hint="See x.")) == sentence + " See x."


def test_ambiguous_shows_a_few():
    assert "a, b, c, d, e, ..." in str(Ambiguous("run", "x", "fedcba"))
    assert "a, b. Give" in str(Ambiguous("run", "x", "ba"))


def test_nearest_ignores_case_and_answers_the_best_first():
    assert nearest("CONGESTION", ["congestoin", "congestion", "weather"]) == ["congestion", "congestoin"]
    assert nearest("x", []) == []
    assert len(nearest("aaa1", ["aaa2", "aaa3", "aaa4", "aaa5"], most=2)) == 2
