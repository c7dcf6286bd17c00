"""A removed definition is gone from the catalogue and from the online store, and its history is not."""

from __future__ import annotations

import polars as pl
import pytest

import trivet as tv
from trivet.errors import NotFound, Refused

ROWS = pl.DataFrame({"place": ["A"], "at": ["2026-01-05T10:00Z"], "temp": [1.5], "wind": [2.0]})
NOON = "2026-01-05T12:00Z"


def weather(*features):
    return tv.FeatureView(
        "weather", entity=tv.Entity("place"), source=tv.Source("s", ROWS, event_time="at"), features=features
    )


@pytest.fixture
def project(tmp_path):
    with tv.open(tmp_path) as project:
        project.define(weather("temp"))
        project.define(weather("temp", "wind"))
        project.materialize("weather", until=NOON)
        yield project


def test_it_is_gone_and_its_history_is_not(project):
    train = project.training_set(pl.DataFrame({"place": ["A"], "t": [NOON]}), "weather:temp", time="t")
    current = project.feature_view("weather").view
    project.define(tv.Expectations(current, [tv.expect("temp").not_null()]))
    used = project.remove("weather", why="nobody asks for it")
    assert len(used) == 1
    assert project.definitions() == project.feature_views() == project.find_features("temp") == []
    assert project.quality.all() == []
    with pytest.raises(NotFound, match=r"'weather'. It was removed. Ask for 'weather@2', or define it again"):
        project.online_features("weather:temp", {"place": "A"}, at=NOON)
    [vector] = project.online_features("weather@2:temp", {"place": "A"}, at=NOON)
    assert vector.status == {"weather:temp": "unmaterialized"}
    assert project.reproduce(train.run.id, environment="current").ok
    assert project.watermark(current) is None
    with pytest.raises(NotFound):
        project.remove("weather")
    [again] = project.define(weather("temp"), why="they do")
    assert (again.version, project.feature_view("weather").version) == (1, 1)


def test_it_is_refused_while_something_alive_uses_it(project):
    project.define(tv.FeatureService("all", ["weather:*"]))
    with pytest.raises(Refused, match=r"'weather' cannot be removed: service all uses it"):
        project.remove("weather")
    assert project.watermark(project.feature_view("weather").view) is not None
    project.remove("all")
    project.remove("weather")
    assert project.definitions() == []


def test_a_name_that_is_not_there(project):
    with pytest.raises(NotFound, match=r"Did you mean 'weather'"):
        project.remove("wether")


def test_another_kind_cannot_take_the_name(project):
    project.remove("weather")
    with pytest.raises(tv.errors.Invalid, match="is the name of a feature view already"):
        project.define(tv.FeatureService("weather", ["weather@1:temp"]))


def test_the_alarm_of_what_is_no_longer_expected_ends(project):
    view = project.feature_view("weather").view
    project.define(tv.Expectations(view, [tv.expect("temp").between(5, 9)]))
    assert project.quality.check("weather").failed
    assert len(project.alarms()) == 1
    project.define(tv.Expectations(view, [tv.expect("temp").between(5, 9), tv.expect("wind").not_null()]))
    assert len(project.alarms()) == 1
    project.define(tv.Expectations(view, [tv.expect("temp").between(0, 9)]))
    assert project.alarms() == []
    project.define(tv.Expectations(view, [tv.expect("temp").between(5, 9)]))
    project.quality.check("weather")
    assert len(project.alarms()) == 1
    project.remove("weather")
    assert project.alarms() == []
