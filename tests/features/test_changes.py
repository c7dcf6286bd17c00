from __future__ import annotations

import pytest

from trivet.features import Entity, FeatureService, FeatureView, Source, feature_view, latest, mean, on_demand
from trivet.features.changes import Change, differences, worst

E = Entity("place")
HOURLY = {"event_time": "hour"}


def weather(features=None, *, source=None, entity=E, **options):
    source = source or Source("w", "weather.parquet", **HOURLY)
    return FeatureView(
        "weather", entity=entity, source=source, features=features or {"temp": latest("temp")}, **options
    )


def said(before, after):
    return {change.what: (change.effect, change.features) for change in differences(before, after)}


def test_the_same_differs_in_nothing():
    assert differences(weather(), weather()) == []
    assert worst([]) == "safe"


@pytest.mark.parametrize(
    ("after", "what", "effect"),
    [
        (weather(owner="ada"), "owner was '', is 'ada'", "safe"),
        (weather(description="Warm?"), "description was '', is 'Warm?'", "safe"),
        (weather(tags={"team": "ops"}), "tags were none, are team=ops", "safe"),
        (weather(ttl="6h"), "ttl was none, is 6h", "values"),
        (weather({"temp": latest("t")}), "feature temp was latest('temp'), is latest('t')", "values"),
        (weather({"temp": latest("temp"), "w": mean("w", "1h")}), "feature w is new: mean('w', '1h')", "safe"),
        (weather({"wind": latest("wind")}), "feature temp is gone", "breaking"),
        (weather({"warmth": latest("temp")}), "feature temp is now called warmth", "breaking"),
        (weather(entity=Entity("place", key="id")), "the key of place was place, is id", "breaking"),
        (weather(entity=Entity("town", key="place")), "the entity was place, is town", "breaking"),
        (weather(entity=Entity("place", type="int")), "the type of place was any, is int", "values"),
        (
            weather(source=Source("w", "new.parquet", **HOURLY)),
            "source w: data was weather.parquet, is new.parquet",
            "values",
        ),
        (
            weather(source=Source("w", "weather.parquet", known_after="1h", **HOURLY)),
            "source w: known after was none, is 1h",
            "values",
        ),
        (weather(source=Source("v", "weather.parquet", **HOURLY)), "the source was w, is v", "values"),
    ],
)
def test_each_part_of_a_view(after, what, effect):
    assert said(weather(), after)[what][0] == effect


def test_a_renamed_feature_is_not_also_gone_and_new():
    found = differences(weather(), weather({"warmth": latest("temp")}))
    assert [str(change) for change in found] == ["feature temp is now called warmth [breaking]"]
    assert found[0].features == ("temp",)


def test_another_ttl_touches_only_what_it_rules():
    features = {"temp": latest("temp"), "old": latest("temp", ttl="1h"), "mean": mean("temp", "1d")}
    assert said(weather(features), weather(features, ttl="3h")) == {"ttl was none, is 3h": ("values", ("temp",))}
    only = {"mean": mean("temp", "1d")}
    assert said(weather(only), weather(only, ttl="3h")) == {"ttl was none, is 3h": ("safe", ())}


def test_another_order_changes_no_value():
    a, b = latest("a"), latest("b")
    assert said(weather({"a": a, "b": b}), weather({"b": b, "a": a})) == {
        "the features stand in another order": ("safe", ())
    }


def test_queries_are_compared_line_by_line():
    raw = Source("raw", "raw.parquet")
    before, after = (
        weather(source=Source("w", sql=f"SELECT *\nFROM raw\nWHERE wind > {low}", inputs=[raw], **HOURLY))
        for low in (14, 12)
    )
    [change] = differences(before, after)
    assert (change.what, change.effect) == ("source w: the SQL differs", "values")
    assert change.diff.splitlines() == [" SELECT *", " FROM raw", "-WHERE wind > 14", "+WHERE wind > 12"]
    assert "    -WHERE wind > 14" in str(change)


def test_inputs_are_compared_by_name():
    def over(*inputs):
        return weather(source=Source("w", sql="SELECT 1", inputs=list(inputs), **HOURLY))

    a, b, other = Source("a", "a.csv"), Source("b", "b.csv"), Source("a", "other.csv")
    assert set(said(over(a), over(other, b))) == {"source a: data was a.csv, is other.csv", "source w: it now reads b"}
    assert set(said(over(a, b), over(a))) == {"source w: it no longer reads b"}


def test_a_view_that_another_reads():
    base, wider = (
        FeatureView("base", entity=E, source=Source("s", "s.csv", **HOURLY), features=f) for f in (["a"], ["b"])
    )
    before, after = (weather({"a": mean("a", "1d")}, source=Source.of_view(each)) for each in (base, wider))
    found = said(before, after)
    assert found["view base, which it reads: feature a is gone"] == ("values", ("a",))
    assert said(weather(source=Source.of_view(base)), weather())  # a plain source instead


def functions():
    @on_demand(inputs=["weather:wind"], request={"minute": "int"})
    def rush(wind, minute):
        return {"per_minute": wind / minute, "gone": wind}

    before = rush

    @on_demand(inputs=["weather:wind", "weather:temp"], request={"minute": "float", "day": "int"})
    def rush(wind, temp, minute, day):
        return {"per_minute": wind / minute + day + temp, "fresh": wind}

    return before, rush


def test_on_demand_views():
    found = said(*functions())
    assert found["feature gone is gone"] == ("breaking", ("gone",))
    assert found["feature fresh is new, of type float"][0] == "safe"
    assert found["whoever asks must send day (int)"][0] == "breaking"
    assert found["the request's minute was int, is float"][0] == "breaking"
    assert found["input temp was none, is weather:temp (number)"][0] == "values"
    assert found["the function differs"][0] == "values"
    assert "day is no longer asked of the request" in said(*reversed(functions()))


def test_functions_of_frames():
    def made(low):
        if low:

            @feature_view(name="late", entity=E, source=Source("raw", "r.parquet"), event_time="t", features=["a"])
            def late(raw):
                return raw.filter(True)
        else:

            @feature_view(name="late", entity=E, source=Source("raw", "r.parquet"), event_time="t", features=["a"])
            def late(raw):
                return raw.head(3)

        return late

    [change] = differences(made(True), made(False))
    assert change.effect == "values"
    assert "+    return raw.head(3)" in change.diff


def test_services_are_compared_by_what_their_stars_mean():
    star, named = FeatureService("all", ["weather:*"]), FeatureService("all", ["weather:temp"])

    def both(reference):
        return ["weather:temp", "weather:wind"] if reference == "weather:*" else [reference]

    def one(reference):
        return ["weather:temp"] if reference == "weather:*" else [reference]

    assert [(c.what, c.effect) for c in differences(star, named, (both, both))] == [
        ("feature weather:wind is no longer part of it", "breaking")
    ]
    assert [c.effect for c in differences(named, star, (both, both))] == ["safe"]
    assert [c.what for c in differences(star, named, (one, one))] == ["its features were weather:*, are weather:temp"]


def test_the_gravest_comes_first():
    found = differences(weather(), weather({"wind": latest("wind")}, owner="ada", ttl="1h"))
    assert [each.effect for each in found] == ["breaking", "safe", "safe", "safe"]
    assert worst(found) == "breaking"
    assert worst([Change("a", "safe"), Change("b", "values")]) == "values"
