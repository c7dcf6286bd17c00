"""The page of a training set shows what is on record about it, and records nothing itself."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

import trivet as tv
from trivet.features.leaks import check_leaks
from trivet.features.statistics import statistics
from trivet.server.views.artifacts import artifact

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def project(tmp_path):
    (tmp_path / "trivet.toml").touch()
    with tv.open(tmp_path) as project:
        yield project


def made(project):
    rows = pl.DataFrame(
        {
            "origin": ["JFK", "LGA"] * 60,
            "at": [START + timedelta(hours=h) for h in range(120)],
            "late": [h % 3 == 0 for h in range(120)],
            "delay": [30.0 if h % 3 == 0 else float(h % 7) for h in range(120)],
        }
    )
    source = tv.Source("flights", rows, event_time="at")
    view = tv.FeatureView("last", entity=tv.Entity("origin"), source=source, features=["delay"])
    return project.training_set(rows.select("origin", "late", t="at"), [view], time="t", label="late")


def test_pictures_and_numbers_without_a_record(project):
    train = made(project)
    before = len(project.context.ledger.runs())
    page = artifact(project, train.artifact.digest)
    assert [each["name"] for each in page["statistics"]["columns"]] == ["origin", "late", "t", "delay"]
    titles = [chart.partition('aria-label="')[2].partition('"')[0] for chart in page["charts"]]
    assert titles == ["rows over t, each 6h", "mean of late, each 6h", "origin", "late", "last:delay"]
    assert page["leaks"] is None
    assert len(project.context.ledger.runs()) == before


def test_what_is_on_record_is_shown(project):
    train = made(project)
    assert artifact(project, train.artifact.digest)["statistics"] == statistics(project.context, train).to_json()
    report = check_leaks(project.context, train, rows=20)
    assert not report.ok
    page = artifact(project, train.artifact.digest)
    assert page["leaks"]["own_values"][0]["feature"] == "last:delay"
    assert page["charts"]


def test_other_kinds_have_neither(project):
    page = artifact(project, project.save({"a": 1}).digest)
    assert (page["statistics"], page["charts"], page["leaks"]) == (None, [], None)
