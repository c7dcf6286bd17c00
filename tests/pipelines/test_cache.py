from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pipelines.workshop import build, tidy
from trivet.errors import NotFound, StepFailed
from trivet.ledger import Artifact
from trivet.pipelines.cache import Change, key_of, key_parts, why
from trivet.pipelines.execution import execute

BASE = {
    "entry": "m:f",
    "code": {"m.f": "aa"},
    "distributions": {"numpy": "2.1.0"},
    "inputs": {"train": Artifact.of("json", {"a": 1}, created=datetime(2020, 1, 1, tzinfo=UTC))},
    "parameters": {"max_iter": 100},
    "seed": 0,
    "threads": 1,
    "outputs": None,
    "variables": {},
}
OTHER = {
    "entry": "m:g",
    "code": {"m.f": "bb"},
    "distributions": {"numpy": "2.2.0"},
    "inputs": {"train": Artifact.of("json", {"a": 2}, created=datetime(2020, 1, 1, tzinfo=UTC))},
    "parameters": {"max_iter": "100"},
    "seed": 1,
    "threads": 2,
    "outputs": ("result",),
    "variables": {"OPENBLAS_CORETYPE": "Haswell"},
}


@pytest.mark.parametrize("part", list(BASE))
def test_every_part_counts(part):
    assert key_of(key_parts(**BASE)) != key_of(key_parts(**BASE | {part: OTHER[part]}))


def test_when_an_input_was_recorded_does_not_count():
    later = Artifact.of("json", {"a": 1}, created=datetime(2021, 1, 1, tzinfo=UTC))
    assert key_parts(**BASE) == key_parts(**BASE | {"inputs": {"train": later}})


def test_the_key_is_a_promise():
    parts = {"entry": "m:f", "code m.f": "aa", "parameter max_iter": "100", "seed": "0"}
    assert key_of(parts) == "5db2df0cdc5d6e4203817c0f74a46b624c3eace24d55d9e0ebce727c58bc9319"


@settings(max_examples=80, deadline=None)
@given(
    st.lists(
        st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=3) | st.none(), max_size=3),
        min_size=2,
        max_size=2,
    )
)
def test_equal_parameters_and_only_those_have_equal_keys(pair):
    one, other = (key_of(key_parts(**BASE | {"parameters": parameters})) for parameters in pair)
    same = pair[0] == pair[1] and all(type(pair[0][name]) is type(pair[1][name]) for name in pair[0])
    assert (one == other) == same


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (Change("code proj.features.clean", "aa", "bb"), "code of proj.features.clean changed"),
        (Change("code proj.features:clean", None, "bb"), "code of proj.features.clean is new"),
        (Change("code proj.features:*", "aa", None), "code of proj.features is no longer used"),
        (Change("code proj.features:<effects>", "aa", "bb"), "code of proj.features (what its import does) changed"),
        (Change("parameter max_iter", "100", "200"), "parameter max_iter 100 -> 200"),
        (Change("input train", "3f2a9c01", "91bcaaaa"), "input train 3f2a -> 91bc"),
        (Change("distribution pandas", "2.1.0", "2.2.0"), "pandas 2.1.0 -> 2.2.0"),
        (Change("distribution pandas", None, "2.2.0"), "pandas is new (2.2.0)"),
        (Change("parameter depth", "3", None), "parameter depth is gone (was 3)"),
        (Change("threads", "1", "2"), "threads 1 -> 2"),
        (Change("outputs", "", "a, b"), "outputs nothing -> a, b"),
    ],
)
def test_changes_read_as_sentences(change, text):
    assert str(change) == text


SOURCE = """
@tv.task
def load(n: int):
    return list(range(n))

def clean(values):
    return [v + 0 for v in values]

@tv.task
def fit(train, max_iter: int = 100):
    if max_iter == 13:
        raise ValueError("unlucky")
    return {"n": len(clean(train)), "max_iter": max_iter}

@tv.pipeline
def training(n: int = 3, max_iter: int = 100):
    return fit(load(n), max_iter)
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    built = build(tmp_path_factory.mktemp("why"), SOURCE)
    yield built
    tidy(built)


def test_why(shop):
    """One history, asked after each chapter."""
    run = lambda **inputs: execute(shop.context, shop.module.training, inputs)  # noqa: E731
    with pytest.raises(NotFound, match="no step or run 'fit'"):
        why(shop.context, "fit")
    first = run()
    assert str(why(shop.context, "fit")) == "fit ran because it had never run before."
    assert why(shop.context, "fit").previous is None

    run()
    answer = why(shop.context, "fit")
    assert answer.hit
    assert str(answer) == (
        f"fit did not run: code, inputs, parameters and environment are those of run {first.steps['fit'].id}."
    )

    changed = run(max_iter=200)
    assert str(why(shop.context, "fit")) == "fit ran because parameter max_iter 100 -> 200."

    shop.edit("v + 0", "v + 1 - 1")
    run(n=4, max_iter=200)
    answer = why(shop.context, "fit")
    assert [change.part.split()[0] for change in answer.changes] == ["code", "input"]
    assert str(answer).startswith(f"fit ran because code of {shop.name}.clean changed; input train ")

    with pytest.raises(StepFailed):
        run(n=4, max_iter=13)
    with pytest.raises(StepFailed):
        run(n=4, max_iter=13)
    assert "nothing changed and the run before, " in str(why(shop.context, "fit"))
    assert str(why(shop.context, "fit")).endswith(" failed.")

    execute(shop.context, shop.module.training, {"n": 4, "max_iter": 200}, force={"fit"})
    assert str(why(shop.context, "fit")) == "fit ran because it was forced; parameter max_iter 13 -> 200."
    execute(shop.context, shop.module.training, {"n": 4, "max_iter": 200}, cache=False)
    assert str(why(shop.context, "fit")) == "fit ran because its cache is off."

    earlier = why(shop.context, changed.steps["fit"].id)
    assert str(earlier) == "fit ran because parameter max_iter 100 -> 200."
    with pytest.raises(NotFound, match=r"no step or run 'fti'. Did you mean 'fit'"):
        why(shop.context, "fti")
