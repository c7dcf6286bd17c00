from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trivet.clock import system_clock
from trivet.errors import Invalid, NotFound
from trivet.ledger import Artifact
from trivet.pipelines.graph import Graph, Handle, as_json, bind, trace
from trivet.pipelines.task import pipeline, task


@task
def load(origin: str = "EWR"):
    return [origin]


@task(outputs=("train", "test"))
def split(data, share: float = 0.8):
    return data, data


@task(seed=5)
def fit(train, *, max_iter: int = 100, seed: int = 0, shape=(1, 2)):
    return train


@task
def merge(parts, extra=None):
    return parts


@task
def spread(**anything):
    return anything


@task
def positional(*values):
    return values


def test_a_chain():
    @pipeline
    def training(origin: str = "JFK", max_iter: int = 10):
        train, test = split(load(origin))
        return fit(train, max_iter=max_iter), test

    graph = training.trace(max_iter=20)
    assert list(graph.steps) == ["load", "split", "fit"]
    assert graph.step("load").parameters == {"origin": "JFK"}
    assert graph.step("split").needs == ["load"]
    assert graph.step("fit").inputs["train"].label == "split.train"
    assert graph.step("fit").parameters == {"max_iter": 20, "seed": 5}
    assert list(graph.outputs) == ["fit", "split.test"]


def test_the_same_task_twice_gets_numbers():
    graph = trace(lambda: [fit(load()) for _ in range(3)] and None, {})
    assert list(graph.steps) == ["load", "fit", "load_2", "fit_2", "load_3", "fit_3"]


def test_a_pipeline_inside_a_pipeline_adds_its_steps():
    @pipeline
    def inner(data):
        return fit(data)

    @pipeline
    def outer():
        return inner(load())

    assert list(outer.trace().steps) == ["load", "fit"]


def test_seeds():
    steps = trace(lambda: (fit(load()), fit(load(), seed=9), load())[0], {}).steps
    assert [steps[name].seed for name in ("fit", "fit_2", "load")] == [5, 9, 0]


def test_a_dict_of_steps_spreads_into_slots():
    step = trace(lambda: merge({"a": load(), "b": load(), "c": 3}), {}).step("merge")
    assert list(step.inputs) == ["parts.a", "parts.b", "parts.c"]
    assert step.needs == ["load", "load_2"]


def test_artifacts_and_other_values_are_inputs_and_json_is_a_parameter():
    @dataclass
    class Frame: ...

    artifact, frame = Artifact.of("json", {}, created=system_clock()), Frame()
    step = trace(lambda: merge(artifact, frame), {}).step("merge")
    assert step.inputs == {"parts": artifact, "extra": frame}
    assert trace(lambda: merge([1, {"a": None}]), {}).step("merge").parameters == {"parts": [1, {"a": None}], "extra": None}


def test_a_default_that_json_cannot_hold_stays_with_the_function():
    step = trace(lambda: fit(1), {}).step("fit")
    assert "shape" not in step.inputs | step.parameters


def test_named_rest_arguments():
    assert trace(lambda: spread(a=1, b=load()), {}).step("spread").parameters == {"a": 1}


def test_numpy_scalars_become_plain():
    import numpy as np

    assert as_json(np.int64(3), "x") == (True, 3)
    assert type(as_json([np.float64(0.5)], "x")[1][0]) is float
    assert as_json(np.zeros(2), "x") == (False, None)


@pytest.mark.parametrize(
    ("use", "sentence"),
    [
        (lambda: load() and 1, "'load' is a step"),
        (lambda: [x for x in load()], "declare @task"),  # noqa: C416 - iterating is what is tried
        (lambda: load().shape, "'load' is a step"),
        (lambda: load()[0], "'load' is a step"),
        (lambda: load() + 1, "'load' is a step"),
        (lambda: 1 - load(), "'load' is a step"),
        (lambda: load() > 3, "'load' is a step"),
        (lambda: len(load()), "'load' is a step"),
        (lambda: range(load()), "'load' is a step"),
        (lambda: float(load()), "'load' is a step"),
        (lambda: 3 in load(), "'load' is a step"),
        (lambda: load()(), "'load' is a step"),
        (lambda: fit(split(load())), "was given a tuple of steps"),
        (lambda: merge([load()]), "was given a list of steps"),
        (lambda: merge({"a.b": load()}), "Use names without dots"),
        (lambda: fit(load(), max_iter=float("nan")), "which JSON cannot hold"),
        (lambda: fit(), "task 'fit' also needs 'train'"),
        (lambda: load("a", "b"), "task 'load' was called wrongly"),
        (lambda: positional(1), "Give every parameter a name"),
        (lambda: 3, "that is no output of its steps"),
        (lambda: {"x": 3}, "that is no output of its steps"),
    ],
)
def test_wrong_use_gets_a_sentence(use, sentence):
    with pytest.raises(Invalid, match=sentence):
        trace(use, {})


def test_an_unknown_parameter_offers_the_nearest():
    with pytest.raises(NotFound, match="no parameter of task 'fit' 'max_itre'. Did you mean 'max_iter'"):
        trace(lambda: fit(load(), max_itre=3), {})


def test_inputs_of_a_pipeline_are_checked():
    @pipeline
    def training(origin: str):
        return load(origin)

    with pytest.raises(NotFound, match="pipeline 'training' 'orgin'. Did you mean 'origin'"):
        training.trace(orgin="EWR")
    with pytest.raises(Invalid, match="also needs 'origin'"):
        training.trace()


def test_a_pipeline_without_steps():
    with pytest.raises(Invalid, match="has no steps"):
        pipeline(lambda: None, name="empty").trace()


def test_an_unknown_step():
    with pytest.raises(NotFound, match="no step 'laod'. Did you mean 'load'"):
        trace(lambda: load(), {}).step("laod")  # noqa: PLW0108 - a task outside a trace would run


def test_handles_do_not_pretend_to_have_attributes():
    assert not hasattr(Handle("fit"), "__array__")
    assert repr(Handle("fit")) == "Handle(step='fit', slot='result')"


def test_after_a_failure_tasks_run_again():
    with pytest.raises(ZeroDivisionError):
        trace(lambda: 1 / 0, {})
    assert load() == ["EWR"]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(0, 30), max_size=4), min_size=1, max_size=15))
def test_every_step_needs_exactly_what_it_was_given(wanted):
    """Against the obvious: any acyclic wiring, replayed step by step."""

    def wire():
        made = []
        for needs in wanted:
            earlier = {f"k{place}": made[need] for place, need in enumerate(needs) if need < len(made)}
            made.append(spread(**earlier))

    graph: Graph = trace(wire, {})
    names = list(graph.steps)
    for place, needs in enumerate(wanted):
        expected = {names[need] for need in needs if need < place}
        assert set(graph.steps[names[place]].needs) == expected


def test_bind_fills_in_defaults():
    assert bind("task 'fit'", fit.signature, (1,), {"max_iter": 3}) == {
        "train": 1,
        "max_iter": 3,
        "seed": 0,
        "shape": (1, 2),
    }
