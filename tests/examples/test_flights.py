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
    return data.write()


@pytest.fixture(scope="module")
def spine(folder: Path) -> pl.DataFrame:
    return pl.read_parquet(folder / "spine.parquet")


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
    assert (absent[[name for name in slow if name != "departures_3h"]] > 0).all()
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


@pytest.fixture(scope="module")
def joined(spine: pl.DataFrame) -> pd.DataFrame:
    """What Trivet makes of ``features.py`` for every labelled flight."""
    from examples.flights import features
    from trivet.features.engines.local import open_engine
    from trivet.features.references import select_all
    from trivet.features.sources import snapshots_of

    sources = snapshots_of({view.source.name: view.source for view in features.VIEWS}.values(), data.FOLDER.parent)
    engine = open_engine("local:", Path())
    answer = engine.point_in_time(spine, select_all(features.VIEWS), sources, time="t")
    assert answer.frame.select(spine.columns).equals(spine)
    return answer.frame.select(oracle.FEATURES).cast(pl.Float64).to_pandas()


def test_trivet_agrees_with_the_slow_loop(joined: pd.DataFrame, slow: pd.DataFrame, sample: np.ndarray) -> None:
    assert list(differing(joined.iloc[sample].reset_index(drop=True), slow)) == []


def test_trivet_agrees_with_numpy_on_every_flight_of_the_year(joined: pd.DataFrame, quick: pd.DataFrame) -> None:
    assert list(differing(joined, quick)) == []


def test_easy_mistakes_show_in_the_values(tables: oracle.Tables, spine: pl.DataFrame, quick: pd.DataFrame) -> None:
    """The comparison above would notice: these are the usual leaks, and the share of rows that they change."""
    t, origin = oracle.micros(spine["t"]), spine["origin"].to_numpy()
    scheduled = oracle.micros(pl.read_parquet(data.FOLDER / "flights.parquet")["sched_dep_utc"])
    scheduled = np.where(np.isnan(tables.dep_delay), oracle.NEVER, scheduled)
    key, value, asked = tables.keys["origin"], tables.dep_delay, origin
    _, by_schedule = oracle.window(key, scheduled, value, asked, t, 3 * oracle.HOUR)
    _, other_bounds = oracle.window(key, tables.departed, value, asked, t + 1, 3 * oracle.HOUR)
    assert round((by_schedule != quick["departures_3h"]).mean(), 3) == 0.815
    assert round((other_bounds != quick["departures_3h"]).mean(), 3) == 0.376
    found = oracle.newest(tables.station, tables.hour, tables.hour, origin, t, 6 * oracle.HOUR)
    unfinished_hour = oracle.take(tables.weather["temp"], found)
    assert round((unfinished_hour != quick["temp"]).mean(), 2) == 0.75


@pytest.mark.slow
@pytest.mark.parametrize(
    ("chosen", "expected"),
    [((), 0.639), (oracle.AGGREGATES, 0.722), ((*oracle.AGGREGATES, *oracle.WEATHER), 0.737)],
    ids=["static", "with aggregates", "with aggregates and weather"],
)
def test_honest_figures(spine: pl.DataFrame, quick: pd.DataFrame, chosen: tuple[str, ...], expected: float) -> None:
    """January to September predict October to December; more than this a correct system cannot show.

    The bootstrap standard error of these areas is about 0.002.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score

    minute_of_day = pl.col("hour") * 60 + pl.col("minute")
    schedule = spine.select(minute_of_day.alias("minute_of_day"), "weekday", "distance").to_pandas()
    # Categories by their place in alphabetical order, as numbers.
    route = {name: pd.Categorical(spine[name].to_numpy()).codes for name in ("carrier", "origin", "dest")}
    frame = pd.concat([schedule, pd.DataFrame(route), quick[["age", "seats", *chosen]]], axis=1)
    late = spine["late"].to_numpy()
    train = (spine["month"] < 10).to_numpy()
    assert (train.sum(), (~train).sum()) == (244_737, 82_609)
    model = HistGradientBoostingClassifier(max_iter=100, early_stopping=False, random_state=0)
    model.fit(frame[train], late[train])
    area = roc_auc_score(late[~train], model.predict_proba(frame[~train])[:, 1])
    assert area == pytest.approx(expected, abs=0.003)
