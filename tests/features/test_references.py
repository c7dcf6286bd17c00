from __future__ import annotations

import polars as pl
import pytest

import trivet as tv
from trivet.errors import Invalid, NotFound
from trivet.features import Entity, FeatureService, FeatureView, Source, on_demand, resolve, select_all

E = Entity("e")
WEATHER = FeatureView("weather", entity=E, source=Source("w"), features=["temp", "wind"])
PLANES = FeatureView("planes", entity=E, source=Source("p"), features=["seats", "temp"])
STORED = {"weather": WEATHER, "planes": PLANES}


def test_views_and_references_mix_and_repeat():
    chosen = resolve([PLANES, "weather:wind", "weather:wind", "planes:seats"], STORED.__getitem__)
    assert [each.reference for each in chosen] == ["planes:seats", "planes:temp", "weather:wind"]
    assert [each.column for each in resolve(["weather:*"], STORED.__getitem__)] == ["temp", "wind"]
    assert [each.column for each in resolve(["weather"], STORED.__getitem__)] == ["temp", "wind"]


def test_collisions_offer_full_names():
    with pytest.raises(Invalid, match=r"'weather:temp' collides with feature 'planes:temp'.*full_names=True"):
        select_all([WEATHER, PLANES])
    with pytest.raises(Invalid, match="a column of the spine called 'wind'"):
        resolve([WEATHER], taken=["wind"])
    names = [each.column for each in select_all([WEATHER, PLANES], full_names=True)]
    assert names == ["weather__temp", "weather__wind", "planes__seats", "planes__temp"]


@pytest.mark.parametrize("bad", ["", ":temp", "weather:", 3, None])
def test_what_is_no_reference_is_said_to_be_none(bad):
    with pytest.raises(Invalid, match="names no features"):
        resolve([bad], STORED.__getitem__)


def test_unknown_features_offer_the_nearest():
    with pytest.raises(NotFound, match="Did you mean 'weather:temp'"):
        resolve(["weather:temq"], STORED.__getitem__)
    with pytest.raises(NotFound, match="Did you mean 'weather'"):
        resolve([WEATHER, "wether:temp"])
    with pytest.raises(Invalid, match="No features are asked for"):
        resolve([])


def test_two_views_of_one_name_are_refused():
    other = FeatureView("weather", entity=E, source=Source("w"), features=["rain"])
    with pytest.raises(Invalid, match="Two different views are called 'weather'"):
        select_all([WEATHER, other])


@on_demand(inputs=[WEATHER, "planes:seats"])
def gust(wind, seats):
    return {"per_seat": wind / seats}


@on_demand(inputs=["gust:per_seat", "weather:temp"])
def felt(per_seat, temp):
    return {"felt": temp - per_seat}


EVERY = STORED | {"gust": gust, "felt": felt, "day": FeatureService("day", ["felt", "planes:seats"])}


def test_what_is_computed_says_what_must_be_read_and_in_which_order():
    chosen = resolve(["felt", "weather:wind"], EVERY.__getitem__)
    assert [each.reference for each in chosen] == ["felt:felt", "weather:wind"]
    assert [(each.reference, each.column) for each in chosen.read] == [
        ("weather:wind", "wind"),
        ("planes:seats", "planes:seats"),
        ("weather:temp", "weather:temp"),
    ]
    assert [step.name for step in chosen.steps] == ["gust", "felt"]
    assert list(chosen.definitions) == ["weather", "planes", "gust", "felt"]


def test_services_stand_for_their_features_anywhere():
    for wanted in ("day", EVERY["day"], ["day"], [EVERY["day"]]):
        chosen = resolve(wanted, EVERY.__getitem__)
        assert [each.reference for each in chosen] == ["felt:felt", "planes:seats"]
        assert [service.name for service in chosen.services] == ["day"]
    with pytest.raises(Invalid, match="asked for as a whole"):
        resolve("day:felt", EVERY.__getitem__)


def test_circles_of_on_demand_views_are_refused():
    @on_demand(inputs=["tail:x"])
    def head(x):
        return {"x": x}

    @on_demand(inputs=["head:x"])
    def tail(x):
        return {"x": x}

    with pytest.raises(Invalid, match="in a circle: head > tail > head"):
        resolve(head, {"tail": tail, "head": head}.__getitem__)


def test_inputs_of_on_demand_views_offer_the_nearest():
    @on_demand(inputs=["weather:tempp"])
    def lost(tempp):
        return {"x": tempp}

    with pytest.raises(NotFound, match="Did you mean 'weather:temp'"):
        resolve(lost, EVERY.__getitem__)


def test_one_request_value_has_one_type():
    @on_demand(request={"now": "int"})
    def first(now):
        return {"x": now}

    @on_demand(request={"now": "string"})
    def second(now):
        return {"y": now}

    with pytest.raises(Invalid, match="asked for as int and as string"):
        _ = resolve([first, second]).request


def test_views_from_the_catalogue_share_the_frame_of_their_source(tmp_path):
    rows = pl.DataFrame({"e": ["a"], "x": [1], "y": [2]})
    source = Source("rows", rows)
    one, other = (FeatureView(name, entity=E, source=source, features=[name[-1]]) for name in ("one_x", "other_y"))
    spine = pl.DataFrame({"e": ["a"], "t": ["2026-01-01T00:00Z"]})
    with tv.open(tmp_path) as project:
        project.define(one, other)
        for wanted in (["one_x", "other_y"], [one, "other_y"], ["one_x", other]):
            made = project.training_set(spine, wanted, time="t").to_polars()
            assert made.select("x", "y").rows() == [(1, 2)]
