"""Executing the parts of one run with those of another."""

import pytest
from msgspec.structs import replace

from tests.pipelines.workshop import build, tidy
from trivet.errors import StepFailed
from trivet.pipelines import values
from trivet.pipelines.execution import execute
from trivet.pipelines.transplant import Mixture, Place

SOURCE = """
from pathlib import Path

GIVEN = {"add": 1}

@tv.task(outputs=("low", "high"))
def split(rows, at: int):
    return [x for x in rows["values"] if x < at], [x for x in rows["values"] if x >= at]

@tv.task
def count(low, given, seed: int = 3):
    import os
    Path("counted").touch()
    return {"n": len(low) + given["add"], "seed": seed, "secrets": sum(name.startswith("SECRET") for name in os.environ)}

@tv.pipeline
def flow(rows, at: int = 3):
    low, high = split(rows, at)
    return {"below": count(low, GIVEN), "high": high}
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    built = build(tmp_path_factory.mktemp("transplant"), SOURCE)
    yield built
    tidy(built)


@pytest.fixture(scope="module")
def mixture(shop):
    run = execute(shop.context, shop.module.flow, {"rows": values.save({"values": [1, 2, 5]}, shop.context)}).run
    recipe = run.recipe
    return Mixture(
        pipeline=True,
        entry=recipe.entry,
        code=recipe.code,
        environment="",
        threads=1,
        variables={},
        inputs=run.inputs,
        parameters={"at": 3},
        seed=0,
    )


@pytest.fixture
def place(shop):
    said = []
    with Place(shop.context, said.append) as made:
        made.said = said
        yield made


def test_a_pipeline_is_drawn_and_executed_by_its_own_code(shop, mixture, place, monkeypatch):
    monkeypatch.setenv("SECRET_TOKEN", "x")
    before = (len(shop.context.ledger.artifacts(limit=1000)), len(shop.runs(limit=1000)))
    made = place.run(mixture)
    assert made.error == ""
    assert made.metrics["count"] == {"n": 3.0, "seed": 3.0, "secrets": 0.0}
    assert set(made.outputs) == {"split.low", "split.high", "count", "below", "high"}
    assert values.load(made.outputs["high"], place.blobs) == [5]
    assert (len(shop.context.ledger.artifacts(limit=1000)), len(shop.runs(limit=1000))) == before
    assert place.said == ["split", "count"]


def test_a_step_that_two_mixtures_share_is_executed_once(mixture, place):
    place.run(mixture)
    done = len(place._done)
    assert done == 2
    place.run(replace(mixture, parameters={"at": 3}))
    assert len(place._done) == done
    place.run(replace(mixture, parameters={"at": 2}))
    assert len(place._done) == done + 2


def test_what_does_not_fit_is_an_answer(mixture, place):
    made = place.run(replace(mixture, parameters={"limit": 3}))
    assert made.error.startswith("There is no parameter of pipeline 'flow' 'limit'")
    made = place.run(replace(mixture, parameters={"at": "three"}))
    assert made.error.startswith("split: TypeError: '<' not supported")
    assert place.run(replace(mixture, entry=mixture.entry.replace(":flow", ":split"))).error.startswith("TypeError: ")


def test_mixtures_are_the_same_by_what_they_say(mixture):
    assert mixture.key == replace(mixture, parameters={"at": 3}).key
    others = [replace(mixture, seed=1), replace(mixture, threads=2), replace(mixture, parameters={})]
    assert len({mixture.key, *(other.key for other in others)}) == 4


def test_a_model_that_cannot_answer_says_why(shop, mixture, place):
    no_model = values.save([1], shop.context)
    place.stage([no_model])
    with pytest.raises(StepFailed, match="AttributeError"):
        place.predictions(mixture, no_model, values.save([2], shop.context))


def test_nothing_is_left_behind(shop, mixture):
    with Place(shop.context, lambda _: None) as made:
        folder = made.folder
        made.run(mixture)
    assert not folder.exists()
