"""Sources and entities of the current views."""

from __future__ import annotations

import pytest

from trivet.errors import NotFound
from trivet.features import Entity, FeatureView, Source, latest
from trivet.features.catalogue import Catalogue
from trivet.features.inventory import entities, one_of, snapshots, sources
from trivet.features.snapshots import record_source

ORIGIN = Entity("origin", type="string")


def view(name, source, entity=ORIGIN):
    return FeatureView(name, entity=entity, source=source, features={"x": latest("x")})


@pytest.fixture
def filled(context):
    flights = Source("flights", "flights.csv", event_time="at")
    late = Source("late", sql="select * from flights", inputs=[flights], event_time="at")
    inner = view("inner", flights)
    above = view("above", inner)
    other = view("other", Source("flights", "elsewhere.csv", event_time="at"), Entity("origin"))
    Catalogue(context).apply(inner, above, view("late", late), other)
    return context


def test_sources_beneath_queries_and_views_are_listed_once_with_all_their_readers(filled):
    found = {each.name: each for each in sources(filled)}
    assert list(found) == ["flights", "late"]
    assert found["flights"].views == ("above", "inner", "late", "other")
    assert [each.data for each in found["flights"].declared] == ["flights.csv", "elsewhere.csv"]
    assert found["late"].source.sql == "select * from flights"
    assert found["late"].to_json()["views"] == ["late"]


def test_entities_with_their_features(filled):
    [found] = entities(filled)
    assert found.views == ("above", "inner", "late", "other")
    assert found.features == ("above:x", "inner:x", "late:x", "other:x")
    assert [each.types for each in found.declared] == [("string",), (None,)]


def test_a_name_that_is_none_gets_the_nearest(filled):
    with pytest.raises(NotFound, match=r"no source 'flihgts'\. Did you mean 'flights'"):
        one_of("source", "flihgts", sources(filled))
    with pytest.raises(NotFound, match="Define a feature view first"):
        one_of("source", "flights", [])


def test_what_was_recorded_of_a_source_is_found_by_its_name(context):
    place = context.root / "flights.csv"
    recorded = []
    for rows in ("x\n1\n", "x\n1\n2\n"):
        place.write_text(rows)
        recorded.append(record_source(Source("flights", "flights.csv"), context).digest)
    other = context.root / "planes.csv"
    other.write_text("x\n1\n")
    record_source(Source("planes", "planes.csv"), context)
    assert [each.digest for each in snapshots(context, "flights")] == recorded[::-1]
