from __future__ import annotations

import dataclasses
import json

import narwhals as nw
import numpy as np
import polars as pl
import pytest

from trivet.errors import Invalid, NotFound
from trivet.features import Entity, FeatureService, FeatureView, Source, feature_view, on_demand
from trivet.features.catalogue import Catalogue
from trivet.features.functions import Module, Portable
from trivet.features.snapshots import record_source
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


def frame(temp):
    return pl.DataFrame({"city": ["NYC"], "temp": [temp]})


def rows_of(view):
    return read(view.source, ["temp"], snapshots_of([view.source]))["temp"].to_list()


def test_each_version_finds_the_frame_that_it_was_defined_with(context):
    catalogue = Catalogue(context)
    catalogue.apply(weather(data=frame(1.0)))
    catalogue.apply(weather(data=frame(2.0), ttl=None, description="edited"))
    assert [rows_of(catalogue.get(f"weather@{version}")) for version in (1, 2)] == [[1.0], [2.0]]
    catalogue.apply(weather(data=frame(3.0)))
    assert [rows_of(catalogue.get(f"weather{version}")) for version in ("@1", "@2", "")] == [[3.0], [2.0], [3.0]]


def test_views_on_different_frames_may_call_their_sources_alike(context):
    catalogue = Catalogue(context)
    for name, temp in (("one", 1.0), ("two", 2.0)):
        source = Source("frame", frame(temp))
        catalogue.apply(FeatureView(name, entity=E, source=source, features=["temp"]))
    assert [rows_of(catalogue.get(name)) for name in ("one", "two")] == [[1.0], [2.0]]


def test_the_frame_beneath_a_view_that_is_a_source_is_kept_too(context):
    catalogue = Catalogue(context)
    catalogue.apply(FeatureView("outer", entity=E, source=weather(data=frame(5.0)), features=["temp"]))
    (leaf,) = catalogue.get("outer").source.leaves
    assert read(leaf, ["temp"], snapshots_of([leaf]))["temp"].to_list() == [5.0]


def test_frames_that_an_earlier_version_kept_are_found(context):
    catalogue = Catalogue(context)
    bare = FeatureView("weather", entity=E, source=Source("w"), features=["temp"])
    catalogue.apply(bare)
    kept = record_source(Source("w", frame(7.0)), context)
    context.ledger.point("source/w", "current", kept.digest, by="ada")
    assert rows_of(catalogue.get("weather")) == [7.0]


@on_demand(inputs=[weather()], request={"hour": "int"})
def felt(temp, hour):
    """How warm it feels."""
    return {"felt": temp - hour}


def test_all_kinds_are_applied_listed_and_got_under_the_same_verbs(context):
    catalogue, service = Catalogue(context), FeatureService("day", [felt, "weather:*"])
    listed = catalogue.apply(service, felt)
    assert [(each.name, each.kind, each.version) for each in listed] == [
        ("day", "feature_service", 1),
        ("felt", "on_demand", 1),
    ]
    assert catalogue.names() == ["day", "felt", "weather"]
    assert catalogue.names("on_demand") == ["felt"]
    assert (catalogue.get("day"), catalogue.get("felt"), catalogue.get("weather@1")) == (service, felt, weather())
    assert [each.name for each in catalogue.list()] == ["day", "felt", "weather"]
    assert str(catalogue.describe("felt")).splitlines()[:2] == [
        "felt (on-demand view, version 1)",
        "  How warm it feels.",
    ]
    with pytest.raises(Invalid, match="'felt' is an on-demand view, no feature view"):
        _ = catalogue.describe("felt").view


def test_no_two_kinds_share_a_name(context):
    catalogue = Catalogue(context)
    catalogue.apply(weather())
    with pytest.raises(Invalid, match="'weather' is the name of a feature view already"):
        catalogue.apply(FeatureService("weather", ["weather:temp"]))


def test_what_a_function_requires_is_kept_beside_its_identity(context):
    [listed] = Catalogue(context).apply(scaled)
    artifact = context.ledger.artifact(listed.digest)
    assert artifact.digest == scaled.digest
    kept = json.loads(context.blobs.read(artifact.files["requires.json"].digest))
    assert kept["numpy"] == np.__version__


@on_demand(request={"x": "float"})
def scaled(x):
    return {"y": np.sqrt(x)}


def test_a_function_that_cannot_run_elsewhere_is_not_applied(context):
    broken = Portable("f", (Module("import nowhere_at_all\n\n\ndef f(x):\n    return {'y': x}", {}),))
    view = dataclasses.replace(scaled, name="broken", function=broken)
    with pytest.raises(Invalid, match="does not run in a clean process"):
        Catalogue(context).apply(view)
    assert Catalogue(context).names() == []


def blown(w):
    return w.filter(nw.col("wimd") > 3)


def calm(w):
    return w.filter(nw.col("wind") < 3)


@pytest.mark.parametrize("data", [pl.DataFrame({"city": ["NYC"], "wind": [1.5]}), "not_there_yet.parquet"])
def test_functions_over_frames_are_tried_with_the_columns_of_their_sources(context, data):
    declare = feature_view(entity=E, source=Source("w", data), features=["wind"])
    assert Catalogue(context).apply(declare(calm))[0].version == 1
    if isinstance(data, str):
        return
    with pytest.raises(Invalid, match=r"does not run in a clean process.*wimd"):
        Catalogue(context).apply(declare(blown))


def test_each_stored_view_reads_its_own_frame_and_two_frames_under_one_name_are_refused(tmp_path):
    """Neither offline nor online does a view read the frame of another that calls its source the same."""
    import trivet as tv

    (tmp_path / "trivet.toml").touch()
    rows = pl.DataFrame({"k": ["a"], "at": ["2026-01-01T00:00Z"], "v": [1.0], "w": [1.0]})
    spine, moment = pl.DataFrame({"k": ["a"], "t": ["2026-01-02T00:00Z"]}), "2026-01-03T00:00Z"

    def declared(name, column, data):
        source = tv.Source("s", data, event_time="at")
        return tv.FeatureView(name, entity=tv.Entity("k"), source=source, features=[column])

    with tv.open(tmp_path) as project:
        project.define(declared("va", "v", rows), declared("vb", "w", rows.clone()))
        assert project.training_set(spine, ["va:*", "vb:*"], time="t").to_polars().row(0)[2:] == (1.0, 1.0)
        project.define(declared("vb", "w", rows.with_columns(w=2.0)))
        for asked in (["va:*", "vb:*"], [declared("va", "v", rows), "vb:*"]):
            with pytest.raises(Invalid, match="Two sources called 's' have different data"):
                project.training_set(spine, asked, time="t")
        assert project.materialize(["va", "vb"], until=moment) == {"va": 1, "vb": 1}  # each by itself
        [answer] = project.online_features(["va:*", "vb:*"], {"k": "a"}, at=moment)
        assert answer.values == {"va:v": 1.0, "vb:w": 2.0}
        assert project.training_set(spine, "vb:*", time="t").to_polars()["w"].to_list() == [2.0]
