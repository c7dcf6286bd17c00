from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trivet.errors import Invalid, NotFound
from trivet.pipelines.task import Pipeline, Task, pipeline, task


class Frame:
    """A type that has no textual form."""


@task
def clean(raw: list[int], *, floor: int = 0) -> list[int]:
    """Drop what is below the floor."""
    return [value for value in raw if value >= floor]


@task(outputs=("low", "high"))
def split(values: list[int], at: int = 10) -> tuple[list[int], list[int]]:
    return [v for v in values if v < at], [v for v in values if v >= at]


@pipeline
def training(raw: list[int], floor: int = 0):
    low, high = split(clean(raw, floor=floor))
    return {"low": low, "high": high}


@pipeline
def typed(
    count: int,
    rate: float = 0.1,
    name: str = "x",
    quick: bool = False,
    mode: Literal["a", "b"] = "a",
    origins: list[str] = [],
    limits: dict[str, int] | None = None,
    until: datetime | None = None,
    file: Path = Path(),
    free=None,
    frame: Frame | None = None,
): ...


def test_a_task_is_still_its_function():
    assert isinstance(clean, Task)
    assert clean([-1, 2]) == [2]
    assert clean([1, 2], floor=2) == [2]
    assert (clean.__name__, clean.__doc__) == ("clean", "Drop what is below the floor.")
    assert clean.__wrapped__([-1, 2]) == [2]


def test_a_pipeline_runs_plainly_in_process():
    assert isinstance(training, Pipeline)
    assert training([-1, 3, 30]) == {"low": [3], "high": [30]}


def test_options_of_a_task():
    @task(outputs=("a", "b"), cache=False, threads=3, seed=7, name="other")
    def f(): ...

    assert (f.outputs, f.cache, f.threads, f.seed, f.name) == (("a", "b"), False, 3, 7, "other")


@pytest.mark.parametrize("outputs", ["train", (), ("a", "a"), ("not a name",)])
def test_wrong_outputs(outputs):
    with pytest.raises(Invalid, match="The outputs of task 'f' are"):

        @task(outputs=outputs)
        def f(): ...


def test_wrong_threads():
    with pytest.raises(Invalid, match="Ask for one or more"):

        @task(threads=0)
        def f(): ...


def test_text_becomes_values_by_annotation():
    given_text = {
        "count": "3",
        "rate": "1e-3",
        "name": "3",
        "quick": "yes",
        "mode": "b",
        "origins": '["EWR"]',
        "limits": '{"a": 1}',
        "until": "2013-01-01T00:00:00Z",
        "file": "a/b.txt",
        "free": "[1, 2]",
    }
    assert typed.parse(given_text) == {
        "count": 3,
        "rate": 1e-3,
        "name": "3",
        "quick": True,
        "mode": "b",
        "origins": ["EWR"],
        "limits": {"a": 1},
        "until": datetime(2013, 1, 1, tzinfo=UTC),
        "file": Path("a/b.txt"),
        "free": [1, 2],
    }
    assert typed.parse({"free": "plain words"}) == {"free": "plain words"}
    assert typed.parse({"limits": "null"}) == {"limits": None}


@pytest.mark.parametrize(
    ("name", "text"),
    [("count", "three"), ("quick", "maybe"), ("mode", "c"), ("origins", "EWR"), ("until", "soon"), ("limits", '{"a": "x"}')],
)
def test_a_bad_text_gets_a_sentence(name, text):
    with pytest.raises(Invalid, match=f"is no value for the parameter '{name}' of pipeline 'typed'"):
        typed.parse({name: text})


def test_a_type_without_text_is_resolved_by_the_caller():
    with pytest.raises(Invalid, match="cannot be written as text"):
        typed.parse({"frame": "table:3f2a9c"})
    assert typed.parse({"frame": "table:3f2a9c"}, resolve=str.upper) == {"frame": "TABLE:3F2A9C"}


def test_an_unknown_name_offers_the_nearest():
    with pytest.raises(NotFound, match="no parameter of pipeline 'typed' 'cuont'. Did you mean 'count'"):
        typed.parse({"cuont": "3"})


@settings(max_examples=60, deadline=None)
@given(st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.booleans(), st.text())
def test_what_is_written_is_read(count, rate, quick, name):
    text = {"count": str(count), "rate": repr(rate), "quick": str(quick).lower(), "name": name}
    if abs(count) < 2**63:
        assert typed.parse(text) == {"count": count, "rate": rate, "quick": quick, "name": name}
