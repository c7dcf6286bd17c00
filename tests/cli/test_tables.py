from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from trivet.cli.tables import command
from trivet.features.tables import EventTables
from trivet.project import Project


@pytest.fixture
def trivet(tmp_path, monkeypatch):
    if not hasattr(Project, "tables"):
        monkeypatch.setattr(Project, "tables", property(lambda self: EventTables(self.context)), raising=False)
    monkeypatch.chdir(tmp_path)

    def call(*words, code=0):
        done = CliRunner().invoke(command, list(words))
        assert done.exit_code == code, done.output
        return done.output

    return call


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "orders.csv"
    path.write_text(
        "order,customer,at,amount\n1,42,2026-11-20T10:00Z,5\n2,7,2026-11-20T10:01Z,6\n,7,2026-11-20T10:02Z,6\n"
    )
    return path.name


def test_the_life_of_a_table(trivet, file):
    assert "No table has rows yet" in trivet()
    said = trivet("ingest", "orders", file, "--key", "order", "--event-time", "at")
    assert "2 new, 1 refused" in said
    assert "the key 'order' is empty" in said
    assert json.loads(trivet("ingest", "orders", file, "--json"))["repeated"] == 2
    assert [each["name"] for each in json.loads(trivet("--json"))] == ["orders"]
    shown = trivet("orders")
    assert "orders, version 1: 2 rows, 1 refused" in shown
    assert "customer" in shown
    assert json.loads(trivet("orders", "--json"))["table"]["rules"]["key"] == ["order"]
    assert "rows came after one of a later time" in shown
    assert json.loads(trivet("erase", "orders", "customer=42", "--why", "asked", "--json"))["rows"] == 1
    assert "files put together" in trivet("compact", "orders")
    assert "1 rows. asked" in trivet("orders")
    assert json.loads(trivet("orders", "--json"))["erasures"][0]["tags"]["why"] == "asked"


def test_calls_that_are_wrong(trivet, file):
    trivet("ingest", "orders", file, "--key", "order")
    assert "Did you mean 'orders'" in trivet("order", code=1)
    assert "COLUMN=VALUE" in trivet("erase", "orders", "customer", "--why", "asked", code=2)
    assert "There is no file" in trivet("ingest", "orders", "other.csv", code=1)


def test_history_and_removal(trivet, file):
    assert "2 new" in trivet("ingest", "orders", file, "--key", "order", "--event-time", "at", "--history")
    shown = json.loads(trivet("orders", "--json"))
    assert shown["table"]["watermark"] == "2026-11-20T10:01:00Z"
    assert "No event time was declared" in trivet("ingest", "plain", file)
    assert "orders is removed, with 2 rows and 1 refused ones." in trivet("drop", "orders", "--why", "a trial")
    assert [each["name"] for each in json.loads(trivet("--json"))] == ["plain"]
