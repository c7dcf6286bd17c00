"""What an audit says, and when it is an alarm."""

from __future__ import annotations

from datetime import UTC, datetime

from trivet.features.skew.report import CAUSES, Example, FeatureSkew, SkewReport, beyond
from trivet.statistics import wilson

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def report(**mismatches: int) -> SkewReport:
    features = [FeatureSkew(feature=name, rows=500, mismatches=count) for name, count in mismatches.items()]
    return SkewReport(deployment="d", model="m@1", at=NOW, rows=500, features=features)


def test_only_what_is_certainly_above_the_bound_counts() -> None:
    found = report(a=0, b=6, c=40)
    assert [each.feature for each in beyond(found, 0.0)] == ["b", "c"]
    assert [each.feature for each in beyond(found, 0.01)] == ["c"]
    assert beyond(found, 0.2) == []
    assert beyond(report(), 0.0) == []


def test_many_features_ask_for_more_evidence() -> None:
    low = wilson(13, 500).low
    assert [each.feature for each in beyond(report(a=13), low - 1e-6)] == ["a"]
    assert beyond(report(a=13, b=0, c=0), low - 1e-6) == []


def test_it_goes_to_json_and_back() -> None:
    example = Example(
        prediction="p",
        at=NOW,
        entities={"plane": "N1"},
        online=1,
        offline=None,
        status="present",
        cause="stale",
        age=60_000_000,
    )
    skew = FeatureSkew(
        feature="v:x", rows=4, mismatches=3, stale=1, causes={"type": 1, "stale": 2}, examples=[example], oldest=60_000_000
    )  # fmt: skip
    found = SkewReport(deployment="d", model="m@1", at=NOW, rows=4, features=[skew], notes=["n"])
    assert SkewReport.from_json(found.to_json()) == found
    assert (found.ok, found.mismatches, found.cells) == (False, 3, 4)
    text = str(found)
    assert f"{CAUSES['stale']}; also type (1)" in text
    assert "prediction:p of plane=N1 at 2026-01-01 00:00:00 UTC: served 1 (present), offline None" in text
    assert "by 1m" in text
    assert "note: n" in text


def test_nothing_that_differs_is_said_in_a_line() -> None:
    found = report(a=0)
    assert str(found).splitlines()[0].endswith("500 values: no skew")
    assert (found.features[0].share, found.features[0].reason) == (0.0, "")
