from __future__ import annotations

from datetime import UTC, datetime

import pytest

from trivet.features import Entity, FeatureService, FeatureView, Source, latest, mean, on_demand
from trivet.features.catalogue import Listed
from trivet.features.search import find_features


def listed(definition):
    return Listed(definition.name, 1, definition, definition.digest, datetime(2026, 1, 1, tzinfo=UTC), "ada", "")


def stored():
    flights = Source("flights", "data/flights.parquet", event_time="dep")
    congestion = FeatureView(
        "congestion",
        entity=Entity("origin"),
        source=flights,
        features={"delay_1h": mean("dep_delay", "1h"), "late": latest("lateness")},
        description="How late planes leave an airport.",
        owner="Ada",
        tags={"team": "ops", "live": ""},
    )
    weather = FeatureView(
        "weather", entity=Entity("place"), source=Source("noaa", "noaa.csv"), features=["wind", "temp"], tags=["live"]
    )

    @on_demand(inputs=["weather:wind"], request={"minute": "int"})
    def rush(wind, minute):
        """Gusts for each minute."""
        return {"gust": wind / minute}

    service = FeatureService("departures", ["congestion:*", "weather:wind"], owner="grace")
    return [listed(each) for each in (congestion, weather, rush, service)]


def found(words="", **only):
    return [each.reference for each in find_features(stored(), words, **only)]


@pytest.mark.parametrize(
    ("words", "first"),
    [
        ("delay", "congestion:delay_1h"),
        ("DELAY", "congestion:delay_1h"),
        ("wind", "weather:wind"),
        ("gust minute", "rush:gust"),
        ("lateness", "congestion:late"),
        ("noaa temp", "weather:temp"),
        ("departures", "departures"),
        ("ops delay", "congestion:delay_1h"),
        ("airport planes", "congestion:delay_1h"),
        ("conges", "congestion:delay_1h"),
        ("gestion", "congestion:delay_1h"),
    ],
)
def test_words_are_found_wherever_they_stand(words, first):
    assert found(words)[0] == first


def test_all_words_must_occur():
    assert found("delay wind") == []
    assert found("late mean") == ["congestion:delay_1h"]


def test_a_name_counts_more_than_what_is_said():
    ranked = find_features(stored(), "late")
    assert [each.reference for each in ranked[:2]] == ["congestion:late", "congestion:delay_1h"]
    assert ranked[0].score > ranked[1].score > 0


def test_without_words_everything_by_name():
    assert found() == sorted(found())
    assert len(found()) == 6


@pytest.mark.parametrize(
    ("only", "count"),
    [
        ({"tag": "live"}, 4), ({"tag": "team"}, 2), ({"tag": "team=ops"}, 2), ({"tag": "team=web"}, 0),
        ({"owner": "ada"}, 2), ({"entity": "place"}, 2), ({"kind": "on_demand"}, 1), ({"kind": "feature_service"}, 1),
        ({"tag": "live", "entity": "origin"}, 2),
    ],
)  # fmt: skip
def test_filters(only, count):
    assert len(found(**only)) == count


def test_a_word_that_occurs_nowhere_stands_for_the_nearest():
    [near] = find_features(stored(), "dealy_1h")[:1]
    assert near.reference == "congestion:delay_1h"
    assert near.near == {"dealy": "delay"}
    assert found("xylophone") == []
    assert found("dealy xylophone") == []


def test_signs_in_words_are_no_patterns():
    assert found(".*") == sorted(found())  # nothing that is a word is asked for
    assert found("delay(") == found("delay")
