"""The pages of quality, sources and entities: what is expected, what checks found, what is set aside, who reads what."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

import trivet as tv
from tests.server.conftest import Client
from trivet.server.app import create_app

START = datetime(2026, 1, 5, tzinfo=UTC)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    with tv.open(tmp_path_factory.mktemp("quality")) as opened:
        build(opened)
        yield opened


@pytest.fixture(scope="module")
def client(project):
    return Client(create_app(project), "http://127.0.0.1:8416")


def build(project):
    hours = [START + timedelta(hours=hour) for hour in range(60)]
    delay = [float(hour % 9) for hour in range(60)]
    delay[7] = 999.0
    rows = pl.DataFrame({"origin": ["JFK", "LGA"] * 30, "at": hours, "delay": delay})
    rows.write_parquet(project.root / "flights.parquet")
    flights = tv.Source("flights", "flights.parquet", event_time="at")
    origin = tv.Entity("origin", type="string")
    view = tv.FeatureView("congestion", entity=origin, source=flights, features={"mean": tv.mean("delay", "3h")})
    rules = [tv.expect("delay").between(0, 100), tv.expect("origin").one_of(["JFK"], severity="warn")]
    late = tv.Source("late", sql="select * from flights where delay > 3", inputs=[flights], event_time="at")
    above = tv.FeatureView("late", entity=origin, source=late, features={"n": tv.count("1d")})
    project.define(view, above, tv.Expectations(flights, rules))
    project.materialize("congestion", until=START + timedelta(hours=70))
    spine = pl.DataFrame({"origin": ["JFK"], "t": [START + timedelta(hours=20)]})
    project.made = project.training_set(spine, ["congestion:*"], time="t")


def test_a_training_set_has_the_quality_of_its_data(project, client):
    [report] = project.made.quality
    assert (report.subject, report.passed, report.rows) == ("source.flights", False, 60)
    page = client.get(f"/artifacts/{project.made.artifact.digest}").text
    assert "Quality of the data" in page
    assert "not as expected" in page


def test_the_list(client):
    data = client.get("/api/quality").json()
    [row] = data["expectations"]
    assert (row["subject"], row["verdict"], row["refused"], row["count"]) == ("source.flights", "fail", 1, 2)
    assert [each["subject"] for each in data["without"]] == ["source.late", "view.congestion", "view.late"]


def test_one_with_its_checks_and_what_was_set_aside(client):
    data = client.get("/api/quality/flights").json()
    assert [each["verdict"] for each in data["last"]] == ["fail", "warned"]
    assert len(data["checks"]) == 2  # of the materialization, and of the training set
    assert data["refused"]["reasons"] == [{"reason": "expected: delay between 0 and 100", "count": 1}]
    assert "999.0" in client.get("/quality/source.flights").text


def test_a_profile_and_a_proposal_are_made_when_they_are_asked_for_and_not_recorded(client, project):
    before = [run.id for run in project.runs()]
    data = client.get("/api/quality/flights?learn=yes").json()
    assert "tv.expect('delay').between(" in data["proposal"]
    page = client.get("/quality/flights?per=1d").text
    assert page.count('class="chart"') == 5  # three columns, and two of the checks
    assert [run.id for run in project.runs()] == before


def test_views_of_which_nothing_is_expected_have_a_page(client):
    assert "Nothing is expected yet" in client.get("/quality/congestion").text
    proposal = client.get("/api/quality/congestion?learn=yes").json()["proposal"]
    assert proposal.startswith("tv.Expectations(congestion, [")


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/quality/flihgts", "Did you mean"),
        ("/quality/flights?per=often", "often"),
        ("/quality/flights?learn=maybe", "There are: yes"),
        ("/sources/flihgts", "Did you mean 'flights'"),
        ("/entities/orign", "Did you mean 'origin'"),
    ],
)
def test_what_cannot_be_gets_a_sentence(client, path, words):
    found = client.get(f"/api{path}")
    assert found.status_code in (400, 404)
    assert words in found.json()["error"]


def test_sources_and_entities(client):
    data = client.get("/api/sources").json()
    assert [(each["name"], each["views"]) for each in data["sources"]] == [
        ("flights", ["congestion", "late"]), ("late", ["late"])
    ]  # fmt: skip
    assert data["entities"] == [
        {
            "name": "origin",
            "keys": {"origin": "string"},
            "views": ["congestion", "late"],
            "features": ["congestion:mean", "late:n"],
        }
    ]
    one = client.get("/api/sources/flights").json()
    assert [each["name"] for each in one["read_by"]] == ["congestion", "late"]
    assert one["snapshots"][0]["format"] == "parquet"
    assert "select * from flights" in client.get("/sources/late").text
    assert "late:n" in client.get("/api/entities/origin").text


@pytest.mark.parametrize(
    ("reference", "place"),
    [("flights", "/sources/flights"), ("origin", "/entities/origin"), ("late", "/features/late")],
)
def test_a_pasted_name_leads_to_its_page(client, reference, place):
    found = client.get(f"/show/{reference}")
    assert (found.status_code, found.headers["location"]) == (303, place)


def test_the_view_says_how_its_data_are(client):
    data = client.get("/api/features/congestion").json()
    assert [(each["subject"], each["verdict"]) for each in data["expected"]] == [("source.flights", "fail")]
    assert data["freshness"]["watermark"].startswith("2026-01-07T22:00:00")
