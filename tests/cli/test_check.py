"""``trivet check``: what it says, and with which status it ends."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from click.testing import Result

import trivet as tv


@pytest.fixture
def delays(tmp_path: Path) -> tv.Source:
    pl.DataFrame({"delay": [5.0, 900.0]}).write_parquet(tmp_path / "delays.parquet")
    return tv.Source("delays", "delays.parquet")


def define(source: tv.Source, **options: Any) -> None:
    with tv.open() as project:
        project.define(tv.Expectations(source, [tv.expect("delay").between(0, 60, **options)]))


def test_a_refusing_expectation_that_is_broken_ends_with_one(answer: Callable[..., Any], delays: tv.Source) -> None:
    define(delays)
    [report] = answer("check", "delays", code=1)
    assert (report["subject"], report["passed"], report["refused"]) == ("source.delays", False, 1)
    assert answer("check", code=1)[0]["findings"] == report["findings"]


def test_a_warning_is_said_and_ends_with_nothing(trivet: Callable[..., Result], delays: tv.Source) -> None:
    define(delays, severity="warn")
    done = trivet("check", "delays")
    assert done.exit_code == 0
    assert "warn    delay between 0 and 60: 1 of 2 rows are otherwise" in done.output


def test_nothing_is_expected_yet(trivet: Callable[..., Result]) -> None:
    done = trivet("check")
    assert (done.exit_code, done.output) == (0, "Nothing is expected yet.\n")
    done = trivet("check", "delays")
    assert done.exit_code == 1
    assert "project.learn_expectations" in done.output
