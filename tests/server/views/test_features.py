"""The pages of the catalogue work for every kind of definition, and say what is on record and nothing else."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from html import unescape

import polars as pl
import pytest

import trivet as tv
from tests.server.conftest import Client
from trivet.server.app import create_app

START = datetime(2026, 1, 5, tzinfo=UTC)
PLACE = tv.Entity("place", key="place", type="string")


def weather(window, *, temp="temp"):
    source = tv.Source("readings", "readings.parquet", event_time="hour", known_after="1h")
    features = {"wind": tv.mean("wind", window), temp: tv.latest("temp")}
    return tv.FeatureView(
        "weather", entity=PLACE, source=source, features=features, description="Stations.", owner="ada", tags=["live"]
    )


@tv.on_demand(inputs=["weather:wind"], request={"minute": "int"})
def rush(wind, minute):
    """Wind for each minute."""
    return {"gust": wind / minute}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    root = tmp_path_factory.mktemp("catalogue")
    hours = [START + timedelta(hours=hour) for hour in range(30)]
    values = [float(hour) for hour in range(30)]
    pl.DataFrame({"place": "A", "hour": hours, "wind": values, "temp": values}).write_parquet(root / "readings.parquet")
    spine = pl.DataFrame({"place": "A", "t": hours, "minute": 2})
    with tv.open(root) as project:
        query = "SELECT place, hour, wind FROM readings WHERE wind > 4"
        readings = tv.Source("readings", "readings.parquet", event_time="hour")
        storm = tv.Source("storm", sql=query, inputs=[readings], event_time="hour")
        storms = tv.FeatureView("storms", entity=PLACE, source=storm, features={"storms": tv.count("1d")})
        orders = [{"order": 1, "at": START, "what": "tea"}, {"order": None, "at": START, "what": "lost"}]
        project.tables.ingest("orders", orders, key="order", event_time="at")
        bought = tv.FeatureView(
            "bought", entity=tv.Entity("order"), source=project.tables.source("orders"), features=["what"]
        )
        project.define(weather("3h"), rush, storms, bought, tv.FeatureService("all", ["weather:*", rush]), why="first")
        project.statistics(project.training_set(spine, "all", time="t"))
        project.training_set(spine.head(20), ["weather:wind"], time="t")
        project.materialize(["weather:*"], until=START + timedelta(hours=30))
        project.define(weather("6h", temp="warmth"), why="steadier", allow_breaking="renamed")
        project.deprecate("weather:warmth", after="2099-01-01", why="of no use", instead="weather:wind")
        yield project


@pytest.fixture(scope="module")
def client(project):
    return Client(create_app(project), "http://127.0.0.1:8416")


def shown(client, path):
    answer = client.get(path)
    assert answer.status_code == 200, answer.text[-300:]
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", answer.text)).split())


def test_all_kinds_are_listed(client):
    data = client.get("/api/features").json()
    assert [(each["name"], each["kind"]) for each in data["views"]] == [
        ("all", "feature_service"), ("bought", "feature_view"), ("rush", "on_demand"), ("storms", "feature_view"),
        ("weather", "feature_view"),
    ]  # fmt: skip
    assert data["options"] == {
        "kind": ["feature_service", "feature_view", "on_demand"], "entity": ["order", "place"], "owner": ["ada"],
        "tag": ["live"],
    }  # fmt: skip
    assert "found" not in client.get("/features").text


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("entity=order", ["bought"]), ("tag=live", ["weather"]), ("owner=ADA", ["weather"]), ("kind=on_demand", ["rush"]),
        ("kind=&entity=&words=", ["all", "bought", "rush", "storms", "weather"]),
    ],
)  # fmt: skip
def test_filters(client, query, names):
    assert [each["name"] for each in client.get(f"/api/features?{query}").json()["views"]] == names


def test_search(client):
    data = client.get("/api/features?words=wind").json()
    assert data["found"][0]["reference"] == "weather:wind"
    assert data["found"][0]["href"] == "/features/weather/wind"
    assert "Nothing has wnd ; this has wind" in shown(client, "/features?words=wnd")
    assert "Nothing fits" in shown(client, "/features?words=xylophone")
    assert 'value="&#34;&gt;&lt;b&gt;"' in client.get("/features?words=%22%3E%3Cb%3E").text
    assert client.get("/features?kind=nothing").status_code == 404


@pytest.mark.parametrize(
    ("path", "facts"),
    [
        ("/features/weather", ["version 2", "place (string)", "hour, 1h later", "readings.parquet", "never materialized",
                               "deprecated, and refused from 2099-01-01 on: of no use. Use weather:wind instead.",
                               "feature temp is now called warmth breaking", "steadier; renamed", "2 training sets"]),
        ("/features/storms", ["SELECT place, hour, wind FROM readings", "storm: a query"]),
        ("/features/rush", ["on demand", "the request", "weather:wind", "wind / minute", "service all"]),
        ("/features/all", ["service", "weather:*", "rush:*", "1 training set"]),
        ("/features/bought", ["newest event", "2026-01-05 00:00:00", "orders"]),
        ("/features/weather/wind", ["mean('wind', '6h')", "from its column hour, 1h later", "In training sets", "column wind",
                                    "feature wind was mean('wind', '3h'), is mean('wind', '6h') changes values"]),
        ("/features/weather/temp", ["Gone.", "latest('temp')", "version 1"]),
        ("/features/weather/warmth", ["Deprecated.", "of no use", "Use weather:wind instead."]),
        ("/features/rush/gust", ["on demand, float", "weather:wind"]),
        ("/tables", ["orders", "2026-01-05"]),
        ("/tables/orders", ["rows, corrections included", "the key 'order' is empty", "bought", "ingest", "datetime, UTC"]),
    ],
)  # fmt: skip
def test_each_page(client, path, facts):
    page = shown(client, path)
    assert [fact for fact in facts if fact not in page] == []
    assert client.get(f"/api{path}").status_code == 200


def test_every_link_leads_somewhere(client):
    paths = ["/features", "/features?words=wind", "/tables", "/tables/orders", "/features/weather/temp"]
    paths += [f"/features/{name}" for name in ("weather", "storms", "rush", "all", "bought")]
    links = {unescape(link) for path in paths for link in re.findall(r'href="(/[^"]*)"', client.get(path).text)}
    assert [link for link in sorted(links) if client.get(link).status_code not in {200, 303}] == []


def test_statistics_over_training_sets_are_those_on_record(client):
    data = client.get("/api/features/weather/wind").json()
    assert [(each["rows"], each["version"], each["mean"] is None) for each in data["statistics"]] == [
        (30, 1, False), (20, 1, True),
    ]  # fmt: skip
    assert data["statistics"][0]["nulls"] == 1  # nothing was known at the first hour
    page = client.get("/features/weather/wind").text  # of training rows mean and nulls, of training sets nulls
    assert page.count('class="chart"') == 3
    assert client.get("/api/features/weather/warmth").json()["statistics"] == []


def test_looking_records_nothing(project, client):
    before = project.context.ledger.runs()
    for path in ("/features/weather", "/features/weather/wind", "/tables/orders", "/features?words=wind"):
        client.get(path)
    assert project.context.ledger.runs() == before


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/features/weather/wnd", "Did you mean 'weather:wind'"),
        ("/features/all/weather", "no feature 'all:weather'"),
        ("/features/wether/wind", "Did you mean 'weather'"),
        ("/tables/order", "Did you mean 'orders'"),
    ],
)
def test_what_does_not_exist(client, path, words):
    assert client.get(path).status_code == 404
    assert words in client.get(f"/api{path}").json()["error"]


@pytest.mark.parametrize(
    ("reference", "place"),
    [
        ("rush", "/features/rush"), ("all", "/features/all"), ("weather:wind", "/features/weather/wind"),
        ("weather:*", "/features/weather"),
    ],
)  # fmt: skip
def test_a_pasted_name_leads_to_its_page(client, reference, place):
    assert client.get(f"/show?id={reference}").headers["location"] == place


def test_nothing_is_there_yet(empty):
    assert "No features are defined yet" in empty.get("/features").text
    assert "No table has rows yet" in empty.get("/tables").text
