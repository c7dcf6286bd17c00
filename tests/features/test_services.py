from __future__ import annotations

import polars as pl
import pytest

import trivet as tv
from trivet.errors import Invalid, NotFound
from trivet.features.services import FeatureService

PLACE = tv.Entity("place")
WEATHER = tv.FeatureView(
    "weather", entity=PLACE, source=tv.Source("w", pl.DataFrame({"place": ["a"], "temp": [1.0]})), features=["temp"]
)
SPINE = pl.DataFrame({"place": ["a"], "t": ["2026-01-01T00:00Z"]})


@tv.on_demand(inputs=[WEATHER])
def hot(temp):
    return {"is_hot": temp > 30}


DELAYS = FeatureService("delays", [WEATHER, hot, "planes:seats"], description="For delays.", owner="ada", tags=["live"])


def test_it_comes_back_from_its_declaration():
    again = FeatureService.from_spec(DELAYS.to_spec())
    assert again == DELAYS
    assert again.digest == DELAYS.digest
    assert again.features == ("weather:*", "hot:*", "planes:seats")
    assert again.tags == {"live": ""}


@pytest.mark.parametrize(
    ("features", "sentence"), [([], "no features"), ([3], "names no features"), (["a:"], "names no")]
)
def test_what_names_nothing_is_refused(features, sentence):
    with pytest.raises(Invalid, match=sentence):
        FeatureService("delays", features)


def test_a_service_is_used_as_an_object_and_by_its_name(tmp_path):
    service = FeatureService("heat", [WEATHER, hot])
    with tv.open(tmp_path) as project:
        [listed] = project.define(service, why="for the model")
        assert (listed.kind, listed.version, listed.features) == ("feature_service", 1, ["weather:*", "hot:*"])
        made = project.training_set(SPINE, "heat", time="t")
        assert made.to_polars().columns == ["place", "t", "temp", "is_hot"]
        same = project.training_set(SPINE, service, time="t")
        assert same.artifact.digest == made.artifact.digest
        assert made.services == ("heat",)
        assert made.run.inputs["services.heat"] == listed.digest
        mixed = project.training_set(SPINE, ["hot:is_hot", "heat"], time="t")
        assert mixed.to_polars().columns == ["place", "t", "is_hot", "temp"]
        assert project.reproduce(made.artifact.id, environment="current").level == "bytes"


def test_what_a_service_names_must_exist(tmp_path):
    with tv.open(tmp_path) as project, pytest.raises(NotFound, match="no feature view or service 'planes'"):
        project.define(DELAYS)
    with tv.open(tmp_path) as project:
        assert project.feature_views() == []  # all or nothing
