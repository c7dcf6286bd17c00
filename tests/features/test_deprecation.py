from __future__ import annotations

import warnings
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest

import trivet as tv
from trivet.clock import FixedClock
from trivet.errors import Invalid, NotFound
from trivet.features.deprecation import DeprecatedFeature

NOW = datetime(2026, 11, 21, tzinfo=UTC)
PLACE = tv.Entity("place")
ROWS = pl.DataFrame({"place": ["A"], "hour": [NOW - timedelta(days=2)], "temp": [1.0], "wind": [2.0]})
SPINE = pl.DataFrame({"place": ["A"], "t": [NOW - timedelta(days=1)]})


def view():
    source = tv.Source("readings", ROWS, event_time="hour")
    return tv.FeatureView("weather", entity=PLACE, source=source, features=["temp", "wind"])


@pytest.fixture
def project(tmp_path):
    with tv.open(tmp_path, clock=FixedClock(NOW)) as project:
        project.define(view())
        yield project


def made(project, *features):
    return project.training_set(SPINE, list(features), time="t")


def test_using_it_warns_and_says_what_to_use(project):
    said = project.deprecate("weather:temp", after="2027-01-01", why="It drifts.", instead="weather:wind")
    sentence = "weather:temp is deprecated, and refused from 2027-01-01 on: It drifts. Use weather:wind instead."
    assert str(said) == sentence
    assert (said.by, said.at.tzinfo) == (project.context.user, UTC)
    with pytest.warns(DeprecatedFeature) as met:
        made(project, "weather:temp")
    assert [str(each.message) for each in met] == [sentence]
    assert met[0].filename == __file__
    made(project, "weather:wind")  # another feature of the view says nothing


def test_it_warns_once_in_a_process(project):
    project.deprecate("weather", after="2027-01-01")
    with warnings.catch_warnings(record=True) as met:
        warnings.simplefilter("always")
        for _ in range(3):
            made(project, "weather:temp")
    assert len(met) == 1


def test_after_its_date_new_sets_are_refused_and_old_ones_are_made_again(tmp_path):
    with tv.open(tmp_path, clock=FixedClock(NOW)) as project:
        project.define(view())
        old = made(project, "weather:temp")
        project.deprecate("weather:temp", after="2026-12-01", why="Gone soon")
    with tv.open(tmp_path, clock=FixedClock(datetime(2026, 12, 1, tzinfo=UTC))) as project:
        with pytest.raises(
            Invalid, match=r"refused from 2026-12-01 on: Gone soon\. The date has come; project.undepre"
        ):
            made(project, "weather:*")
        made(project, "weather:wind")
        assert project.reproduce(old.run.id).ok
        project.materialize(["weather:*"])  # serving goes on
        [vector] = project.online_features(["weather:temp"], {"place": "A"})
        assert vector.values == {"weather:temp": 1.0}
        project.undeprecate("weather:temp", why="It is needed")
        assert made(project, "weather:temp").to_polars()["temp"].to_list() == [1.0]


def test_what_goes_through_others_is_found(project):
    @tv.on_demand(inputs=["weather:temp"])
    def heat(temp):
        return {"double": temp * 2}

    project.define(heat, tv.FeatureService("all", ["weather:wind"]))
    project.deprecate("weather:temp", after="2027-01-01")
    with pytest.warns(DeprecatedFeature, match="weather:temp is deprecated"):
        made(project, "heat:double")
    project.deprecate("all", after="2027-01-01")
    with pytest.warns(DeprecatedFeature, match="all is deprecated"):
        made(project, "all")


def test_it_is_listed_and_found_and_its_history_stays(project):
    project.deprecate("weather:temp", after=date(2027, 1, 1), why="old")
    project.deprecate("weather:temp", after=datetime(2027, 2, 1, 12, tzinfo=UTC), why="later")
    assert [str(each) for each in project.deprecations().values()] == [
        "weather:temp is deprecated, and refused from 2027-02-01 12:00 UTC on: later."
    ]
    found = {each.reference: each.deprecated for each in project.find_features()}
    assert found["weather:wind"] == ""
    assert "2027-02-01" in found["weather:temp"]
    project.undeprecate("weather:temp", why="no")
    assert project.deprecations() == {}
    history = project.context.ledger.pointers(name="deprecation/weather", history=True)
    assert [(each.label, each.why, each.digest is None) for each in history] == [
        ("temp", "old", False), ("temp", "later", False), ("temp", "no", True),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("reference", "options", "error", "words"),
    [
        ("weather:tmp", {}, NotFound, "Did you mean 'weather:temp'"),
        ("wether", {}, NotFound, "Did you mean 'weather'"),
        ("weather@1", {}, Invalid, "Leave out '@...'"),
        ("weather:temp", {"instead": "weather:wnd"}, NotFound, "Did you mean 'weather:wind'"),
        ("weather:temp", {"instead": "weather:temp"}, Invalid, "cannot stand in"),
        ("weather", {"instead": "weather:temp"}, Invalid, "cannot stand in"),
        ("weather:temp", {"after": "soon"}, Invalid, "soon"),
        ("weather:temp", {"after": "2027-01-01T10:00"}, Invalid, "zone"),
    ],
)
def test_what_makes_no_sense(project, reference, options, error, words):
    with pytest.raises(error, match=words):
        project.deprecate(reference, **{"after": "2027-01-01", **options})
    assert project.deprecations() == {}
    with pytest.raises(NotFound, match="deprecation"):
        project.undeprecate("weather:temp")
