from __future__ import annotations

import warnings

import polars as pl
import pytest

import trivet as tv
from trivet.features.corrections import CorrectionsCounted

ROW = {"order": 1, "who": 7, "at": "2026-11-20T10:00Z", "amount": 5}
SPINE = pl.DataFrame({"who": [7], "t": ["2126-01-01T00:00Z"]})


@pytest.fixture
def project(tmp_path):
    with tv.open(tmp_path) as project:
        project.tables.ingest("orders", [ROW], key="order", event_time="at")
        yield project


def view(project, **features):
    return tv.FeatureView("spent", entity=tv.Entity("who"), source=project.tables.source("orders"), features=features)


def test_windows_over_corrections_warn_once_and_count_both(project):
    total = view(project, total=tv.sum("amount", "40000d"), newest=tv.latest("amount"))
    project.training_set(SPINE, total, time="t")  # no corrections yet, and warnings are errors here
    project.tables.ingest("orders", [{**ROW, "amount": 6}])
    with pytest.warns(
        CorrectionsCounted, match=r"'spent' \(total\) count a correction .* 'orders' has 1 corrections"
    ) as told:
        made = project.training_set(SPINE, total, time="t")
    assert told[0].filename == __file__
    assert made.to_polars().select("total", "newest").row(0) == (11, 6)
    with warnings.catch_warnings(record=True) as again:
        project.training_set(SPINE, total, time="t")
        project.define(total)
    assert again == []


def test_defining_warns_as_well(project):
    project.tables.ingest("orders", [{**ROW, "amount": 6}])
    with pytest.warns(CorrectionsCounted) as told:
        project.define(view(project, n=tv.count("1d")))
    assert told[0].filename == __file__


def test_latest_values_and_tables_that_keep_the_first_are_as_they_should_be(project):
    project.tables.ingest("orders", [{**ROW, "amount": 6}])
    project.define(view(project, newest=tv.latest("amount"), most=tv.max("amount", "1d")))
    rows = [{**ROW, "order": 1}, {**ROW, "order": 1, "amount": 9}]
    assert project.tables.ingest("firsts", rows, key="order", event_time="at", keep="first").refused == 1
    source = project.tables.source("firsts")
    project.define(tv.FeatureView("kept", entity=tv.Entity("who"), source=source, features={"n": tv.count("1d")}))
