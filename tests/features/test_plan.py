"""An edit is described before it is made, refused where something alive would lose what it uses, and takes nothing old away."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

import trivet as tv
from trivet.errors import Invalid, NotFound, Refused
from trivet.features.plan import check, plan
from trivet.features.usage import Usage

START = datetime(2026, 1, 5, tzinfo=UTC)
PLACE = tv.Entity("place")


def weather(window="1h", **options):
    source = tv.Source("readings", "readings.parquet", event_time="hour")
    features = options.pop("features", None) or {"wind": tv.mean("wind", window), "temp": tv.latest("temp")}
    return tv.FeatureView("weather", entity=options.pop("entity", PLACE), source=source, features=features, **options)


@tv.on_demand(inputs=["weather:temp"], request={"minute": "int"})
def rush(temp, minute):
    return {"heat": temp * minute}


def readings(root):
    hours = [START + timedelta(hours=hour) for hour in range(48)]
    wind = [float(hour % 7) for hour in range(48)]
    pl.DataFrame({"place": "A", "hour": hours, "wind": wind, "temp": wind}).write_parquet(root / "readings.parquet")


def spine():
    hours = [START + timedelta(hours=hour) for hour in range(2, 40)]
    return pl.DataFrame({"place": "A", "t": hours, "minute": 3, "late": [hour % 7 // 4 for hour in range(38)]})


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A model that answers with the wind and, through an on-demand view, the temperature of version 1."""
    root = tmp_path_factory.mktemp("plan")
    readings(root)
    with tv.open(root) as project:
        project.define(weather(), rush, tv.FeatureService("all", ["weather:*"]), why="first")
        train = project.training_set(spine(), ["weather:wind", "rush:heat"], time="t", label="late")
        model = project.save(tv.fit(train, "LogisticRegression"))
        project.register("delay", model)
        project.promote("delay", 1)
        project.materialize(["weather:*"], until=START + timedelta(hours=48))
        project.deploy("delay@champion", allow_ungated="a test")
        yield project


def test_what_is_new_or_the_same(context):
    assert [each.status for each in plan(context, weather(), rush).definitions] == ["new", "new"]
    with tv.open(context.root) as project:
        project.define(weather())
        found = project.plan(weather(), tv.FeatureService("all", [weather()]))
        assert [(each.name, each.status, each.version, each.next) for each in found.definitions] == [
            ("weather", "same", 1, 1), ("all", "new", None, 1),
        ]  # fmt: skip
        assert str(found) == "weather (feature view): the same, version 1\nall (feature service): new"
        assert [each.name for each in project.definitions()] == ["weather"]  # a plan stores nothing


def test_what_is_handed_over_is_planned_too(context):
    assert [each.name for each in plan(context, tv.FeatureService("all", [weather()])).definitions] == [
        "weather",
        "all",
    ]


def test_who_uses_what(project):
    users = project.usage("weather")
    assert [(use.kind, use.name, use.version, use.features) for use in users.uses] == [
        ("deployment", "delay@1", 1, ("temp", "wind")),
        ("model", "delay@1", 1, ("temp", "wind")),
        ("feature_service", "all", None, ("*",)),
        ("on_demand", "rush", None, ("temp",)),
        ("training_set", "late", 1, ("temp", "wind")),
    ]
    assert [use.kind for use in project.usage("rush").uses] == ["deployment", "model", "training_set"]
    assert project.usage("rush").uses[0].features == ("heat",)
    assert project.usage("all").uses == ()
    assert str(users) == (
        "deployment delay@1 (version 1, alive), model delay@1 (version 1, champion), service all, on-demand view rush, "
        "1 training set"
    )
    with pytest.raises(NotFound, match="Did you mean 'weather'"):
        project.usage("wether")


def test_an_edit_that_changes_values_is_described_and_allowed(project):
    found = project.plan(weather("3h", owner="ada"))["weather"]
    assert (found.status, found.version, found.next, found.verdict) == ("changed", 1, 2, "values")
    assert [change.effect for change in found.changes] == ["values", "safe"]
    assert found.advice == (
        "delay@1 goes on with version 1: materialize() keeps its online rows fresh too, and materialize('weather@1') those "
        "alone.",
    )
    assert found.blocked == ""


def test_words_alone_are_safe_and_need_no_advice(project):
    found = project.plan(weather(owner="ada"))["weather"]
    assert (found.verdict, found.advice, found.blocked) == ("safe", (), "")


@pytest.mark.parametrize(
    ("edited", "what"),
    [
        (weather(features={"temp": tv.latest("temp")}), "feature wind is gone, and deployment delay@1"),
        (weather(features={"wind": tv.mean("wind", "1h"), "t": tv.latest("temp")}), "temp is now called t"),
        (weather(entity=tv.Entity("place", key="id")), "the key of place was place, is id"),
    ],
)
def test_a_living_user_keeps_what_it_uses(project, edited, what):
    assert what in project.plan(edited)["weather"].blocked
    with pytest.raises(Refused, match=what) as refused:
        project.define(edited)
    assert "allow_breaking=" in str(refused.value)
    assert project.feature_view("weather").version == 1


def test_an_attempt_changes_nothing_for_others(context):
    """A training set of an edited view keeps the edit as a version, and the current one stays; one that fails keeps nothing."""
    readings(context.root)
    with tv.open(context.root) as project:
        project.define(weather())
        edited = weather("3h")
        project.training_set(spine().drop("late"), [edited], time="t")
        assert project.feature_view("weather").version == 1
        assert project.feature_view("weather@2").view.digest == edited.anchored(project.root).digest
        with pytest.raises(NotFound, match="'wnd'"):
            project.training_set(spine(), [weather(features={"wind": tv.mean("wnd", "1h")})], time="t")
        assert [each.version for each in project.definition_versions("weather")] == [1, 2]
        [listed] = project.define(edited)
        assert listed.version == project.feature_view("weather").version == 2
        with pytest.raises(Invalid, match="2 different definitions are called 'weather'"):
            project.define(weather(), edited)


def test_what_is_changed_along_counts_as_it_would_be(context):
    """An on-demand view that no longer asks for the feature does not hold it back."""

    def asking(*inputs):
        @tv.on_demand(inputs=inputs)
        def rush(wind):
            return {"gust": wind}

        return rush

    with tv.open(context.root) as project:
        project.define(weather(), asking("weather:wind"))
        less = weather(features={"gale": tv.max("wind", "1h"), "temp": tv.latest("temp")})
        with pytest.raises(Refused, match="on-demand view rush"):
            project.define(less)

        @tv.on_demand(inputs=["weather:gale"])
        def rush(gale):
            return {"gust": gale}

        listed = project.define(less, rush)
        assert [each.version for each in listed] == [2, 2]


def test_what_nobody_alive_uses_may_go(context):
    with tv.open(context.root) as project:
        project.define(weather())
        assert project.plan(weather(features={"temp": tv.latest("temp")})).blocked == []
        [listed] = project.define(weather(features={"temp": tv.latest("temp")}))
        assert listed.version == 2


def test_a_reason_overrides_and_stays_on_record_and_the_old_version_serves_on(project):
    """In the end the deployment reads the very rows of version 1, which can still be brought up to date."""
    deployment = project.deployments()[0]
    live = project._live
    reader = live._reader(live._selected(project.load(deployment.digest)))
    moment = tv.types.to_micros(START + timedelta(hours=48))
    before = reader([{"place": "A"}], moment, [{"minute": 3}])[0].values
    assert before == {"weather:wind": 5.0, "rush:heat": 15.0}

    less = weather("2h", features={"wind": tv.mean("wind", "2h")})
    with pytest.raises(Refused):
        check(project.context, [less])
    with pytest.raises(Refused):
        project.define(less, allow_breaking="  ")
    [listed] = project.define(less, why="smaller", allow_breaking="the sensor is gone")
    assert (listed.version, listed.why) == (2, "smaller; the sensor is gone")
    project.materialize(["weather:*"], until=START + timedelta(hours=48))
    assert reader([{"place": "A"}], moment, [{"minute": 3}])[0].values == before

    project.materialize(["weather@1:*"], until=START + timedelta(hours=49))
    later = tv.types.to_micros(START + timedelta(hours=49))
    assert reader([{"place": "A"}], later, [{"minute": 3}])[0].values == {"weather:wind": None, "rush:heat": 15.0}
    assert set(project.materialize(until=START + timedelta(hours=50))) == {"weather", "weather@1"}
    assert project.watermark(project.feature_view("weather@1").view) == START + timedelta(hours=50)
    old = project.training_set(spine(), ["weather@1:wind", "weather@1:temp"], time="t").to_polars()
    assert old["temp"].to_list() == [float(hour % 7) for hour in range(2, 40)]
    assert [each.version for each in project.definition_versions("weather")] == [1, 2]
    assert {use.version for use in project.usage("weather").of("training_set")} == {1}

    back = project.plan(weather())["weather"]
    assert (back.version, back.next, back.verdict) == (2, 1, "values")
    with pytest.raises(tv.errors.Invalid, match="Two versions of 'weather'"):
        project.training_set(spine(), ["weather@1:temp", "weather:wind"], time="t")


def test_what_is_stored_and_not_in_a_complete_plan(project):
    found = project.plan(rush, complete=True)
    assert [(each.name, each.status) for each in found.definitions] == [
        ("rush", "same"), ("all", "absent"), ("weather", "absent"),
    ]  # fmt: skip
    assert "weather (feature view): stored, not among these\n  used by deployment delay@1" in str(found)
    assert found.to_json()["verdict"] == "safe"
    with pytest.raises(NotFound, match="Did you mean 'rush'"):
        found["rushh"]


def test_views_built_on_a_view_keep_their_copy(context):
    with tv.open(context.root) as project:
        daily = tv.FeatureView("daily", entity=PLACE, source=weather(), features={"calm": tv.min("wind", "1d")})
        project.define(weather(), daily)
        [use] = project.usage("weather").uses
        assert (use.kind, use.name, use.version, use.alive) == ("feature_view", "daily", 1, False)
        project.define(weather("3h"))
        assert Usage(project.context).of("weather").uses[0].version == 1


def test_expectations_are_planned_as_well(context):
    with tv.open(context.root) as project:
        rules = tv.Expectations(weather(), [tv.expect("wind").between(0, 60)])
        project.define(weather())
        assert project.plan(rules)["view.weather"].status == "new"
        project.define(rules)
        assert project.plan(rules)["view.weather"].status == "same"
        found = project.plan(tv.Expectations(weather(), [tv.expect("wind").between(0, 90)]))["view.weather"]
        assert (found.status, found.verdict, len(found.changes)) == ("changed", "safe", 2)
