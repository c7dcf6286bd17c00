"""What Spark costs on one machine, where it cannot pay: three views of ten million rows, a spine of a million.

The same question to the local engine and to ``spark:local[2]``, once each after a small one that starts the session, in
an environment of its own with PySpark. The answers are compared bit for bit. No aim: for the record.

    python benchmarks/spark.py [ROWS] [SPINE]
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
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


def inside(rows: int, asked: int) -> None:
    import numpy as np
    import polars as pl

    from trivet.features import Entity, FeatureView, Source, count, latest, mean, select_all
    from trivet.features.engines.local import LocalEngine
    from trivet.features.engines.spark import open_engine
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
        begun = time.perf_counter()
        spark.point_in_time(spine.head(10), select_all(views[:1]), {"a": pl.read_parquet(path).head(10)}, time="t")
        print(f"session and first answer: {time.perf_counter() - begun:.1f} s")
        answers = {}
        for name, engine in {"local": LocalEngine(), "spark:local[2]": spark}.items():
            begun = time.perf_counter()
            answers[name] = engine.point_in_time(spine, select_all(views), data, time="t")
            print(
                f"{name:>15}: {time.perf_counter() - begun:.1f} s for {asked:,} rows, 3 views of {rows:,}, 9 features"
            )
        same = answers["local"].frame.equals(answers["spark:local[2]"].frame)
        print("the same bits and reports:", same and answers["local"].report == answers["spark:local[2]"].report)


if __name__ == "__main__":
    if sys.argv[1:2] == ["inside"]:
        inside(*(int(each) for each in sys.argv[2:4]))
    else:
        sizes = [each.replace(",", "").replace("_", "") for each in sys.argv[1:]]
        outside([*sizes, *["10000000", "1000000"][len(sizes) :]])
