"""The table of runs as a search: rows, order, pages there and back, and the page that compares."""

from __future__ import annotations

import re
from html import unescape

import pytest

import trivet as tv
from tests.server.conftest import Client
from trivet.ledger import Run
from trivet.server.app import create_app

PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c6360000002000001"
    "e221bc330000000049454e44ae426082"
)


@pytest.fixture
def searched(tmp_path):
    with tv.open(tmp_path) as project:
        now = project.context.clock()
        project.context.ledger.write(
            *(
                Run(f"01{n:024d}", "experiment", f"<b>{n}</b>", "failed" if n % 5 == 0 else "finished", now, now,
                    parameters={"depth": n % 3, "odd name": n}, metrics={"auc": n / 100})
                for n in range(25)
            )
        )  # fmt: skip
        yield Client(create_app(project), "http://localhost")


def test_pages_go_there_and_back(searched):
    place, seen, places = "/runs?where=params.depth+%3D+1&order=metrics.auc+desc&limit=3", [], []
    while place:
        page = searched.get(f"/api{place}").json()
        places.append((place, page["previous"]))
        seen += [run["metrics"]["auc"] for run in page["runs"]]
        place = page["more"]
    assert seen == sorted((n / 100 for n in range(25) if n % 3 == 1), reverse=True)
    ids = [[run["id"] for run in searched.get(f"/api{place}").json()["runs"]] for place, _ in places]
    for number, (_, previous) in enumerate(places[1:]):
        assert [run["id"] for run in searched.get(f"/api{previous}").json()["runs"]] == ids[number]
    assert places[0][1] is None


def test_counts_columns_and_what_is_shown(searched):
    page = searched.get("/api/runs?where=metrics.auc+>=+0.2&columns=name,params.depth").json()
    assert page["count"] == 5
    assert [run["cells"] for run in page["runs"]] == [[f"<b>{n}</b>", n % 3] for n in range(24, 19, -1)]
    assert page["statuses"] == {"finished": 20, "failed": 5}
    text = searched.get("/runs?where=metrics.auc+>=+0.2&order=params.%60odd+name%60").text
    assert "<b>24" not in text
    assert 'aria-sort="ascending"' in text
    heads = [unescape(link) for link in re.findall(r'<th[^>]*><a href="([^"]+)"', text)]
    assert len(heads) >= 4
    assert {searched.get(link).status_code for link in heads} == {200}


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/runs?where=nmae+=+'x'", 400, "Did you mean 'name'"),
        ("/runs?order=metrics", 400, "no attribute"),
        ("/runs?limit=0", 400, "1 to 1000"),
        ("/runs?after=x", 400, "no cursor"),
        ("/runs?columns=nmae", 404, "no column"),
        ("/runs?where='; drop table trivet_runs", 400, "never closed"),
        ("/compare?runs=01000", 404, "no run"),
        ("/compare?where=params.depth=9", 400, "takes two runs"),
        ("/compare?where=params.depth=1&metric=acu", 404, "Did you mean 'auc'"),
        ("/compare?where=params.depth=1&smoothing=x", 400, "no number"),
        ("/compare?where=params.depth=1&x=params.dpth", 404, "Did you mean 'params.depth'"),
    ],
)
def test_what_is_not_understood_is_a_sentence(searched, path, status, words):
    page, data = searched.get(path), searched.get(f"/api{path}")
    assert (page.status_code, data.status_code) == (status, status)
    assert words in unescape(page.text)
    assert words in data.json()["error"]


def test_runs_are_compared(searched):
    data = searched.get("/api/compare?where=params.depth=1&order=metrics.auc").json()
    assert [row["name"] for row in data["rows"]] == ["odd name", "auc"]
    page = searched.get("/compare?where=params.depth=1&order=metrics.auc&log=on&smoothing=0.5").text
    assert page.count('<svg class="chart"') == 3
    assert "rank correlation, 8 runs" in page
    assert "<b>1" not in page


def test_curves_and_pictures_stand_side_by_side(tmp_path):
    with tv.open(tmp_path) as project:
        made = []
        for number in range(2):
            with project.run(f"r{number}") as run:
                for step in range(900):
                    run.log(loss=1 / (step + 1))
                run.file(PIXEL, "roc.png")
            made.append(run.id)
        client = Client(create_app(project), "http://localhost")
        page = client.get(f"/compare?runs={','.join(made)}").text
        one = client.get(f"/runs/{made[0]}").text
    assert page.count("data:image/png;base64,") == 2
    curves = re.findall(r'class="line of[01]" d="([^"]+)"', page)
    assert [line.count(",") <= 400 for line in curves] == [True, True]
    assert "Metrics with their extremes" in one
    assert "900" in one
