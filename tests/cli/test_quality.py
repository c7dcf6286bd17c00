"""``trivet quality``: what is expected, what checks found, what is set aside, what could be expected."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import Result

import trivet as tv

START = datetime(2026, 1, 5, tzinfo=UTC)


@pytest.fixture
def delays(tmp_path: Path) -> None:
    hours = [START + timedelta(hours=hour) for hour in range(48)]
    delay = [*(float(hour % 7) for hour in range(47)), 900.0]
    pl.DataFrame({"origin": ["JFK"] * 48, "at": hours, "delay": delay}).write_parquet(tmp_path / "delays.parquet")
    source = tv.Source("delays", "delays.parquet", event_time="at")
    view = tv.FeatureView("late", entity=tv.Entity("origin"), source=source, features=["delay"])
    with tv.open() as project:
        project.define(view, tv.Expectations(source, [tv.expect("delay").between(0, 60)]))


@pytest.mark.usefixtures("delays")
def test_what_is_expected_and_how_checks_went(trivet: Callable[..., Result], answer: Callable[..., Any]) -> None:
    assert "never checked" in trivet("quality").stdout
    assert "Never checked: trivet check source.delays" in trivet("quality", "delays").stdout
    trivet("check", "delays")
    with tv.open() as project:
        project.materialize("late")
    [listed] = answer("quality")
    assert (listed["subject"], listed["expected"]) == ("source.delays", ["delay between 0 and 60"])
    shown = answer("quality", "delays")
    assert [report["passed"] for report in shown["reports"]] == [False, False]
    assert "broken" in trivet("quality", "delays").stdout
    [refused] = answer("quality", "refused", "delays")
    assert refused["reason"] == "expected: delay between 0 and 60"
    assert "1 rows of delays are set aside" in trivet("quality", "refused", "delays").stdout


@pytest.mark.usefixtures("delays")
def test_learn_and_profile(trivet: Callable[..., Result], answer: Callable[..., Any]) -> None:
    assert "tv.expect('delay').between(0, " in trivet("quality", "learn", "delays").stdout
    rows = answer("quality", "profile", "delays", "--column", "delay")
    assert [row["rows"] for row in rows] == [24, 24]
    assert "2026-01-06 00:00:00" in trivet("quality", "profile", "delays").stdout


@pytest.mark.usefixtures("delays")
def test_wrong_words_get_a_sentence(trivet: Callable[..., Result]) -> None:
    for words, said in (
        (["dellays"], "Did you mean 'delays'"),
        (["learn", "dellays"], "Did you mean 'delays'"),
        (["profile", "late"], "has no periods"),
        (["profile", "delays", "--per", "often"], "often"),
    ):
        done = trivet("quality", *words)
        assert (done.exit_code, said in done.output) == (1, True), done.output


def test_nothing_is_expected_yet(trivet: Callable[..., Result], answer: Callable[..., Any]) -> None:
    assert trivet("quality").output == "Nothing is expected yet.\n"
    assert answer("quality") == answer("quality", "refused", "delays") == []


@pytest.mark.usefixtures("delays")
def test_sources_entities_and_freshness(trivet: Callable[..., Result], answer: Callable[..., Any]) -> None:
    assert [each["name"] for each in answer("features", "sources")] == ["delays"]
    assert answer("features", "sources", "delays")["views"] == ["late"]
    assert "delays.parquet" in trivet("features", "sources").stdout
    assert answer("features", "entities", "origin")["features"] == ["late:delay"]
    assert "Did you mean 'origin'" in trivet("features", "entities", "orign").output
    assert answer("features", "freshness")[0]["materialized"] is None
    with tv.open() as project:
        project.materialize("late", until=START + timedelta(days=1), why="the past")
    assert "2026-01-06 00:00:00 UTC" in trivet("features", "freshness", "late").stdout
    assert "Did you mean 'late'" in trivet("features", "freshness", "lat").output


def test_plain_names_mean_what_is_in_force(delays: None, trivet: Callable[..., Result]) -> None:
    assert "feature_view:" in trivet("lineage", "late").stdout
    assert trivet("show", "late").exit_code == 0
    assert "Did you mean 'late'" in trivet("lineage", "lat").output
    assert "needs 6 characters" in trivet("show", "model:f4").output
