"""The page of a series: its picture, a grid, what was known before, and its corrections."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

import trivet as tv
from tests.server.conftest import Client
from trivet.clock import FixedClock
from trivet.server.app import create_app

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
HOURS = [NOON + timedelta(hours=hour) for hour in range(6)]


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    clock = FixedClock(NOON + timedelta(days=1))
    with tv.open(tmp_path_factory.mktemp("series"), clock=clock) as project:
        project.series.write("energy", pl.DataFrame({"time": HOURS, "price": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]}))
        clock.advance(timedelta(days=1))
        project.series.write("energy", pl.DataFrame({"time": HOURS[2:3], "price": [30.0]}))
        rows = pl.DataFrame({"time": HOURS * 2, "sensor": ["a"] * 6 + ["b"] * 6, "temp": range(12)})
        project.series.write("plant", rows, by="sensor")
        project.series.write("words", pl.DataFrame({"time": HOURS, "state": ["on", "off"] * 3}))

        @project.series.transform("energy:double", ["energy:price"])
        def double(price):
            return 2 * price

        yield Client(create_app(project), "http://127.0.0.1:8416")


def test_all_are_listed_with_the_computed_ones(client):
    data = client.get("/api/series").json()
    assert [each["name"] for each in data["series"]] == ["energy:price", "plant:temp", "words:state"]
    assert data["computed"] == [{"name": "energy:double", "inputs": {"price": "energy:price"}}]


def test_values_grid_and_corrections(client):
    data = client.get("/api/series/energy:price?freq=2h&fill=previous").json()
    assert data["values"]["rows"][0] == ["2026-11-20 17:00:00", 6.0]
    assert [row[1] for row in data["grid"]["rows"]] == [6.0, 5.0, 30.0, 1.0]
    assert data["corrections"]["rows"] == [["2026-11-20 14:00:00", 3.0, 30.0, "2026-11-22 12:00:00", 1]]
    assert data["code"] == "project.series.read('energy:price', freq='2h', fill='previous')"
    page = client.get("/series/energy:price?freq=2h").text
    assert page.count('class="chart"') == 2
    assert "1 corrected value marked" in page


def test_as_it_was_known(client):
    data = client.get("/api/series/energy:price?known=2026-11-22T00:00Z").json()
    assert 3.0 in [row[1] for row in data["then"]["rows"]]
    assert 30.0 in [row[1] for row in data["values"]["rows"]]
    page = client.get("/series/energy:price?travel=-1d").text
    assert "as known 1d before each time" in page
    assert "Nothing was known then" in page


def test_a_panel_and_one_of_its_members(client):
    assert client.get("/api/series/plant:temp").json()["options"]["member"] == ["a", "b"]
    data = client.get("/api/series/plant:temp?member=b").json()
    assert {row[0] for row in data["values"]["rows"]} == {"b"}
    assert client.get("/series/plant:temp").text.count('class="line of1"') == 2  # the line and its legend
    assert 'class="line of1"' not in client.get("/series/plant:temp?member=b").text


def test_text_has_no_picture_and_computed_series_say_what_they_are(client):
    assert "These are no numbers" in client.get("/series/words:state").text
    page = client.get("/series/energy:double").text
    assert "return 2 * price" in page
    assert 'class="chart"' in page


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/series/energy:prise", "Did you mean 'energy:price'"),
        ("/series/energy:price?freq=often", "often"),
        ("/series/energy:price?freq=1h&fill=zeros", "Did you mean 'zero'"),
        ("/series/energy:price?member=a", "has no members"),
        ("/series/plant:temp?member=c", "no sensor 'c'"),
        ("/series/energy:price?known=yesterday", "yesterday"),
    ],
)
def test_what_cannot_be_gets_a_sentence(client, path, words):
    found = client.get(f"/api{path}")
    assert found.status_code in (400, 404)
    assert words in found.json()["error"]


@pytest.mark.parametrize(
    ("reference", "place"),
    [
        ("energy:price", "/series/energy%3Aprice"),
        ("energy:double", "/series/energy%3Adouble"),
        ("energy.price", "/tables/energy.price"),
    ],
)
def test_a_pasted_name_leads_to_its_page(client, reference, place):
    assert client.get(f"/show?id={reference}").headers["location"] == place
