"""Filling the online store from a view of 10 features, beside the bare store fed with ready bytes, and Feast.

    python benchmarks/materialize.py [--entities 1000000] [--rounds 3] [--feast-entities 100000 | --no-feast]

* ``bare``: the same keys and rows as bytes in memory, made beforehand, in the order of keys: LMDB in one durable
  transaction, Redis by MSET of 2,000 at a time.
* ``trivet``: ``Materializer.advance`` from a prepared source: values as of a moment, encoded, compared, stored, with
  the same bytes as a result, which is checked.
* ``again``: the second ``advance`` by a fresh reading of the same data, after one key in a thousand got a new row.
* ``whole``: from the Parquet file to the durable store.
* ``feast``: ``FeatureStore.materialize`` from the same file into SQLite, in a process of its own, once, with fewer
  entities because it takes long; the cost is for each row.

CPU time is that of this process and, after the plus, that of the Redis server. Redis is left out where ``redis-server``
is missing.
"""

from __future__ import annotations

import argparse
import json
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from _environment import environment, load, plain_variables, version
from training_set import FEAST

FEATURES = [f"f{number}" for number in range(10)]
NOW = datetime(2024, 1, 1, tzinfo=UTC)
AIM = 1.5
"""Times the CPU time of the bare store."""


class Cost(NamedTuple):
    """Seconds."""

    cpu: float
    wall: float
    server: float = 0.0

    @property
    def all(self) -> float:
        """Of CPU time, wherever."""
        return self.cpu + self.server


Results = dict[str, list[Cost]]


def view() -> Any:
    """The view that is filled."""
    from trivet.features import Entity, FeatureView, Source

    return FeatureView("v", entity=Entity("id"), source=Source("s", event_time="t"), features=FEATURES)


def rows_of(ids: Any, moment: datetime) -> Any:
    """A row for each entity."""
    import numpy as np
    import polars as pl

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


def taken(call: Callable[[], object], server: Callable[[], float] = lambda: 0.0) -> Cost:
    """What a call costs here and in a server."""
    there, cpu, wall = server(), time.process_time(), time.perf_counter()
    call()
    return Cost(time.process_time() - cpu, time.perf_counter() - wall, server() - there)


def steps(name: str, results: Results, store: Any, data: Any, some: Any, server: Callable[[], float]) -> list[Any]:
    """The first and the second materialization; answers the encoded rows."""
    from trivet.features.materialize import Materializer
    from trivet.types import to_micros

    materializer = Materializer([view()], {"s": data}, store)
    filling: Any = materializer._filling
    [live] = filling._views
    ready = list(live.rows(live.changed(None, to_micros(NOW)), to_micros(NOW)))
    results.setdefault(f"{name} trivet", []).append(taken(lambda: materializer.advance(NOW), server))
    [found] = store.get([(view().online_name, [key for key, _ in ready[::1000]])])
    assert found.rows == [row for _, row in ready[::1000]]
    again = taken(lambda: Materializer([view()], {"s": some}, store).advance(NOW + timedelta(days=1)), server)
    results.setdefault(f"{name} again", []).append(again)
    return ready


def measure_lmdb(results: Results, folder: Path, data: Any, some: Any) -> None:
    import lmdb

    from trivet.features.online.lmdb import LmdbStore

    store = LmdbStore(folder / "store")
    ready = steps("lmdb", results, store, data, some, lambda: 0.0)
    bare = lmdb.open(str(folder / "bare"), map_size=8 << 30)

    def write() -> None:
        with bare.begin(write=True) as transaction, transaction.cursor() as cursor:
            cursor.putmulti(ready)

    results.setdefault("lmdb bare", []).append(taken(write))
    store.close()
    bare.close()


def measure_whole(results: Results, folder: Path, file: Path) -> float:
    """From file to store; answers the megabytes on disk."""
    import polars as pl

    from trivet.features.materialize import Materializer
    from trivet.features.online.lmdb import LmdbStore

    whole = LmdbStore(folder / "whole")
    fill = lambda: Materializer([view()], {"s": pl.read_parquet(file)}, whole).advance(NOW)  # noqa: E731
    results.setdefault("lmdb whole", []).append(taken(fill))
    whole.close()
    return (folder / "whole" / "data.mdb").stat().st_size / 1e6


def measure_redis(results: Results, port: int, data: Any, some: Any) -> None:
    import redis

    from trivet.features.online.redis import RedisStore

    bare = redis.Redis(port=port, db=1)

    def server() -> float:
        used: Any = bare.info("cpu")
        return float(used["used_cpu_user"] + used["used_cpu_sys"])

    store = RedisStore(f"redis://127.0.0.1:{port}/0")
    ready = steps("redis", results, store, data, some, server)

    def write() -> None:
        for start in range(0, len(ready), 2000):
            bare.mset(dict(ready[start : start + 2000]))

    results.setdefault("redis bare", []).append(taken(write, server))
    store.close()
    bare.close()


def feast(file: Path) -> dict[str, float]:
    """Fill Feast's SQLite from ``file``, in Feast's environment."""
    from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
    from feast.types import Float64

    home = Path(tempfile.mkdtemp(dir=file.parent))
    (home / "feature_store.yaml").write_text(
        f"project: p\nregistry: {home}/r.db\nprovider: local\nonline_store:\n  type: sqlite\n  path: {home}/o.db\n"
        "offline_store:\n  type: duckdb\nentity_key_serialization_version: 3\n"
    )
    store = FeatureStore(str(home))
    entity = Entity(name="entity", join_keys=["id"], value_type=ValueType.INT64)
    schema = [Field(name=name, dtype=Float64) for name in FEATURES]
    source = FileSource(path=str(file), timestamp_field="t")
    made = FeatureView(name="v", entities=[entity], ttl=timedelta(days=999), schema=schema, source=source)
    store.apply([entity, made])
    cost = taken(lambda: store.materialize(NOW - timedelta(days=1), NOW))
    answer = store.get_online_features([f"v:{name}" for name in FEATURES], [{"id": 1}]).to_dict()
    assert answer["f0"][0] is not None
    return {"cpu": cost.cpu, "wall": cost.wall, "mb": (home / "o.db").stat().st_size / 1e6}


def beside_feast(folder: Path, entities: int) -> dict[str, float]:
    """What Feast needs for so many entities."""
    import numpy as np

    home = environment("feast", *FEAST)
    print(f"Feast {version(home, 'feast')} with DuckDB {version(home, 'duckdb')}, SQLite online")
    file = folder / "few.parquet"
    rows_of(np.arange(entities), NOW - timedelta(hours=1)).write_parquet(file)
    command = [home / "bin/python", __file__, "--feast-file", file]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=plain_variables())
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entities", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--feast-entities", type=int, default=100_000)
    parser.add_argument("--feast", action=argparse.BooleanOptionalAction, default=True, help="about 600 MB, once")
    parser.add_argument("--feast-file", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.feast_file:
        print(json.dumps(feast(options.feast_file)))
        return
    results, disk, beside = measured(options)
    print(f"{load()}; {options.entities:,} entities, {len(FEATURES)} features, medians of {options.rounds}")
    report(results, options.entities)
    [whole] = [statistics.median(each.cpu for each in results["lmdb whole"])]
    print(f"on disk: {disk / options.entities * 1e6:,.0f} bytes a row")
    if beside:
        cost, ours = beside["cpu"] / options.feast_entities, whole / options.entities
        print(
            f"feast, {options.feast_entities:,} entities: {1 / cost:,.0f} rows/s CPU, {cost / ours:.0f} times the CPU time "
            f"of 'lmdb whole', {beside['mb'] / options.feast_entities * 1e6:,.0f} bytes a row on disk"
        )


def measured(options: argparse.Namespace) -> tuple[Results, float, dict[str, float]]:
    import numpy as np
    import polars as pl

    ids, results, disk, beside = np.arange(options.entities), Results(), 0.0, {}
    data = rows_of(ids, NOW - timedelta(hours=1))
    some = pl.concat([data, rows_of(ids[::1000], NOW + timedelta(hours=1))])
    with tempfile.TemporaryDirectory() as temporary:
        data.write_parquet(Path(temporary) / "all.parquet")
        for _ in range(options.rounds):
            with tempfile.TemporaryDirectory() as folder:
                measure_lmdb(results, Path(folder), data, some)
                disk = measure_whole(results, Path(folder), Path(temporary) / "all.parquet")
            if shutil.which("redis-server"):
                with redis_address() as port:
                    measure_redis(results, port, data, some)
        if options.feast:
            beside = beside_feast(Path(temporary), options.feast_entities)
    return results, disk, beside


def report(results: Results, count: int) -> None:
    print(f"{'':14}{'CPU s':>16}{'wall s':>9}{'rows/s CPU':>13}{'x bare CPU':>12}{'x bare wall':>13}")
    kept = True
    for name, costs in results.items():
        cost = middle(costs)
        line = f"{name:14}{cost.cpu:9.3f}{f' + {cost.server:.2f}' if cost.server else '':7}{cost.wall:9.3f}"
        if name.endswith("again"):
            print(f"{line}  one key in a thousand, reading included")
            continue
        bare = middle(results[f"{name.partition(' ')[0]} bare"])
        print(f"{line}{count / cost.all:13,.0f}{cost.all / bare.all:12.2f}{cost.wall / bare.wall:13.2f}")
        kept = kept and (not name.endswith("trivet") or cost.all <= AIM * bare.all)
    print(f"aim: at most {AIM} times the CPU time of the bare store: {'kept' if kept else 'MISSED'}")


def middle(costs: list[Cost]) -> Cost:
    """The median of each."""
    return Cost(*(statistics.median(column) for column in zip(*costs, strict=True)))


if __name__ == "__main__":
    sys.exit(main())
