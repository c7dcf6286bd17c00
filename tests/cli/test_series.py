from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from trivet.cli.series import command


@pytest.fixture
def trivet(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "energy.csv").write_text("time,price,load\n2026-11-20T10:00Z,31,5.5\n2026-11-20T10:40Z,35,6\n")
    (tmp_path / "plant.csv").write_text("at,line,x\n2026-11-20T10:00,1,31\n2026-11-20T10:40,2,35\n")

    def call(*words, code=0):
        done = CliRunner().invoke(command, list(words))
        assert done.exit_code == code, done.output
        return done.output

    return call


def test_from_a_file_to_a_table(trivet):
    assert "There is no series yet" in trivet()
    assert "energy.price, version 1: 2 rows, 2 new" in trivet("write", "energy", "energy.csv")
    assert json.loads(trivet("write", "energy", "energy.csv", "--json"))["series"]["energy:load"]["repeated"] == 2
    assert [each["name"] for each in json.loads(trivet("--json"))] == ["energy:load", "energy:price"]
    assert "2026-11-20 10:40:00" in trivet("energy:price")
    told = trivet("read", "energy:*", "--freq", "20m", "--csv")
    assert told.splitlines() == [
        "time,load,price",
        "2026-11-20T10:00:00+00:00,5.5,31",
        "2026-11-20T10:20:00+00:00,5.5,31",
        "2026-11-20T10:40:00+00:00,6.0,35",
    ]
    rows = json.loads(trivet("read", "energy:price", "--freq", "20m", "--fill", "linear", "--json"))
    assert [each["price"] for each in rows] == [31, 33, 35]
    assert "and 1,361 more" in trivet("read", "energy:price", "--freq", "1m", "--end", "2026-11-21T09:21Z")


def test_what_was_corrected(trivet, tmp_path):
    trivet("write", "energy", "energy.csv")
    assert trivet("revisions", "energy:price") == "energy:price was never corrected.\n"
    (tmp_path / "again.csv").write_text("time,price\n2026-11-20T10:00Z,41\n")
    trivet("write", "energy", "again.csv")
    [row] = json.loads(trivet("revisions", "energy:price", "--json"))
    assert (row["was"], row["value"], row["revision"]) == (31, 41, 1)
    assert "41" in trivet("revisions", "energy:price")
    assert "Did you mean 'energy:price'" in trivet("revisions", "energy:prise", code=1)


def test_a_panel(trivet):
    trivet("write", "plant", "plant.csv", "--by", "line", "--time", "at", "--timezone", "Europe/Vienna")
    rows = json.loads(trivet("read", "plant:x", "--of", "line=2", "--json"))
    assert [(each["line"], each["x"], each["time"]) for each in rows] == [(2, 35, "2026-11-20T10:40:00+01:00")]


def test_calls_that_are_wrong(trivet):
    trivet("write", "energy", "energy.csv")
    assert "Did you mean 'energy:price'" in trivet("read", "energy:prise", code=1)
    assert "KEY=VALUE" in trivet("read", "energy:price", "--of", "line", code=2)
    assert "not both" in trivet("read", "energy:price", "--csv", "--json", code=1)
