"""How long it takes until a pushed event is read, how many events a second can be pushed, and what reading then costs.

    python benchmarks/push.py [--events 20000] [--pushes 200]

One view with windows of 1h, 1d and 7d over a table that holds ``--events`` rows of 50 keys from the last week. *visible* is
from the call of ``push`` with one event until ``online_features`` has answered with it, every answer checked; *sustained* is
pushes of 1,000 events each; *read* is one key in process. Redis is left out where ``redis-server`` is missing.
"""

from __future__ import annotations

import argparse
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from materialize import redis_address

import trivet as tv
from trivet.features.reader import FeatureReader
from trivet.features.references import select_all
from trivet.types import to_micros

WINDOWS = ["1h", "1d", "7d"]
KEYS = 50


def flights(first: int, count: int, back: float) -> list[dict[str, Any]]:
    """Events of the last ``back`` seconds, in order."""
    chance, now = random.Random(first), datetime.now(UTC)
    ages = sorted((chance.uniform(0, back) for _ in range(count)), reverse=True)
    return [
        {
            "flight": first + number,
            "origin": f"A{chance.randrange(KEYS)}",
            "dep": now - timedelta(seconds=age),
            "delay": chance.gauss(10, 30),
        }
        for number, age in enumerate(ages)
    ]


def prepared(folder: Path, online: str, events: int) -> tuple[tv.Project, tv.FeatureView]:
    """A project with a table and a view that is filled."""
    (folder / "trivet.toml").write_text(f'[features]\nonline = "{online}"\n')
    project = tv.open(folder)
    project.tables.create("flights", key="flight", event_time="dep", keep="first")
    project.tables.ingest("flights", flights(0, events, 7 * 86_400))
    view = tv.FeatureView(
        "congestion",
        entity=tv.Entity("origin"),
        source=project.tables.source("flights"),
        features={
            "n": tv.count(WINDOWS),
            "late": tv.count(WINDOWS, where="delay > 15"),
            "delay": tv.mean("delay", WINDOWS),
            "most": tv.max("delay", WINDOWS),
            "last": tv.latest("delay"),
        },
    )
    project.define(view)
    return project, view


def visible(project: tv.Project, view: tv.FeatureView, first: int, pushes: int) -> list[float]:
    """Milliseconds from push to visible, of single events."""
    taken = []
    for event in (each for number in range(pushes) for each in flights(first + number, 1, 0)):
        start = time.perf_counter()
        project.push("flights", event)
        (vector,) = project.online_features([view], {"origin": event["origin"]})
        taken.append((time.perf_counter() - start) * 1000)
        assert vector.values["congestion:last"] == event["delay"]
    return sorted(taken)


def read(reader: FeatureReader, at: int) -> float:
    """Microseconds of reading one key, the median."""
    taken = []
    for number in range(2000):
        start = time.perf_counter_ns()
        reader([{"origin": f"A{number % KEYS}"}], at)
        taken.append(time.perf_counter_ns() - start)
    return statistics.median(taken) / 1000


def report(name: str, folder: Path, online: str, events: int, pushes: int) -> None:
    project, view = prepared(folder, online, events)
    start = time.perf_counter()
    project.push("flights", [])
    seeded = time.perf_counter() - start
    taken = visible(project, view, events, pushes)
    start, batches = time.perf_counter(), 10
    for number in range(batches):
        project.push("flights", flights(10 * events + 1000 * number, 1000, 1))
    rate = batches * 1000 / (time.perf_counter() - start)
    at = to_micros(datetime.now(UTC))
    live = read(FeatureReader(select_all([view.anchored(folder)]), project._online), at)
    middle, high = taken[len(taken) // 2], taken[int(len(taken) * 0.99)]
    print(f"{name:6} seeded {events:,} events in {seeded:.2f} s; visible p50 {middle:.1f} ms, p99 {high:.1f} ms;")
    print(
        f"       sustained {rate:,.0f} events/s; read {live:.0f} us with {(events + pushes) // KEYS + 200} events a key"
    )
    project.close()
    assert middle < 1000, "an event is to be seen within a second"


def stores() -> Iterator[tuple[str, str]]:
    """The stores to measure, with their URLs."""
    yield "lmdb", "lmdb:.trivet/online"
    if shutil.which("redis-server"):
        with redis_address() as port:
            yield "redis", f"redis://127.0.0.1:{port}/0"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--pushes", type=int, default=200)
    options = parser.parse_args()
    for name, url in stores():
        with tempfile.TemporaryDirectory() as folder:
            report(name, Path(folder), url, options.events, options.pushes)


if __name__ == "__main__":
    main()
