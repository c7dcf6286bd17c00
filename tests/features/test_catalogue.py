from __future__ import annotations

import polars as pl
import pytest

from trivet.errors import NotFound
from trivet.features import Entity, FeatureView, Source
from trivet.features.catalogue import Catalogue
from trivet.features.sources import read, snapshots_of

E = Entity("city")


def weather(*features, data="weather.parquet", **options):
    return FeatureView("weather", entity=E, source=Source("w", data), features=features or ["temp"], **options)


def test_the_same_definition_keeps_its_version_and_an_edit_gets_the_next(context):
    catalogue = Catalogue(context)
    assert [catalogue.apply(weather())[0].version for _ in range(2)] == [1, 1]
    (edited,) = catalogue.apply(weather("temp", "wind"), why="wind matters")
    assert (edited.version, edited.by, edited.why) == (2, "ada", "wind matters")
    assert catalogue.get("weather") == weather("temp", "wind")
    assert catalogue.get("weather@1") == weather()


def test_applying_an_earlier_definition_again_makes_it_current(context):
    catalogue = Catalogue(context)
    catalogue.apply(weather())
    catalogue.apply(weather("wind"))
    (back,) = catalogue.apply(weather())
    assert back.version == 1
    assert catalogue.get("weather") == weather()


def test_views_are_listed_and_described(context):
    planes = FeatureView("planes", entity=E, source=Source("p", "p.csv"), features=["seats"], description="Built how.")
    catalogue = Catalogue(context)
    catalogue.apply(weather(), planes)
    assert catalogue.names() == ["planes", "weather"]
    assert [listed.features for listed in catalogue.list()] == [["planes:seats"], ["weather:temp"]]
    assert str(catalogue.describe("planes")) == (
        "planes (version 1), by city, from p\n  Built how.\n  seats = latest('seats')"
    )


def test_what_does_not_exist_is_answered_with_what_does(context):
    catalogue = Catalogue(context)
    with pytest.raises(NotFound, match="Apply one first"):
        catalogue.get("weather")
    catalogue.apply(weather())
    with pytest.raises(NotFound, match="Did you mean 'weather'"):
        catalogue.get("wether")
    with pytest.raises(NotFound, match="There are: 1"):
        catalogue.get("weather@7")


def test_a_frame_is_kept_and_comes_back_with_its_view(context):
    rows = pl.DataFrame({"city": ["NYC"], "temp": [1.5]})
    catalogue = Catalogue(context)
    catalogue.apply(weather(data=rows))
    view = catalogue.get("weather")
    assert read(view.source, ["city", "temp"], snapshots_of([view.source])).equals(rows)
    assert view.digest == weather(data=rows).digest
