"""The commands over definitions: from a file to plan, apply, find and deprecate."""

from __future__ import annotations

import sys
from pathlib import Path

import polars as pl
import pytest

import trivet as tv

TEXT = """
import trivet as tv

readings = tv.Source("readings", "readings.parquet", event_time="hour")
weather = tv.FeatureView("weather", entity=tv.Entity("place"), source=readings, owner="ada", features={FEATURES})
delays = tv.FeatureService("delays", ["weather:temp"], tags=["live"])
"""


@pytest.fixture
def declare(monkeypatch):
    """Write the file anew; every command is a process of its own, outside of tests."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    rows = {"place": ["A"], "hour": ["2026-01-05T10:00Z"], "temp": [1.5], "wind": [2.5]}
    pl.DataFrame(rows).write_parquet("readings.parquet")

    def write(*features):
        sys.modules.pop("features", None)
        Path("features.py").write_text(TEXT.replace("{FEATURES}", repr(list(features))))

    yield write
    sys.modules.pop("features", None)


def test_from_a_file_to_a_refusal(trivet, answer, declare):
    declare("temp", "wind")
    assert [each["status"] for each in answer("features", "plan", ".")["definitions"]] == ["new", "new"]
    assert [each["version"] for each in answer("features", "apply", "features.py", "--why", "first")] == [1, 1]
    declare("wind")
    refused = answer("features", "plan", ".", code=1)
    assert refused["verdict"] == "breaking"
    assert "service delays uses it" in refused["blocked"][0]
    done = trivet("features", "apply", ".")
    assert done.exit_code == 1
    assert "--allow-breaking" in done.stderr


def test_a_reason_overrides(trivet, answer, declare):
    declare("temp", "wind")
    answer("features", "apply", ".")
    declare("wind")
    done = trivet("features", "apply", ".", "--allow-breaking", "no")
    assert done.exit_code == 1  # the service in the same file would be left without its feature
    assert "weather:temp" in done.stderr


def test_find(trivet, answer, declare):
    declare("temp", "wind")
    answer("features", "apply", ".")
    assert [each["reference"] for each in answer("features", "find", "wind")] == ["weather:wind"]
    assert [each["reference"] for each in answer("features", "find", "--tag", "live")] == ["delays"]
    assert len(answer("features", "find", "--owner", "ada")) == 2
    assert "Nothing has 'wnid'; this has 'wind'." in trivet("features", "find", "wnid").stdout
    assert trivet("features", "find", "xylophone").stdout.strip() == "Nothing fits."


def test_deprecate_and_back(trivet, answer, declare):
    declare("temp", "wind")
    answer("features", "apply", ".")
    said = answer("features", "deprecate", "weather:temp", "--after", "2099-01-01", "--instead", "weather:wind")
    assert said["after"].startswith("2099-01-01T00:00:00")
    assert "weather:temp (deprecated)" in trivet("features").stdout
    assert "Use weather:wind instead." in trivet("features", "weather").stdout
    assert "DEPRECATED" in trivet("features", "find", "temp").stdout
    assert trivet("features", "deprecate", "weather:temp", "--undo").exit_code == 0
    assert "deprecated" not in trivet("features").stdout
    assert trivet("features", "deprecate", "weather:temp").exit_code == 2


def test_join_materialize_and_read(trivet, answer, tmp_path):
    rows = {"place": ["Graz", "8010"], "hour": ["2026-01-01T10:00Z"] * 2, "temp": [21.5, 20.0]}
    pl.DataFrame(rows).write_csv(tmp_path / "readings.csv")
    source = tv.Source("readings", "readings.csv", event_time="hour")
    entity = tv.Entity("place", type="string")
    with tv.open() as project:
        project.define(tv.FeatureView("weather", entity=entity, source=source, features=["temp"], ttl="6h"))
    pl.DataFrame({"place": ["Graz"], "t": ["2026-01-01T12:00Z"], "late": [1]}).write_csv(tmp_path / "spine.csv")
    made = answer("features", "join", "spine.csv", "weather:*", "--time", "t", "--label", "late", "--to", "out.parquet")
    assert (made["rows"], made["features"], made["nulls"]) == (1, ["weather:temp"], {"temp": 0})
    assert pl.read_parquet(tmp_path / "out.parquet")["temp"].to_list() == [21.5]
    assert answer("show", made["id"])["kind"] == "training_set"
    assert answer("features", "materialize", "--until", "2026-01-01T12:00Z") == {"weather": 2}
    at = ["--at", "2026-01-01T13:00Z"]
    found = answer("features", "read", "weather:temp", "place=Graz", *at)
    assert (found["values"], found["status"]) == ({"weather:temp": 21.5}, {"weather:temp": "present"})
    assert found["times"] == {"weather:temp": "2026-01-01T10:00:00Z"}
    assert answer("features", "read", "weather:temp", 'place="8010"', *at)["values"] == {"weather:temp": 20.0}
    assert "expired" in trivet("features", "read", "weather:*", "place=Graz", "--at", "2026-01-01T17:00Z").stdout


def test_join_and_read_with_wrong_words(trivet, tmp_path):
    for words, code, said in (
        (["join", "none.csv", "weather:*", "--time", "t"], 1, "which does not exist"),
        (["join", "none.csv", "weather:*", "--time", "t", "--to", "x.txt"], 1, ".parquet or .csv"),
        (["join", "none.csv", "weather:*"], 2, "--time"),
        (["read", "weather:*"], 2, "Name features and the keys"),
        (["read", "weather:*", "place=Graz"], 1, "no feature view or service 'weather'"),
        (["materialize", "wether"], 1, "no feature view or service 'wether'"),
    ):
        done = trivet("features", *words)
        assert done.exit_code == code, done.output
        assert said in done.output


@pytest.mark.parametrize("wrong", ["gone", "misspelt", "naive"])
def test_what_cannot_work_is_refused_without_a_reason(answer, declare, wrong):
    declare("temp")
    if wrong == "misspelt":
        pl.read_parquet("readings.parquet").rename({"temp": "tmp"}).write_parquet("readings.parquet")
    elif wrong == "gone":
        Path("readings.parquet").unlink()
    elif wrong == "naive":
        pl.DataFrame({"place": ["A"], "hour": ["2026-01-05T10:00"], "temp": [1.5]}).write_parquet("readings.parquet")
    planned = answer("features", "plan", ".", code=1)
    [problem] = planned["problems"]
    refused = answer("features", "apply", ".", code=1)["message"]
    assert refused == f"{problem} Nothing was stored. Mend it, or give the reason: --unchecked 'why'."
    assert answer("features") == []
    [stored, *_] = answer("features", "apply", ".", "--unchecked", "it comes tonight")
    assert stored["why"] == "it comes tonight"
    assert answer("features", "plan", ".")["problems"] == []


def test_show_takes_a_feature_as_deprecate_does(trivet, answer, declare):
    declare("temp", "wind")
    answer("features", "apply", ".")
    shown = trivet("features", "show", "weather:temp").output
    assert "temp = latest('temp')" in shown
    assert "wind" not in shown
    assert answer("features", "show", "weather:temp")["feature"] == "weather:temp"
    assert "Did you mean 'weather:temp'" in answer("features", "show", "weather:tmp", code=1)["message"]
