"""The commands over definitions: from a file to plan, apply, find and deprecate."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

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
