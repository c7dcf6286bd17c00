"""Every page shows the key facts, the API answers the same, and nothing that is asked makes it fall over."""

from __future__ import annotations

import json
import re
import subprocess
from html import unescape
from xml.etree import ElementTree as ET

import pytest

import trivet as tv
from tests.server.small_project import HOSTILE, START
from trivet.features.skew.report import Example, FeatureSkew, SkewReport
from trivet.ledger import Run
from trivet.server.app import PAGES

ODD = [
    "' OR 1=1 --", "<script>alert(1)</script>", "{{7*7}}", "🐻", "%00", "%ff", "..%2F..%2F..%2Fetc%2Fpasswd",
    "%22%3E%3Cb%3E", "x" * 10_000, "01", "0" * 64, "@", "prediction:", "%0d%0aSet-Cookie:x=1",
]  # fmt: skip


OURS = '<script src="/static/trivet.js" defer></script>'


def places(small) -> dict[str, str]:
    """The address of each page of ``PAGES``, filled in."""
    ids = {
        "/features/{name}": "weather", "/runs/{id}": small.experiment, "/deployments/{id}": small.deployment,
        "/predictions/{id}": small.predictions[0], "/artifacts/{digest}": small.model,
    }  # fmt: skip
    filled = {path: path[: path.index("{")] + word for path, word in ids.items()}
    filled["/models/{name}/{version:int}"] = "/models/delay/1"
    filled["/features/{name}/{feature}"] = "/features/weather/wind_1h"
    filled["/diff/{a}/{b}"] = f"/diff/run:{small.experiment}/run:{small.second}"
    filled["/compare"] = f"/compare?runs={small.experiment}&order=started"
    filled["/tables/{name}"] = "/tables/orders"
    filled["/series/{name}"] = "/series/energy:price"
    filled["/sources/{name}"] = "/sources/readings"
    filled["/entities/{name}"] = "/entities/place"
    filled["/quality/{subject}"] = "/quality/source.readings"
    return {path: filled.get(path, path) for path, *_ in PAGES}


def text_of(page: str) -> str:
    return unescape(re.sub(r"<[^>]+>", " ", page))


@pytest.mark.parametrize("path", [path for path, *_ in PAGES])
def test_every_page_answers_as_a_page_and_as_json(client, small, path):
    place = places(small)[path]
    page, data = client.get(place), client.get(f"/api{place}".rstrip("/"))
    assert (page.status_code, data.status_code) == (200, 200), page.text[-300:]
    assert page.headers["content-type"].startswith("text/html")
    answer = json.loads(data.text, parse_constant=pytest.fail)
    assert f"<title>{answer['title']}" in unescape(page.text)
    assert not {"graph", "charts"} & set(answer)
    assert "All times are UTC." in page.text


@pytest.mark.parametrize("path", [path for path, *_ in PAGES])
def test_what_people_wrote_is_never_markup(client, small, path):
    page = client.get(places(small)[path]).text
    assert "<script" not in page.replace(OURS, "")
    assert "alert('x')</" not in page
    assert "<b>nowhere</b>" not in page
    assert "{{" not in page or "{{7*7}}" in page  # shown as it was written, never worked out


def test_hostile_words_are_shown_as_they_were_written(client, small):
    for place in ("/runs", f"/runs/{small.experiment}", "/features/weather", "/models/delay/1"):
        assert HOSTILE in text_of(client.get(place).text)


@pytest.mark.parametrize("path", [path for path, *_ in PAGES])
def test_no_page_needs_the_network_or_a_script_of_others(client, small, path):
    answer = client.get(places(small)[path])
    assert not re.findall(r"""(?:src|href|action)=["']?(?:https?:)?//""", answer.text)
    assert " style=" not in answer.text  # would be refused by the policy
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize("path", [path for path, *_ in PAGES])
def test_every_link_of_a_page_leads_somewhere(client, small, path):
    page = client.get(places(small)[path]).text
    links = {unescape(link) for link in re.findall(r'href="(/[^"]*)"', page)}
    broken = [link for link in sorted(links)[:60] if client.get(link).status_code not in {200, 303}]
    assert broken == []


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("prefix", ["features", "runs", "deployments", "predictions", "artifacts", "models", "show"])
def test_odd_ids_get_a_sentence_and_never_a_trace(client, prefix, odd):
    for base in ("", "/api"):
        answer = client.get(f"{base}/{prefix}/{odd}")
        assert answer.status_code in {400, 404}, answer.text[:300]
        assert "Traceback" not in answer.text
        assert odd != "{{7*7}}" or " 49 " not in re.sub(r"\W", " ", answer.text)
        if base:
            assert json.loads(answer.text)["error"]
        elif odd.startswith("<"):
            assert odd not in answer.text
        assert len(answer.text) < 5_000


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/runs/01ZZZZZZ", 404, "no run"),
        ("/models/dely/1", 404, "Did you mean 'delay'"),
        ("/models/delay/9", 404, "delay@1"),
        ("/models/delay/x", 404, "no such page"),
        ("/features/wether", 404, "Did you mean 'weather'"),
        ("/deployments/other", 404, "no deployment 'other'"),
        ("/nowhere", 404, "no such page"),
        ("/runs?knd=task", 400, "Did you mean 'kind'"),
        ("/runs?kind=..", 400, "no kind of runs"),
        ("/runs?before=%22%3E", 400, "not the id of a run"),
        ("/features?x=1", 400, "query parameter"),
        ("/show?id=", 400, "Paste an id"),
    ],
)
def test_what_does_not_exist_or_cannot_be_meant(client, path, status, words):
    page, data = client.get(path), client.get(f"/api{path}")
    assert page.status_code == status
    assert words in text_of(page.text)
    if not path.startswith("/show"):
        assert data.status_code == status
        assert words in json.loads(data.text)["error"]


def test_the_overview_counts_what_exists(client, small, project):
    data = client.get("/api").json()
    counts = {card["name"]: card["count"] for card in data["cards"]}
    assert counts["feature views"] == 1
    assert counts["model versions"] == 2
    assert counts["predictions recorded"] == len(small.predictions) == 120
    assert [each["id"] for each in data["deployments"]] == [small.deployment]
    assert "predict" not in {run["kind"] for run in data["runs"]}


def test_the_run_page(client, small):
    page = client.get(f"/runs/{small.experiment}").text
    shown = text_of(page)
    for fact in ("finished", "depth", "0.73", "not a number", "∞", "trivet reproduce run:", "environment:", "code:"):
        assert fact in shown
    assert re.search(r'href="/artifacts/[0-9a-f]{64}">code:', page)
    assert 'class="chart"' in page
    assert client.get(f"/api/runs/{small.experiment}").json()["run"]["metrics"]["broken"] is None


def test_the_model_page_shows_the_evidence_and_its_groups(client, small):
    data = client.get("/api/models/delay/1").json()
    assert data["report"]["verdict"] == "pass"
    groups = data["report"]["conditions"][1]["groups"]
    assert {group["condition"] for group in groups} == {"place=A", "place=B"}
    page = client.get("/models/delay/1").text
    for fact in ("place=A", "place=B", "95 % bounds", "weather:wind_1h", "the request", "readings.parquet", "champion"):
        assert fact in unescape(page)
    assert f"{data['report']['conditions'][0]['estimate']:.4f}" in page
    assert "No gate report" in client.get("/models/ungated/1").text


def test_the_deployment_page(client, small):
    page = text_of(client.get(f"/deployments/{small.deployment}").text)
    for fact in ("in training", "AUC", "Drift against the training set", "Heartbeats", "dead", "wind_1h", "120"):
        assert fact in page
    data = client.get(f"/api/deployments/{small.deployment}").json()
    assert data["labels"] == {"joined": 120, "predictions": 120}
    assert {each["column"] for each in data["drift"]} == {"wind_1h", "distance"}
    assert data["heartbeats"][0]["state"] == "dead"
    assert 0 < data["base_rate"] < 1
    assert len(data["predictions"]) == 20


def test_the_deployment_page_shows_the_last_audit(client, small):
    assert "Never audited" in client.get(f"/deployments/{small.deployment}").text
    with tv.open(small.root) as project:
        clean = project.audit(small.deployment)
        assert clean.ok, str(clean)
    page = text_of(client.get(f"/deployments/{small.deployment}").text)
    assert "120 served predictions, computed again as a training set" in page
    assert "Examples" not in page
    data = client.get(f"/api/deployments/{small.deployment}").json()["skew"]
    assert [(each["feature"], each["verdict"], each["rows"]) for each in data["features"]] == [
        ("weather:wind_1h", "same", 120)
    ]


def test_the_deployment_page_shows_what_differs_with_examples(client, small, monkeypatch):
    example = Example(
        prediction=small.predictions[0], at=START, entities={"place": "<b>A"}, online=1.5, offline=2.5, status="present",
        cause="unknown",
    )  # fmt: skip
    skew = FeatureSkew(
        feature="weather:wind_1h", rows=120, mismatches=3, low=0.01, high=0.07, absolute_error=1.0, relative_error=0.5,
        causes={"unknown": 3}, examples=[example],
    )  # fmt: skip
    found = SkewReport(deployment=small.deployment, model="delay@1", at=START, rows=120, features=[skew])
    monkeypatch.setattr(tv.Project, "last_audit", lambda *_: found)
    page = client.get(f"/deployments/{small.deployment}").text
    for fact in ("nothing on record explains it", f'href="/predictions/{small.predictions[0]}"', "&lt;b&gt;A", "2.5 %"):
        assert fact in page


def test_the_prediction_page_goes_back_to_raw_files(client, small):
    page = client.get(f"/predictions/{small.predictions[0]}").text
    svg = ET.fromstring(page[page.index("<svg") : page.index("</svg>") + 6])
    titles = [text.text or "" for text in svg.iter("text") if text.get("class") == "title"]
    for word in ("prediction", "deployment delay@1", "gate report delay", "model", "training set", "view weather",
                 "source readings"):  # fmt: skip
        assert any(title.startswith(word) for title in titles), (word, titles)
    data = client.get(f"/api/predictions/{small.predictions[0]}").json()
    seen = {value["name"]: value for value in data["values"]}
    assert seen["wind_1h"]["feature"] == "weather:wind_1h"
    assert seen["wind_1h"]["status"] == "present"
    assert seen["wind_1h"]["time"].startswith("2026-01-2")
    assert seen["distance"] == {
        "name": "distance", "value": 400.0, "origin": "request", "feature": None, "time": None, "status": ""
    }  # fmt: skip
    assert f"trivet reproduce prediction:{small.predictions[0]}" in page


def test_artifacts_of_every_kind_have_a_page(client, project):
    kinds = {found.kind: found.digest for found in project.context.ledger.artifacts(limit=1000)}
    wanted = {"code", "environment", "training_set", "model", "gate_report", "feature_view", "source", "predictions"}
    assert wanted <= set(kinds)
    pages = {kind: text_of(client.get(f"/artifacts/{digest}").text) for kind, digest in kinds.items()}
    assert "pipeline.py" in pages["code"]
    assert "requirements.lock" in pages["environment"]
    assert "numpy==" in pages["environment"]
    assert "weather:wind_1h" in pages["training_set"]
    assert "400" in pages["training_set"]
    assert "First rows" in pages["source"]
    assert "wind" in pages["source"]
    assert "delay" in pages["gate_report"]


def test_a_pasted_id_finds_its_page(client, small):
    cases = {
        f"run:{small.experiment}": f"/runs/{small.experiment}",
        f"model:{small.model[:12]}": f"/artifacts/{small.model}",
        f" {small.model[:10]} ": f"/artifacts/{small.model}",
        "delay@champion": "/models/delay/1",
        "delay": "/models/delay/1",
        "weather": "/features/weather",
        f"run:{small.deployment}": f"/deployments/{small.deployment}",
        f"prediction:{small.predictions[0]}": f"/predictions/{small.predictions[0]}",
    }
    for pasted, place in cases.items():
        answer = client.get("/show", params={"id": pasted})
        assert (answer.status_code, answer.headers["location"]) == (303, place)


def test_empty_projects_are_friendly(empty):
    for place in ("/", "/features", "/runs", "/models", "/deployments"):
        assert empty.get(place).status_code == 200
    assert "Nothing is here yet" in empty.get("/").text
    assert "trivet serve" in empty.get("/deployments").text
    assert "trivet_alarm_open" in empty.get("/metrics").text


def test_ten_thousand_runs_are_read_page_by_page(empty, tmp_path):
    import trivet as tv

    with tv.open(tmp_path) as project:
        now = project.context.clock()
        made = [Run(f"01{number:024d}", "task", "step", "finished", now, now) for number in range(10_000)]
        project.context.ledger.write(*made)
    first = empty.get("/api/runs").json()
    assert [run["id"] for run in first["runs"]] == [run.id for run in made[:-51:-1]]
    second = empty.get(f"/api{first['more']}").json()
    assert second["runs"][0]["id"] == made[-51].id
    last = empty.get(f"/api/runs?kind=task&before={made[50].id}").json()
    assert (len(last["runs"]), last["more"]) == (50, None)
    page = empty.get(f"/runs?kind=task&before={made[100].id}")
    assert f'href="/runs?kind=task&amp;before={made[50].id}"' in page.text
    assert empty.get(f"/runs?before={made[0].id}").text.count("No older runs.") == 1


def test_runs_that_a_service_writes_are_folded_and_counted(empty, tmp_path):
    kinds = ["predict", "materialize", "predict", "task", "predict", "task", "task"]
    with tv.open(tmp_path) as project:
        now = project.context.clock()
        made = [
            Run(f"01{number:024d}", kind, "delay@1", "finished", now, now, metrics={"rows": 2.0})
            for number, kind in enumerate(kinds * 100)
        ]
        project.context.ledger.write(*made)
    found, place = [], "/api/runs"
    while place:
        page = empty.get(place).json()
        found += page["runs"]
        place = page["more"] and f"/api{page['more']}"
    assert sum(run["count"] for run in found) == 700
    assert [(run["kind"], run["count"], run["metrics"]["rows"]) for run in found[:6]] == [
        ("task", 1, 2), ("task", 1, 2), ("predict", 1, 2), ("task", 1, 2), ("predict", 2, 4), ("materialize", 1, 2)
    ]  # fmt: skip
    assert {run["seconds"] for run in found} == {None}
    assert "2 times" in empty.get("/runs").text
    assert {run["count"] for run in empty.get("/api/runs?kind=predict").json()["runs"]} == {1}


def test_only_this_machine_is_answered(client):
    for path in ("/", "/api", "/metrics", "/static/trivet.css"):
        assert client.get(path, headers={"host": "rebound.example:8416"}).status_code == 421
        assert client.get(path, headers={"sec-fetch-site": "cross-site"}).status_code == 421
    assert client.get("/", headers={"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}).status_code == 200


def test_health_and_the_style_sheet(client):
    assert client.get("/health").json()["status"] == "ok"
    css = client.get("/static/trivet.css")
    assert css.status_code == 200
    assert "prefers-color-scheme: dark" in css.text
    assert client.get("/static/..%2fapp.py").status_code == 404
    assert client.request("POST", "/runs").status_code == 405


def test_asking_writes_nothing(client, small, project):
    client.get(f"/deployments/{small.deployment}")
    before = [run.id for run in project.context.ledger.runs()]
    for place in places(small).values():
        client.get(place)
    client.get("/metrics")
    assert [run.id for run in project.context.ledger.runs()] == before
    assert project.alarms() == []


def test_a_run_leads_to_what_was_not_committed(empty, tmp_path):
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    (tmp_path / "train.py").write_text("<b>rate</b> = 3\n")
    with tv.open(tmp_path) as project, project.run("x") as run:
        pass
    found = empty.get(f"/api/runs/{run.id}").json()["run"]["tags"]["git.patch"]
    page = empty.get(f"/runs/{run.id}").text
    assert f'<dt>uncommitted changes</dt><dd><a class="id" href="/artifacts/{found}">patch:{found[:12]}</a>' in page
    assert "+<b>rate</b> = 3" in text_of(empty.get(f"/artifacts/{found}").text)
