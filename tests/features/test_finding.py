from __future__ import annotations

import sys

import pytest

from trivet.errors import Invalid, NotFound
from trivet.features.finding import find_definitions

TEXT = """
import trivet as tv

place = tv.Entity("place")
readings = tv.Source("readings", "readings.parquet", event_time="hour")
weather = tv.FeatureView("weather", entity=place, source=readings, features=["temp"])
again = weather
_hidden = tv.FeatureView("hidden", entity=place, source=readings, features=["temp"])
everything = tv.FeatureService("everything", [weather])
rules = tv.Expectations(weather, [tv.expect("temp").between(-50, 60)])
"""


@pytest.fixture(autouse=True)
def forgotten(monkeypatch):
    before = set(sys.modules)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_definitions_of_a_file_in_its_order(tmp_path):
    file = tmp_path / "declared_here.py"
    file.write_text(TEXT)
    found = find_definitions(file)
    assert [getattr(each, "subject", each.name) for each in found] == ["weather", "everything", "view.weather"]


def test_a_folder_is_asked_for_its_features(tmp_path):
    (tmp_path / "features.py").write_text(TEXT)
    assert len(find_definitions(tmp_path)) == 3


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("", Invalid, "declares no feature views"),
        ("1 / 0", Invalid, "cannot be imported: ZeroDivisionError"),
        (TEXT + "other = tv.FeatureService('weather', ['a:b'])", Invalid, "two different definitions called 'weather'"),
        (None, NotFound, "There is no file"),
    ],
)
def test_what_cannot_be_taken(tmp_path, text, error, words):
    file = tmp_path / "declared_badly.py"
    if text is not None:
        file.write_text(text)
    with pytest.raises(error, match=words):
        find_definitions(file)
