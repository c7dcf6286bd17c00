"""The page of what changed."""

from __future__ import annotations

import sys

import pytest

import trivet as tv
from tests.server.conftest import Client
from trivet.server.app import create_app

SOURCE = """
import trivet as tv


@tv.task
def count(rows, factor: int):
    return {"total": float(factor * sum(rows["values"]))}


@tv.pipeline
def work(rows, factor: int = 1):
    return count(rows, factor)
"""


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """A project with two runs of a pipeline, and why they differ."""
    root = tmp_path_factory.mktemp("differences")
    (root / "counting_for_a_page.py").write_text(SOURCE)
    sys.path.insert(0, str(root))
    try:
        import counting_for_a_page

        with tv.open(root) as project:
            runs = [
                project.execute(counting_for_a_page.work, rows=project.save({"values": values}), factor=factor).run.id
                for values, factor in (([1, 2], 1), ([1, 5], 3))
            ]
            yield project, Client(create_app(project), "http://127.0.0.1:8416"), [f"run:{run}" for run in runs]
    finally:
        sys.path.remove(str(root))


def test_the_form_and_the_answer(compared):
    _, client, (a, b) = compared
    assert 'action="/diff"' in client.get("/diff").text
    data = client.get(f"/api/diff/{a}/{b}").json()
    assert data["why"] is None
    assert data["found"]["parameters"] == [{"name": "factor", "before": 1, "after": 3}]
    assert {part["name"] for part in data["parts"]} >= {"parameters", "hardware", "seeds"}
    page = client.get(f"/diff?a={a}&b={b}").text
    assert f"trivet why {a} {b}" in page
    assert "the other way round" in page


def test_what_each_change_does_once_it_was_asked(compared):
    project, client, (a, b) = compared
    found = project.why(a, b, environment="current")
    data = client.get(f"/api/diff/{a}/{b}").json()["why"]
    assert (data["run"], data["exact"], [cause["name"] for cause in data["causes"]]) == (
        found.run,
        True,
        ["data", "parameters"],
    )
    (measure,) = data["measures"]
    assert (measure["name"], measure["a"], measure["b"]) == ("total", 3.0, 18.0)
    assert [share["amount"] for share in measure["shares"]] == [6.0, 9.0]
    page = client.get(f"/diff/{a}/{b}").text
    assert "What each change does" in page
    assert "<b>+9</b>" in page


def test_a_run_leads_to_what_changed_since_the_last(compared):
    _, client, (a, b) = compared
    page = client.get(f"/runs/{b.removeprefix('run:')}").text
    assert f"/diff/{a.replace(':', '%3A')}".replace("run%3A", "run:") in page


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/diff?a=x", 400, "Name two things"),
        ("/diff/nobody@1/nobody@2", 404, "nobody"),
        (f"/diff/{'x' * 400}/y", 400, "Name two"),
    ],
)
def test_what_cannot_be_compared_gets_a_sentence(compared, path, status, words):
    _, client, _ = compared
    answer = client.get(path)
    assert answer.status_code == status
    assert words in answer.text


def test_two_predictions_differ_in_what_the_model_saw(client, small, project):
    a, b = (f"prediction:{each}" for each in small.predictions[:2])
    names = {change["name"] for change in client.get(f"/api/diff/{a}/{b}").json()["found"]["parameters"]}
    assert "request.distance" in names
    assert project.diff(a, a).parameters == ()
