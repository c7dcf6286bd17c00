"""A small airport for tests of the whole: two sources, two views, a pipeline of a file, a spine; seconds, not minutes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import trivet as tv
from trivet.clock import FixedClock

ROOT = Path(__file__).parents[1]
START = datetime(2026, 3, 1, tzinfo=UTC)
SPLIT = START + timedelta(days=14)
NOW = START + timedelta(days=20)
AIRPORTS = ("EWR", "JFK", "LGA")

PIPELINE = """
import trivet as tv


@tv.task(outputs=("train", "test"))
def split(flights: tv.TrainingSet, at: str) -> tuple[tv.TrainingSet, tv.TrainingSet]:
    return flights.before(at), flights.since(at)


@tv.task
def fit(train: tv.TrainingSet, depth: int, seed: int) -> tv.Model:
    from sklearn.tree import DecisionTreeClassifier

    columns = ["distance", "airport", *(column.name for column in train.columns_of_features)]
    return tv.Model.fit(DecisionTreeClassifier(max_depth=depth, random_state=seed), train, features=columns)


@tv.task
def evaluate(model: tv.Model, test: tv.TrainingSet) -> dict[str, float]:
    return tv.evaluate(model, test)


@tv.pipeline
def train(flights: tv.TrainingSet, at: str = "2026-03-15T00:00:00Z", depth: int = 3, seed: int = 0) -> tv.Model:
    past, future = split(flights, at=at)
    model = fit(past, depth=depth, seed=seed)
    evaluate(model, future)
    return model
"""


def flights() -> pl.DataFrame:
    """A departure every 20 minutes; its delay follows the wind of the hour, the delay is known when it leaves."""
    chance, rows = np.random.default_rng(7), 20 * 72
    moments = [START + timedelta(minutes=20 * row) for row in range(rows)]
    wind = np.repeat(20 + 15 * np.sin(np.arange(20 * 24) / 5), 3)
    delay = np.round(wind - 15 + chance.normal(0, 4, rows), 1)
    return pl.DataFrame(
        {
            "id": np.arange(rows),
            "airport": chance.choice(AIRPORTS, rows),
            "t": pl.Series(moments, dtype=pl.Datetime("us", "UTC")),
            "left": pl.Series([moment + timedelta(minutes=65) for moment in moments], dtype=pl.Datetime("us", "UTC")),
            "distance": chance.integers(100, 900, rows).astype(float),
            "delay": delay,
            "late": (delay > 5).astype(int),
        }
    )


def build(folder: Path, steps: str) -> None:
    """Write the files of the project into ``folder``; its pipeline becomes the module ``steps``, one in a process."""
    rows = flights()
    (folder / "data").mkdir(parents=True, exist_ok=True)
    rows.select("airport", "left", "delay").write_parquet(folder / "data/flights.parquet")
    pl.DataFrame(
        {
            "airport": [name for name in AIRPORTS for _ in range(20 * 24)],
            "hour": pl.Series([START + timedelta(hours=h) for h in range(20 * 24)] * 3, dtype=pl.Datetime("us", "UTC")),
            "wind": np.tile(20 + 15 * np.sin(np.arange(20 * 24) / 5), 3),
        }
    ).write_parquet(folder / "data/weather.parquet")
    (folder / f"{steps}.py").write_text(PIPELINE, "utf-8")


def spine() -> pl.DataFrame:
    """What is asked: every flight from the second day on, an hour before it leaves."""
    rows = flights().select("id", "airport", "t", "distance", "late")
    return rows.filter(pl.col("t") >= START + timedelta(days=1))


def views(*, window: str = "3h") -> list[tv.FeatureView]:
    """What is known of an airport at the moment."""
    airport = tv.Entity("airport", key="airport")
    departures = tv.Source("flights", "data/flights.parquet", event_time="left")
    reports = tv.Source("weather", "data/weather.parquet", event_time="hour", known_after="1h")
    congestion = tv.FeatureView(
        "congestion",
        entity=airport,
        source=departures,
        features={"mean_delay": tv.mean("delay", window), "departures": tv.count(window)},
    )
    weather = tv.FeatureView("weather", entity=airport, source=reports, features=["wind"], ttl="6h")
    return [congestion, weather]


def opened(folder: Path, *, now: datetime = NOW) -> tv.Project:
    """The project of ``folder``, at a moment just after its data end."""
    return tv.open(folder, clock=FixedClock(now))


def trained(project: tv.Project, steps: str) -> tuple[tv.TrainingSet, Any]:
    """A training set, and the pipeline run on it."""
    project.define(*views())
    made = project.training_set(spine(), ["congestion:*", "weather:*"], time="t", label="late")
    return made, project.execute(project.find_pipeline(project.root / f"{steps}.py"), flights=made)


GATE = tv.Gate("late", [tv.at_least("auc", 0.6)])


def environment(**changes: str) -> dict[str, str]:
    """The variables of a subprocess that runs this very code."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TRIVET_")}
    return kept | {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"} | changes


def trivet(folder: Path, *words: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """A command of ``trivet`` in ``folder``."""
    return subprocess.run(
        [sys.executable, "-m", "trivet", *words],
        cwd=folder, env=environment(), capture_output=True, text=True, check=False, timeout=timeout,
    )  # fmt: skip


@contextmanager
def serving(folder: Path, *words: str) -> Iterator[dict[str, Any]]:
    """``trivet serve ... --port 0 --json``: what it says once it answers; told to stop afterwards."""
    command = [sys.executable, "-m", "trivet", "serve", *words, "--port", "0", "--json"]
    with subprocess.Popen(command, cwd=folder, env=environment(), stdout=subprocess.PIPE, text=True) as process:
        try:
            text = ""
            for line in process.stdout or ():
                text += line
                if line.rstrip() == "}":
                    break
            yield json.loads(text) | {"pid": process.pid}
        finally:
            process.terminate()
            process.wait(timeout=60)


def post(address: str, body: Any, path: str = "/predict") -> tuple[int, Any]:
    """The status and the JSON answer to a POST; ``body`` is sent as it is where it is bytes."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(address + path, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as exc:
        return exc.code, json.loads(exc.read())
