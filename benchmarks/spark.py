"""What Spark costs on one machine, where it cannot pay: three views of ten million rows, a spine of a million.

The same questions to the local engine and to ``spark:local[2]``, once each after a small one that starts the session, in
an environment of its own with PySpark: a training set, an LMDB store filled afresh, and the same store moved forward by a day.
CPU is that of this process, of Spark's and of those that it starts. Answers and stores are compared bit for bit. No aim:
for the record.

    python benchmarks/spark.py [ROWS] [SPINE]
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NEEDED = ["pandas>=2.2,<3", "pyspark>=4,<5"]


def outside(arguments: list[str]) -> None:
    import tomllib

    from _environment import environment, load, plain_variables

    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    needed = [*project["dependencies"], *project["optional-dependencies"]["features"], *NEEDED]
    python = environment("spark-bench", *needed) / "bin" / "python"
    print(load())
    variables = plain_variables() | {"PYTHONPATH": str(ROOT / "src")}
    subprocess.run([python, __file__, "inside", *arguments], check=True, env=variables)


def cpu_seconds() -> float:
    """What this process and all below it have used, those that ended too."""
    ticks: dict[int, int] = {}
    parents: dict[int, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            _, _, numbers = path.read_text().rpartition(") ")
        except OSError:  # it ended meanwhile
            continue
        fields = numbers.split()
        parents[int(path.parent.name)] = int(fields[1])
        ticks[int(path.parent.name)] = sum(map(int, fields[11:15]))
    ours = {os.getpid()}
    while more := {process for process, parent in parents.items() if parent in ours} - ours:
        ours |= more
    return sum(ticks[process] for process in ours) / os.sysconf("SC_CLK_TCK")


@contextmanager
def timed(engine: str, what: str):
    wall, cpu = time.perf_counter(), cpu_seconds()
    yield
    print(
        f"{engine:>15}: {time.perf_counter() - wall:6.1f} s wall, {cpu_seconds() - cpu:6.1f} s CPU, {what}", flush=True
    )


def inside(rows: int, asked: int) -> None:
    import lmdb
    import numpy as np
    import polars as pl

    from trivet.features import Entity, FeatureView, Source, count, latest, mean, select_all
    from trivet.features.engines.local import LocalEngine
    from trivet.features.engines.spark import open_engine
    from trivet.features.materialize import Materializer
    from trivet.features.online.lmdb import LmdbStore
    from trivet.features.sources import snapshots_of

    random, start = np.random.default_rng(0), datetime(2013, 1, 1, tzinfo=UTC)

    def moments(n: int) -> pl.Series:
        micros = random.integers(0, 365 * 86_400_000_000, n) + int(start.timestamp()) * 1_000_000
        return pl.Series(micros).cast(pl.Datetime("us", "UTC"))

    with tempfile.TemporaryDirectory() as folder:
        views = []
        for name in "abc":
            path = Path(folder, f"{name}.parquet")
            pl.DataFrame(
                {"key": random.integers(0, rows // 100, rows), "at": moments(rows), "x": random.normal(size=rows)}
            ).write_parquet(path)
            features = {f"x_{name}": latest("x", ttl="30d"), f"n_{name}": count("7d"), f"m_{name}": mean("x", "7d")}
            source = Source(name, str(path), event_time="at")
            views.append(FeatureView(name, entity=Entity("key"), source=source, features=features))
        spine = pl.DataFrame({"key": random.integers(0, rows // 100, asked), "t": moments(asked)})
        spark, data = open_engine("spark:local[2]", Path()), snapshots_of([view.source for view in views])
        with timed("spark:local[2]", "session and first answer"):
            first = {"a": pl.read_parquet(path).head(10)}
            spark.point_in_time(spine.head(10), select_all(views[:1]), first, time="t")
        answers, stores = {}, {}
        for name, engine in {"local": LocalEngine(), "spark:local[2]": spark}.items():
            with timed(name, f"training set of {asked:,} rows, 3 views of {rows:,}, 9 features"):
                answers[name] = engine.point_in_time(spine, select_all(views), data, time="t")
            place = Path(folder, name.partition(":")[0])
            for what, day in (("filled afresh", 300), ("a day later", 301)):
                store = LmdbStore(place)
                with timed(name, f"online store {what}, 3 views of {rows // 100:,} keys, read anew"):
                    written = Materializer(views, data, store, engine).advance(start + timedelta(days=day))
                store.close()
                print(f"{'':>17}{sum(written.values()):,} rows written")
            with lmdb.open(str(place), readonly=True) as environment, environment.begin() as transaction:
                stores[name] = dict(transaction.cursor())
        same = answers["local"].frame.equals(answers["spark:local[2]"].frame)
        print("the same bits and reports:", same and answers["local"].report == answers["spark:local[2]"].report)
        print(f"the same bytes in {len(stores['local']):,} places:", stores["local"] == stores["spark:local[2]"])


if __name__ == "__main__":
    if sys.argv[1:2] == ["inside"]:
        inside(*(int(each) for each in sys.argv[2:4]))
    else:
        sizes = [each.replace(",", "").replace("_", "") for each in sys.argv[1:]]
        outside([*sizes, *["10000000", "1000000"][len(sizes) :]])
