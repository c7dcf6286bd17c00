"""Reading features of 1 and of 100 entities, 3 views of 10 features, beside LMDB and Redis with msgspec alone, and Feast.

    python benchmarks/online_read.py [--entities 100000] [--rounds 5] [--feast-entities 20000 | --no-feast]

* ``bare``: integer keys, rows decoded by msgspec; LMDB in one transaction, Redis by MGET.
* ``rows``: the same rows through ``OnlineStore``, whatever the keys, all views of one moment.
* ``vectors``: ``FeatureReader``, what a service answers: values, their times and whether they are still good.
* ``frame``: a data frame of 100,000 entities in, one with 30 columns more out; bare is the same by hand from LMDB, msgspec
  and Polars.
* ``feast``: ``get_online_features().to_dict()`` from SQLite, in a process of its own; fewer entities, because filling it
  takes long, and one round of fewer reads.

The systems take turns. The garbage collector is frozen after everything was made, as a service does when it has started.
Of wall time p50 and p99; and p99 over p50 of the CPU time of the reading thread, which a busy machine disturbs less.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

from _environment import environment, load, plain_variables, version
from materialize import FEATURES, NOW, redis_address, rows_of
from training_set import FEAST

VIEWS = ("a", "b", "c")
MOMENT = int(NOW.timestamp()) * 1_000_000
AIM, TAIL = 2.0, 5.0
"""Times the bare store; p99 over p50."""

Read = Callable[[list[int]], object]


class Times(NamedTuple):
    """Microseconds, and how much longer the slowest in a hundred takes by CPU time."""

    p50: float
    p99: float
    tail: float


def views() -> list[Any]:
    """The views that are read."""
    from trivet.features import Entity, FeatureView, Source

    source = Source("s", event_time="t")
    return [FeatureView(name, entity=Entity("id"), source=source, features=FEATURES, ttl="7d") for name in VIEWS]


def rows(seed: str, entities: int) -> list[Any]:
    """The rows of one view in random order."""
    from trivet.features.online.contract import Row

    chance = random.Random(seed)
    made = [
        ((number,), Row(MOMENT, [chance.random() for _ in FEATURES], [MOMENT - number] * len(FEATURES)))
        for number in range(entities)
    ]
    chance.shuffle(made)
    return made


class BareLmdb:
    """What one would write by hand: integer keys, no order of time, no growth, one transaction for all views."""

    def __init__(self, path: Path) -> None:
        import lmdb
        import msgspec

        from trivet.features.online.contract import Row

        self.lmdb = lmdb.open(str(path), map_size=4 << 30)
        self.encode = msgspec.msgpack.Encoder().encode
        self.decode = msgspec.msgpack.Decoder(Row).decode

    def write(self, view: str, made: list[Any]) -> None:
        """All rows in one transaction."""
        prefix = view[0].encode()
        items = sorted((prefix + key[0].to_bytes(8, "big"), self.encode(row)) for key, row in made)
        with self.lmdb.begin(write=True) as transaction, transaction.cursor() as cursor:
            cursor.putmulti(items)

    def read(self, entities: list[int]) -> list[list[Any]]:
        """The rows of each view."""
        with self.lmdb.begin() as transaction:
            get, decode = transaction.get, self.decode
            return [[decode(get(v + entity.to_bytes(8, "big"))) for entity in entities] for v in (b"a", b"b", b"c")]


class BareRedis(BareLmdb):
    """The same in Redis."""

    def __init__(self, port: int) -> None:
        import msgspec
        import redis

        from trivet.features.online.contract import Row

        self.redis: Any = redis.Redis(port=port, db=1)
        self.encode = msgspec.msgpack.Encoder().encode
        self.decode = msgspec.msgpack.Decoder(Row).decode

    def write(self, view: str, made: list[Any]) -> None:
        """2,000 at a time."""
        prefix = view[0].encode()
        items = [(prefix + key[0].to_bytes(8, "big"), self.encode(row)) for key, row in made]
        for start in range(0, len(items), 2000):
            self.redis.mset(dict(items[start : start + 2000]))

    def read(self, entities: list[int]) -> list[list[Any]]:
        """The rows of each view, in one command."""
        keys = [v + entity.to_bytes(8, "big") for v in (b"a", b"b", b"c") for entity in entities]
        found = list(map(self.decode, self.redis.mget(keys)))
        size = len(entities)
        return [found[start : start + size] for start in range(0, len(found), size)]


def ours(store: Any) -> tuple[Read, Read]:
    """Reading rows, and reading vectors."""
    from trivet.features import select_all
    from trivet.features.online.encoding import decode_row, encode_key
    from trivet.features.reader import FeatureReader

    names, reader = [view.online_name for view in views()], FeatureReader(select_all(views(), full_names=True), store)

    def read(asked: list[int]) -> object:
        keys = [encode_key((entity,)) for entity in asked]
        return [[decode_row(row) for row in found.rows] for found in store.get([(name, keys) for name in names])]

    return read, lambda asked: reader([{"id": entity} for entity in asked], MOMENT)


def timed(read: Read, entities: int, count: int, repeats: int) -> Times:
    """Many reads of random entities."""
    chance, walls, cpus = random.Random(count), [], []
    for _ in range(repeats):
        asked = [chance.randrange(entities) for _ in range(count)]
        cpu, wall = time.thread_time_ns(), time.perf_counter_ns()
        read(asked)
        walls.append(time.perf_counter_ns() - wall)
        cpus.append(time.thread_time_ns() - cpu)
    wall, cpu = statistics.quantiles(walls, n=100), statistics.quantiles(cpus, n=100)
    return Times(wall[49] / 1000, wall[98] / 1000, cpu[98] / cpu[49])


def feast(files: Path, entities: int) -> dict[int, Times]:
    """Feast's SQLite, in Feast's environment."""
    from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
    from feast.types import Float64

    home = Path(tempfile.mkdtemp(dir=files))
    (home / "feature_store.yaml").write_text(
        f"project: p\nregistry: {home}/r.db\nprovider: local\nonline_store:\n  type: sqlite\n  path: {home}/o.db\n"
        "offline_store:\n  type: duckdb\nentity_key_serialization_version: 3\n"
    )
    store = FeatureStore(str(home))
    entity = Entity(name="entity", join_keys=["id"], value_type=ValueType.INT64)
    made = [
        FeatureView(
            name=name,
            entities=[entity],
            ttl=timedelta(days=9999),
            schema=[Field(name=f"{name}_{each}", dtype=Float64) for each in FEATURES],
            source=FileSource(path=f"{files}/{name}.parquet", timestamp_field="t"),
        )
        for name in VIEWS
    ]
    store.apply([entity, *made])
    store.materialize(NOW - timedelta(days=1), NOW)
    wanted = [f"{name}:{name}_{each}" for name in VIEWS for each in FEATURES]

    def read(asked: list[int]) -> Any:
        return store.get_online_features(wanted, [{"id": number} for number in asked]).to_dict()

    assert None not in read([1, entities - 1])["c_f9"]
    gc.collect()
    gc.freeze()
    return {1: timed(read, entities, 1, 1000), 100: timed(read, entities, 100, 100)}


def beside_feast(folder: Path, entities: int) -> dict[int, Times]:
    import numpy as np

    home = environment("feast", *FEAST)
    print(f"Feast {version(home, 'feast')}, SQLite online, {entities:,} entities")
    for name in VIEWS:
        frame = rows_of(np.arange(entities), NOW - timedelta(hours=1))
        frame.rename({each: f"{name}_{each}" for each in FEATURES}).write_parquet(folder / f"{name}.parquet")
    command = [home / "bin/python", __file__, "--feast-files", folder, "--feast-entities", str(entities)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=plain_variables())
    found: dict[str, list[float]] = json.loads(done.stdout.splitlines()[-1])
    return {int(count): Times(*times) for count, times in found.items()}


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entities", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--feast-entities", type=int, default=20_000)
    parser.add_argument("--feast", action=argparse.BooleanOptionalAction, default=True, help="about 600 MB, once")
    parser.add_argument("--feast-files", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.feast_files:
        print(json.dumps(feast(options.feast_files, options.feast_entities)))
        return
    from trivet.features.online.lmdb import LmdbStore
    from trivet.features.online.redis import RedisStore

    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stores: dict[str, tuple[Any, Any]] = {"lmdb": (BareLmdb(folder / "bare"), LmdbStore(folder / "store"))}
        if shutil.which("redis-server"):
            port = stack.enter_context(redis_address())
            stores["redis"] = (BareRedis(port), RedisStore(f"redis://127.0.0.1:{port}/0"))
        fill(stores, options.entities)
        reads = {}
        for name, (bare, store) in stores.items():
            reads[f"{name} bare"] = bare.read
            reads[f"{name} rows"], reads[f"{name} vectors"] = ours(store)
            assert reads[f"{name} rows"]([1, 2]) == bare.read([1, 2])
        gc.collect()
        gc.freeze()
        found = measured(reads, options.entities, options.rounds)
        frame(*stores["lmdb"], options.entities)
        beside = beside_feast(folder, options.feast_entities) if options.feast else {}
        report(found, beside)


def fill(stores: dict[str, tuple[Any, Any]], entities: int) -> None:
    """The same rows everywhere, and what that costs from ``Row`` to the store."""
    taken: dict[str, list[float]] = {}
    for view in views():
        made = rows(view.name, entities)
        for name, pair in stores.items():
            for kind, store in zip(("bare", "trivet"), pair, strict=True):
                start = time.process_time()
                store.write(view.online_name, made)
                taken.setdefault(f"{name} {kind}", []).append(entities / (time.process_time() - start))
    for name in stores:
        bare, trivet = (statistics.median(taken[f"{name} {kind}"]) for kind in ("bare", "trivet"))
        print(f"write {name}, rows/s CPU: bare {bare:,.0f}   trivet {trivet:,.0f}   {bare / trivet:.2f}x the cost")


def frame(bare: BareLmdb, store: Any, entities: int, size: int = 100_000, rounds: int = 3) -> None:
    """A frame of entities, by CPU time."""
    import polars as pl

    from trivet.features import select_all
    from trivet.features.batch import read_frame
    from trivet.features.reader import FeatureReader

    asked = random.Random(size).choices(range(entities), k=size)
    keys, reader = pl.DataFrame({"id": asked}), FeatureReader(select_all(views(), full_names=True), store)

    def by_hand() -> pl.DataFrame:
        found = [pl.DataFrame([row.values for row in part], orient="row") for part in bare.read(asked)]
        return pl.concat(
            [each.rename(lambda name, n=n: f"{n}{name}") for n, each in enumerate(found)], how="horizontal"
        )

    def ours() -> pl.DataFrame:
        return read_frame(reader, keys, MOMENT)

    assert ours().drop("id").rows() == by_hand().rows()
    taken: dict[str, list[float]] = {}
    for _ in range(rounds):
        for name, call in (("bare", by_hand), ("trivet", ours)):
            start = time.process_time()
            call()
            taken.setdefault(name, []).append(time.process_time() - start)
    hand, trivet = (statistics.median(taken[name]) for name in ("bare", "trivet"))
    print(f"frame of {size:,} x 30, s CPU: bare {hand:.2f}   trivet {trivet:.2f}   {trivet / hand:.2f}x the cost")


def measured(reads: dict[str, Read], entities: int, rounds: int) -> dict[tuple[int, str], Times]:
    """Medians of the rounds."""
    taken: dict[tuple[int, str], list[Times]] = {}
    for _ in range(rounds):
        for count, repeats in ((1, 4000), (100, 400)):
            for name, read in reads.items():
                taken.setdefault((count, name), []).append(timed(read, entities, count, repeats))
    return {what: Times(*map(statistics.median, zip(*each, strict=True))) for what, each in taken.items()}


def report(found: dict[tuple[int, str], Times], beside: dict[int, Times]) -> None:
    print(f"{load()}\n{'entities':9}{'system':15}{'p50 us':>10}{'p99 us':>10}{'p99/p50 CPU':>13}{'x bare p50':>12}")
    kept = True
    for count in (1, 100):
        for (own, name), times in found.items():
            if own != count:
                continue
            ratio = times.p50 / found[count, f"{name.partition(' ')[0]} bare"].p50
            print(f"{count:<9}{name:15}{times.p50:10,.1f}{times.p99:10,.1f}{times.tail:13.1f}{ratio:12.2f}")
            kept = kept and (not name.endswith("rows") or (ratio <= AIM and times.tail <= TAIL))
        if beside:
            times = beside[count]
            ratio = times.p50 / found[count, "lmdb vectors"].p50
            line = f"{count:<9}{'feast':15}{times.p50:10,.1f}{times.p99:10,.1f}{times.tail:13.1f}{ratio:12.0f}"
            print(f"{line} times 'lmdb vectors'")
    said = "kept" if kept else "MISSED"
    print(f"aim: rows at most {AIM:g} times the bare store, p99 at most {TAIL:g} times p50: {said}")


if __name__ == "__main__":
    sys.exit(main())
