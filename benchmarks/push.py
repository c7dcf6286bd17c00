"""How long it takes until a pushed event is read, how many events a second can be pushed, and what reading then costs.

    python benchmarks/push.py [--events 20000] [--pushes 200] [--processes 3] [--hot 1000 10000 100000]

One view with windows of 1h, 1d and 7d over a table that holds ``--events`` rows of 50 keys from the last week. *visible* is
from the call of ``push`` with one event until ``online_features`` has answered with it, every answer checked; *sustained* is
pushes of 1,000 events each, by one process and by ``--processes`` at once to the same keys, after which the counts are
checked; *read* is one key in process. Then all events are of one key, ``--hot`` of them in the week, and one is pushed at a
time: what bringing the view up costs, how many bytes it writes, and what reading costs, which should not grow with the
events. Redis is left out where ``redis-server`` is missing.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from _environment import load
from materialize import redis_address

import trivet as tv
from trivet.features.reader import FeatureReader
from trivet.features.references import select_all
from trivet.types import to_micros

WINDOWS = ["1h", "1d", "7d"]
KEYS = 50


def flights(first: int, count: int, back: float, keys: int = KEYS) -> list[dict[str, Any]]:
    """Events of the last ``back`` seconds, in order."""
    chance, now = random.Random(first), datetime.now(UTC)
    ages = sorted((chance.uniform(0, back) for _ in range(count)), reverse=True)
    return [
        {
            "flight": first + number,
            "origin": f"A{chance.randrange(keys)}",
            "dep": now - timedelta(seconds=age),
            "delay": chance.gauss(10, 30),
        }
        for number, age in enumerate(ages)
    ]


def prepared(folder: Path, online: str, events: int, keys: int = KEYS) -> tuple[tv.Project, tv.FeatureView]:
    """A project with a table and a view that is filled."""
    (folder / "trivet.toml").write_text(f'[features]\nonline = "{online}"\n')
    project = tv.open(folder)
    project.tables.create("flights", key="flight", event_time="dep", keep="first")
    project.tables.ingest("flights", flights(0, events, 7 * 86_400, keys))
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


def read(reader: FeatureReader, at: int, keys: int = KEYS) -> float:
    """Microseconds of reading one key, the median."""
    taken = []
    for number in range(1000):
        start = time.perf_counter_ns()
        reader([{"origin": f"A{number % keys}"}], at)
        taken.append(time.perf_counter_ns() - start)
    return statistics.median(taken) / 1000


def report(name: str, folder: Path, online: str, events: int, pushes: int, processes: int) -> None:
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
    print(f"       sustained by {processes} processes {at_once(folder, processes):,.0f} events/s, their start included")
    assert middle < 1000, "an event is to be seen within a second"


def pour(folder: Path, first: int, batches: int) -> None:
    """One of several processes that push."""
    with tv.open(folder) as project:
        for number in range(batches):
            project.push("flights", flights(first + 1000 * number, 1000, 1))


def at_once(folder: Path, processes: int, batches: int = 10) -> float:
    """Events a second that several processes push together; nothing of them is lost."""
    spawn = multiprocessing.get_context("spawn")
    with tv.open(folder) as project:
        before = project.tables.describe("flights").rows
    running = [spawn.Process(target=pour, args=(folder, 10**9 * (n + 1), batches)) for n in range(processes)]
    start = time.perf_counter()
    for each in running:
        each.start()
    for each in running:
        each.join()
    taken = time.perf_counter() - start
    with tv.open(folder) as project:
        vectors = project.online_features("congestion", [{"origin": f"A{number}"} for number in range(KEYS)])
        held = project.tables.describe("flights").rows
        assert held == before + processes * batches * 1000
        assert abs(sum(each.values["congestion:n_7d"] for each in vectors) - held) < held / 1000  # some left the window
    return processes * batches * 1000 / taken


def hot(name: str, folder: Path, online: str, events: int, pushes: int = 30) -> None:
    """One key with many events: what one more costs."""
    project, view = prepared(folder, online, events, keys=1)
    start = time.process_time()
    project.push("flights", [])
    seeded, sizes, put = time.process_time() - start, [], project._online.put

    def counted(batches: Any) -> list[int]:
        sizes.append(sum(len(key) + len(data) for batch in batches for key, data in batch.rows))
        return put(batches)

    project._online.put = counted  # type: ignore[method-assign]
    taken = []
    for number in range(pushes):
        project.tables.ingest("flights", flights(10 * events + number, 1, 0, keys=1))
        start = time.process_time()
        project._push.catch_up("flights")
        taken.append((time.process_time() - start) * 1000)
    live = read(
        FeatureReader(select_all([view.anchored(folder)]), project._online), to_micros(datetime.now(UTC)), keys=1
    )
    print(
        f"{name:6} {events:>8,} events of one key: seeded in {seeded:.2f} s CPU; one more {statistics.median(taken):.1f} ms "
        f"CPU and {statistics.median(sizes):,.0f} bytes; read {live:.0f} us"
    )
    project.close()


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
    parser.add_argument("--processes", type=int, default=3)
    parser.add_argument("--hot", type=int, nargs="*", default=[1_000, 10_000, 100_000])
    options = parser.parse_args()
    print(load())
    for name, url in stores():
        with tempfile.TemporaryDirectory() as folder:
            report(name, Path(folder), url, options.events, options.pushes, options.processes)
        for events in options.hot:
            with tempfile.TemporaryDirectory() as folder:
                hot(name, Path(folder), url, events)


if __name__ == "__main__":
    main()
