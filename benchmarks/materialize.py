"""Filling the online store from a view of 10 features, beside the bare store fed with ready bytes.

    python benchmarks/materialize.py [--entities 1000000] [--rounds 3]

* ``lmdb``, ``redis``: ``Materializer.advance`` from a prepared source: values as of a moment, encoded, compared, stored.
* ``bare``: the same keys and rows as bytes, made beforehand; LMDB in one transaction, Redis by MSET of 2,000 at a time.
* ``again``: the second ``advance`` by a fresh reading of the same data, after one key in a thousand got a new row.

Prints rows a second of CPU time of this process and of wall time. Redis is left out where ``redis-server`` is missing.
"""

from __future__ import annotations

import argparse
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
import polars as pl
from _environment import load

from trivet.features import Entity, FeatureView, Source
from trivet.features.materialize import Materializer
from trivet.features.online.lmdb import LmdbStore
from trivet.types import to_micros

FEATURES = [f"f{number}" for number in range(10)]
NOW = datetime(2024, 1, 1, tzinfo=UTC)
VIEW = FeatureView("v", entity=Entity("id"), source=Source("s", event_time="t"), features=FEATURES)


def rows_of(ids: Any, moment: datetime) -> pl.DataFrame:
    """A row for each entity."""
    chance = np.random.default_rng(len(ids))
    columns = {name: chance.standard_normal(len(ids)) for name in FEATURES}
    return pl.DataFrame({"id": ids, "t": pl.Series([moment]).new_from_index(0, len(ids)), **columns})


@contextmanager
def redis_address() -> Iterator[int]:
    """The port of a Redis of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    with tempfile.TemporaryDirectory() as folder:
        quiet = ["--save", "", "--appendonly", "no", "--dir", folder, "--bind", "127.0.0.1", "--port", str(port)]
        process = subprocess.Popen(["redis-server", *quiet], stdout=subprocess.DEVNULL)
        time.sleep(1)
        try:
            yield port
        finally:
            process.kill()
            process.wait()


def taken(call: Callable[[], object]) -> tuple[float, float]:
    """Seconds of CPU and of wall time."""
    cpu, wall = time.process_time(), time.perf_counter()
    call()
    return time.process_time() - cpu, time.perf_counter() - wall


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entities", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    ids = np.arange(options.entities)
    data = rows_of(ids, NOW - timedelta(hours=1))
    some = pl.concat([data, rows_of(ids[::1000], NOW + timedelta(hours=1))])
    results: dict[str, list[tuple[float, float]]] = {}
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory() as folder:
            measure_lmdb(results, Path(folder), data, some)
        if shutil.which("redis-server"):
            with redis_address() as port:
                measure_redis(results, port, data, some)
    print(f"{load()}; {options.entities:,} entities, {len(FEATURES)} features, medians of {options.rounds}")
    print(f"{'':14}{'rows/s CPU':>14}{'rows/s wall':>14}{'x bare CPU':>12}{'x bare wall':>13}")
    for name, times in results.items():
        cpu, wall = (statistics.median(column) for column in zip(*times, strict=True))
        if name.endswith("again"):
            print(
                f"{name:14}{cpu * 1000:11,.0f} ms{wall * 1000:11,.0f} ms  for one key in a thousand, reading included"
            )
            continue
        bare = [statistics.median(column) for column in zip(*results[name.partition(" ")[0] + " bare"], strict=True)]
        count = options.entities
        print(f"{name:14}{count / cpu:14,.0f}{count / wall:14,.0f}{cpu / bare[0]:12.2f}{wall / bare[1]:13.2f}")


def steps(name: str, results: dict[str, list[tuple[float, float]]], store: Any, data: Any, some: Any) -> list[Any]:
    """The first and the second materialization; answers the encoded rows."""
    materializer = Materializer([VIEW], {"s": data}, store)
    [live] = materializer._views
    ready = live.rows(live.changed(None, to_micros(NOW)), to_micros(NOW))
    results.setdefault(f"{name} trivet", []).append(taken(lambda: materializer.advance(NOW)))
    again = taken(lambda: Materializer([VIEW], {"s": some}, store).advance(NOW + timedelta(days=1)))
    results.setdefault(f"{name} again", []).append(again)
    return ready


def measure_lmdb(results: dict[str, list[tuple[float, float]]], folder: Path, data: Any, some: Any) -> None:
    store = LmdbStore(folder / "store", map_size=8 << 30)
    ready = steps("lmdb", results, store, data, some)
    bare = lmdb.open(str(folder / "bare"), map_size=8 << 30)

    def write() -> None:
        with bare.begin(write=True) as transaction, transaction.cursor() as cursor:
            cursor.putmulti(ready)

    results.setdefault("lmdb bare", []).append(taken(write))
    store.close()
    bare.close()


def measure_redis(results: dict[str, list[tuple[float, float]]], port: int, data: Any, some: Any) -> None:
    import redis

    from trivet.features.online.redis import RedisStore

    store = RedisStore(f"redis://127.0.0.1:{port}/0")
    ready = steps("redis", results, store, data, some)
    bare = redis.Redis(port=port, db=1)

    def write() -> None:
        for start in range(0, len(ready), 2000):
            bare.mset(dict(ready[start : start + 2000]))

    results.setdefault("redis bare", []).append(taken(write))
    store.close()
    bare.close()


if __name__ == "__main__":
    main()
