"""The features of the flights example, worked out twice without Trivet.

``slowly`` asks the whole table about one row at a time, as the sentences of ``features.py`` read. ``quickly`` is
what an engineer with NumPy would write for all rows at once: sorted events, binary search, integer prefix sums.
Neither knows the other, and Trivet's own answers must equal both.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl

MINUTE = 60_000_000
HOUR = 60 * MINUTE
DAY = 24 * HOUR
WEATHER = ("temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib")
AGGREGATES = ("delay_3h", "departures_3h", "carrier_delay_7d", "dest_delay_7d", "last_delay")
FEATURES = (*AGGREGATES, *WEATHER, "age", "seats")
NEVER = np.iinfo(np.int64).max


def micros(times: pl.Series) -> np.ndarray:
    """Microseconds since 1970; a time that is not known is later than everything."""
    return times.dt.epoch("us").fill_null(NEVER).to_numpy()


class Tables:
    """The Parquet files as NumPy columns."""

    def __init__(self, folder: Path) -> None:
        flights = pl.read_parquet(folder / "flights.parquet")
        weather = pl.read_parquet(folder / "weather.parquet")
        self.keys = {name: flights[name].to_numpy() for name in ("origin", "carrier", "dest", "tailnum")}
        self.departed, self.arrived = micros(flights["dep_utc"]), micros(flights["arr_utc"])
        self.dep_delay = flights["dep_delay"].cast(pl.Float64).to_numpy()
        self.arr_delay = flights["arr_delay"].cast(pl.Float64).to_numpy()
        self.station, self.hour = weather["origin"].to_numpy(), micros(weather["time_hour"])
        self.weather = {name: weather[name].to_numpy() for name in WEATHER}
        planes = pl.read_parquet(folder / "planes.parquet")
        self.planes = {row["tailnum"]: row for row in planes.iter_rows(named=True)}


def slowly(tables: Tables, row: dict[str, object], t: int) -> dict[str, float]:
    """The features of one flight as of ``t``, by looking at every event there is."""
    here = tables.keys["origin"] == row["origin"]
    left = here & (tables.departed >= t - 3 * HOUR) & (tables.departed < t)
    company = tables.keys["carrier"] == row["carrier"]
    company &= (tables.departed >= t - 7 * DAY) & (tables.departed < t)
    landed = tables.keys["dest"] == row["dest"]
    landed &= (tables.arrived >= t - 7 * DAY) & (tables.arrived < t)
    values = {
        "delay_3h": mean(tables.dep_delay[left]),
        "departures_3h": float(left.sum()),
        "carrier_delay_7d": mean(tables.dep_delay[company]),
        "dest_delay_7d": mean(tables.arr_delay[landed]),
    }
    plane = (tables.keys["tailnum"] == row["tailnum"]) & ~np.isnan(tables.arr_delay)
    recent = np.flatnonzero(plane & (tables.arrived > t - 30 * DAY) & (tables.arrived <= t))
    last = max(recent, key=lambda i: (tables.arrived[i], i), default=None)
    values["last_delay"] = np.nan if last is None else tables.arr_delay[last]
    # An hour's report is known when the hour is over, and stands for six hours from its start.
    reports = (tables.station == row["origin"]) & (tables.hour + HOUR <= t) & (tables.hour > t - 6 * HOUR)
    newest = max(np.flatnonzero(reports), key=lambda i: tables.hour[i], default=None)
    values |= {name: np.nan if newest is None else column[newest] for name, column in tables.weather.items()}
    facts = tables.planes.get(row["tailnum"], {})
    return values | {name: np.nan if facts.get(name) is None else float(facts[name]) for name in ("age", "seats")}


def mean(values: np.ndarray) -> float:
    """The mean of what is known, nothing of nothing; the delays are whole minutes, so their sum is exact."""
    known = values[~np.isnan(values)]
    return known.sum() / len(known) if len(known) else np.nan


def quickly(tables: Tables, spine: pl.DataFrame) -> pd.DataFrame:
    """The same features for all rows of the spine at once."""
    t = micros(spine["t"])
    key = {name: spine[name].to_numpy() for name in tables.keys}
    departed, arrived = tables.departed, tables.arrived
    delay, count = window(tables.keys["origin"], departed, tables.dep_delay, key["origin"], t, 3 * HOUR)
    values = {"delay_3h": delay, "departures_3h": count}
    values["carrier_delay_7d"], _ = window(
        tables.keys["carrier"], departed, tables.dep_delay, key["carrier"], t, 7 * DAY
    )
    values["dest_delay_7d"], _ = window(tables.keys["dest"], arrived, tables.arr_delay, key["dest"], t, 7 * DAY)
    known = ~np.isnan(tables.arr_delay)
    plane, landed = tables.keys["tailnum"][known], arrived[known]
    found = newest(plane, landed, landed, key["tailnum"], t, 30 * DAY)
    values["last_delay"] = take(tables.arr_delay[known], found)
    found = newest(tables.station, tables.hour, tables.hour + HOUR, key["origin"], t, 6 * HOUR)
    values |= {name: take(column, found) for name, column in tables.weather.items()}
    for name in ("age", "seats"):
        facts = {tail: row[name] for tail, row in tables.planes.items()}
        values[name] = np.array([facts.get(tail) for tail in key["tailnum"]], dtype=np.float64)
    return pd.DataFrame(values)


def grouped(keys: np.ndarray, asked: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each key that is asked for, the places of its events and of its questions, in their order."""
    codes, names = pd.factorize(np.concatenate([keys, asked]))
    events = np.argsort(codes[: len(keys)], kind="stable")
    questions = np.argsort(codes[len(keys) :], kind="stable")
    every = np.arange(len(names) + 1)
    first = np.searchsorted(codes[: len(keys)][events], every)
    ask = np.searchsorted(codes[len(keys) :][questions], every)
    return [
        (events[first[i] : first[i + 1]], questions[ask[i] : ask[i + 1]])
        for i in range(len(names))
        if ask[i] < ask[i + 1]
    ]


def window(
    keys: np.ndarray, at: np.ndarray, values: np.ndarray, asked: np.ndarray, t: np.ndarray, width: int
) -> tuple[np.ndarray, np.ndarray]:
    """Mean of ``values`` and number of events in ``[t - width, t)`` of each question's key."""
    means, counts = np.full(len(t), np.nan), np.zeros(len(t))
    for events, questions in grouped(keys, asked):
        events = events[np.argsort(at[events], kind="stable")]  # noqa: PLW2901
        known = ~np.isnan(values[events])
        sums = np.concatenate([[0], np.cumsum(np.where(known, values[events], 0).astype(np.int64))])
        numbers = np.concatenate([[0], np.cumsum(known)])
        low = np.searchsorted(at[events], t[questions] - width, side="left")
        high = np.searchsorted(at[events], t[questions], side="left")
        number = numbers[high] - numbers[low]
        counts[questions] = high - low
        means[questions] = np.where(number > 0, (sums[high] - sums[low]) / np.maximum(number, 1), np.nan)
    return means, counts


def newest(
    keys: np.ndarray, at: np.ndarray, known: np.ndarray, asked: np.ndarray, t: np.ndarray, ttl: int
) -> np.ndarray:
    """The place of the newest event that is known at ``t`` and younger than ``ttl``, else -1.

    Being known must follow happening by a constant, which holds for all that is asked here.
    """
    found = np.full(len(t), -1)
    for events, questions in grouped(keys, asked):
        if not len(events):
            continue
        events = events[np.argsort(at[events], kind="stable")]  # noqa: PLW2901
        last = np.searchsorted(known[events], t[questions], side="right") - 1
        place = events[np.maximum(last, 0)]
        found[questions] = np.where((last >= 0) & (at[place] > t[questions] - ttl), place, -1)
    return found


def take(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The values at ``places``, nothing where the place is -1."""
    return np.where(places >= 0, values[places], np.nan)
