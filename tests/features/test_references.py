from __future__ import annotations

import pytest

from trivet.errors import Invalid, NotFound
from trivet.features import Entity, FeatureView, Source, resolve, select_all

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
