"""The features of the flights example, value by value, against loops that anyone can check."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from examples.flights import data
from tests.examples import flights_oracle as oracle

EDGES = ["2013-01-01", "2013-03-10", "2013-11-03", "2013-12-31"]
"""The first and the last day, and the two on which New York's clocks change."""


@pytest.fixture(scope="module")
def folder() -> Path:
    return data.prepare()


@pytest.fixture(scope="module")
def spine(folder: Path) -> pl.DataFrame:
    return data.spine(folder)


@pytest.fixture(scope="module")
def tables(folder: Path) -> oracle.Tables:
    return oracle.Tables(folder)


@pytest.fixture(scope="module")
def quick(tables: oracle.Tables, spine: pl.DataFrame) -> pd.DataFrame:
    return oracle.quickly(tables, spine)


@pytest.fixture(scope="module")
def sample(spine: pl.DataFrame) -> np.ndarray:
    """300 rows: 40 of each edge day, the very first and the very last, and others from the whole year."""
    choose = np.random.default_rng(20131103)
    local = spine["t"].dt.convert_time_zone("America/New_York").dt.strftime("%Y-%m-%d").to_numpy()
    rows = [choose.choice(np.flatnonzero(local == day), 40, replace=False) for day in EDGES]
    rest = choose.choice(len(spine), 138, replace=False)
    return np.unique(np.concatenate([*rows, rest, [0, len(spine) - 1]]))


@pytest.fixture(scope="module")
def slow(tables: oracle.Tables, spine: pl.DataFrame, sample: np.ndarray) -> pd.DataFrame:
    at = oracle.micros(spine["t"])
    return pd.DataFrame([oracle.slowly(tables, spine.row(int(i), named=True), int(at[i])) for i in sample])


def differing(left: pd.DataFrame, right: pd.DataFrame) -> Iterator[tuple[str, int, float, float]]:
    """Every cell in which the two differ; nothing equals nothing."""
    for name in oracle.FEATURES:
        a, b = left[name].to_numpy(np.float64), right[name].to_numpy(np.float64)
        for i in np.flatnonzero(~((a == b) | (np.isnan(a) & np.isnan(b)))):
            yield name, int(i), a[i], b[i]


def test_the_two_oracles_agree(slow: pd.DataFrame, quick: pd.DataFrame, sample: np.ndarray) -> None:
    assert list(differing(slow, quick.iloc[sample].reset_index(drop=True))) == []


def test_the_sample_has_something_to_find(slow: pd.DataFrame) -> None:
    """Every feature is present in some sampled rows and, where it can be, absent in others."""
    absent = slow.isna().mean()
    assert (absent < 0.9).all()
    assert (absent[[name for name in slow if name not in ("departures_3h", "landings_6h")]] > 0).all()
    assert (slow["departures_3h"] == 0).any()


def test_what_is_missing_is_missing_as_often_as_measured(quick: pd.DataFrame) -> None:
    missing = (quick.isna().mean() * 100).round(2)
    assert missing["delay_3h"] == 3.99
    assert missing["last_delay"] == 2.74
    assert missing["temp"] == 0.24
    assert missing["pressure"] == 10.68
    assert quick["departures_3h"].median() == 52
    assert quick["departures_3h"].min() == 0


def test_a_window_holds_its_first_moment_and_not_its_last(tables: oracle.Tables) -> None:
    """Minute-resolution times tie often, so the boundary is visible: one departure, asked about three times."""
    here = np.flatnonzero(tables.keys["origin"] == "EWR")
    first = here[np.argmin(tables.departed[here])]
    row = {"origin": "EWR", "carrier": "", "dest": "", "tailnum": ""}
    at = int(tables.departed[first])
    assert oracle.slowly(tables, row, at)["departures_3h"] == 0
    assert oracle.slowly(tables, row, at + 1)["departures_3h"] == 1
    with_it = oracle.slowly(tables, row, at + 3 * oracle.HOUR)["departures_3h"]
    assert with_it - oracle.slowly(tables, row, at + 3 * oracle.HOUR + 1)["departures_3h"] == 1
