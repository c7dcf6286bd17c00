"""Point-in-time training sets: Trivet beside bare Polars, DuckDB, pandas and Feast on DuckDB (``--no-feast`` skips it).

Three views of six floats, a million hourly rows each over a thousand entities, Parquet; a spine of 100,000 rows; a
ttl of seven days. Each system runs in fresh processes; measured is from files on disk to the finished table in memory,
imports excluded. Every cell of every answer is compared with Trivet's. The systems take turns, so that a busy moment
of the machine hits all of them; medians. Feast runs once: it takes long, and its ratio leaves no doubt.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _environment import environment, load, plain_variables, version

VIEWS = "abc"
COLUMNS = [f"{view}_f{number}" for view in VIEWS for number in range(6)]
DAYS, SECOND = 90, 1_000_000
SYSTEMS = ("trivet", "polars", "duckdb", "pandas")
FEAST = ("feast[duckdb]==0.67.0", "duckdb<2")
AIM, AIM_MB = 1.5, 1000
"""Times the CPU time of Polars, and megabytes at the peak."""


def generate(folder: Path, rows: int, entities: int, spine: int) -> None:
    """Logs in the order of events; unique times per entity, so that every system must agree; a tenth stop early."""
    import numpy as np
    import polars as pl

    start = 1_735_689_600 * SECOND

    def when(values: Any) -> pl.Series:
        return pl.Series("event_timestamp", values).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")

    for seed, view in enumerate(VIEWS):
        random = np.random.default_rng(seed)
        each = rows // entities
        span = DAYS * 86_400 // each
        entity = np.repeat(np.arange(entities), each)
        at = (np.tile(np.arange(each), entities) * span + random.integers(0, span, entities * each)) * SECOND + start
        kept = ~((entity % 10 == 3) & (at > start + 30 * 86_400 * SECOND))
        order = np.argsort(at[kept], kind="stable")
        columns = {f"{view}_f{number}": random.standard_normal(kept.sum()) for number in range(6)}
        frame = pl.DataFrame({"entity_id": entity[kept][order], "event_timestamp": when(at[kept][order]), **columns})
        frame.write_parquet(folder / f"{view}.parquet", compression="snappy", row_group_size=131_072)
    random = np.random.default_rng(99)
    at = start + random.integers(0, DAYS * 86_400, spine) * SECOND
    keys = {"row_id": np.arange(spine), "entity_id": random.integers(0, entities, spine)}
    frame = pl.DataFrame({**keys, "event_timestamp": when(at), "label": random.integers(0, 2, spine)})
    frame.write_parquet(folder / "spine.parquet")


def trivet(folder: Path) -> Callable[[], Any]:
    import polars as pl

    import trivet.features as tv
    from trivet.features.engines.local import LocalEngine
    from trivet.features.sources import snapshots_of

    entity = tv.Entity("entity", key="entity_id")
    sources = [tv.Source(view, f"{view}.parquet", event_time="event_timestamp") for view in VIEWS]
    views = [
        tv.FeatureView(s.name, entity=entity, source=s, features=[f"{s.name}_f{n}" for n in range(6)], ttl="7d")
        for s in sources
    ]

    def run() -> Any:
        spine, data = pl.read_parquet(folder / "spine.parquet"), snapshots_of(sources, folder)
        return LocalEngine().point_in_time(spine, tv.select_all(views), data, time="event_timestamp").frame

    return run


def polars(folder: Path) -> Callable[[], Any]:
    import polars as pl

    def run() -> Any:
        spine = pl.scan_parquet(folder / "spine.parquet").sort("event_timestamp")
        for view in VIEWS:
            rows = pl.scan_parquet(folder / f"{view}.parquet").sort("event_timestamp")
            spine = spine.join_asof(
                rows, on="event_timestamp", by="entity_id", strategy="backward", tolerance="7d", check_sortedness=False
            )
        return spine.collect()

    return run


def duckdb(folder: Path) -> Callable[[], Any]:
    import duckdb

    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    cells = [
        f"CASE WHEN s.event_timestamp - {c[0]}.event_timestamp < INTERVAL 7 DAY THEN {c[0]}.{c} END AS {c}"
        for c in COLUMNS
    ]
    joins = [
        f"ASOF LEFT JOIN '{folder}/{view}.parquet' {view} ON s.entity_id = {view}.entity_id "
        f"AND s.event_timestamp >= {view}.event_timestamp"
        for view in VIEWS
    ]
    query = f"SELECT s.*, {', '.join(cells)} FROM '{folder}/spine.parquet' s {' '.join(joins)}"
    return lambda: connection.sql(query).to_arrow_table()


def pandas(folder: Path) -> Callable[[], Any]:
    import pandas as pd

    def run() -> Any:
        spine = pd.read_parquet(folder / "spine.parquet").sort_values("event_timestamp")
        for view in VIEWS:
            rows = pd.read_parquet(folder / f"{view}.parquet").sort_values("event_timestamp")
            spine = pd.merge_asof(spine, rows, on="event_timestamp", by="entity_id", tolerance=pd.Timedelta(days=7))
        return spine

    return run


def feast(folder: Path) -> Callable[[], Any]:
    from datetime import timedelta

    import pandas as pd
    from feast import Entity, FeatureStore, FeatureView, Field, FileSource, ValueType
    from feast.types import Float64

    home = Path(tempfile.mkdtemp(dir=folder))
    (home / "feature_store.yaml").write_text(
        f"project: p\nregistry: {home}/r.db\nprovider: local\nonline_store:\n  type: sqlite\n  path: {home}/o.db\n"
        "offline_store:\n  type: duckdb\nentity_key_serialization_version: 3\n"
    )
    store = FeatureStore(str(home))
    entity = Entity(name="entity", join_keys=["entity_id"], value_type=ValueType.INT64)
    views = [
        FeatureView(
            name=view,
            entities=[entity],
            ttl=timedelta(days=7),
            schema=[Field(name=f"{view}_f{n}", dtype=Float64) for n in range(6)],
            source=FileSource(path=f"{folder}/{view}.parquet", timestamp_field="event_timestamp"),
        )
        for view in VIEWS
    ]
    store.apply([entity, *views])
    wanted = [f"{column[0]}:{column}" for column in COLUMNS]
    return lambda: store.get_historical_features(pd.read_parquet(folder / "spine.parquet"), wanted).to_df()


def measure(system: str, folder: Path) -> dict[str, float]:
    """Run one system once in this process and leave its answer in the folder."""
    run = globals()[system](folder)
    cpu, wall = time.process_time(), time.perf_counter()
    answer = run()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    _table(answer).to_parquet(folder / f"answer_{system}.parquet")
    return {"wall_s": wall, "cpu_s": cpu, "peak_mb": peak, "rows": len(answer)}


def _table(answer: Any) -> Any:
    frame = answer if type(answer).__module__.startswith("pandas") else answer.to_pandas()
    return frame.set_index("row_id").sort_index()[COLUMNS]


def different(folder: Path, system: str) -> int:
    """How many of all cells differ from Trivet's, bit for bit, missing rows counted whole."""
    import pandas as pd

    ours, theirs = (pd.read_parquet(folder / f"answer_{name}.parquet") for name in ("trivet", system))
    same = (ours == theirs.reindex(ours.index)) | (ours.isna() & theirs.reindex(ours.index).isna())
    return int((~same).to_numpy().sum()) if len(ours) == len(theirs) else ours.size


def once(system: str, folder: Path, python: str) -> dict[str, float]:
    """What one run in a process of its own took."""
    command = [python, __file__, "--one", system, "--folder", str(folder)]
    variables = plain_variables() if system == "feast" else plain_variables("PYTHONPATH")
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=variables)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="of each view")
    parser.add_argument("--entities", type=int, default=1_000)
    parser.add_argument("--spine", type=int, default=100_000)
    parser.add_argument("--times", type=int, default=5, help="fresh processes per system")
    parser.add_argument("--feast", action=argparse.BooleanOptionalAction, default=True, help="about 600 MB, once")
    parser.add_argument("--json", action="store_true", help="one JSON line per system instead of a table")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one, options.folder)))
        return
    pythons = dict.fromkeys(SYSTEMS, sys.executable)
    if options.feast:
        home = environment("feast", *FEAST)
        pythons["feast"] = str(home / "bin/python")
        print(f"Feast {version(home, 'feast')} with DuckDB {version(home, 'duckdb')}")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        generate(folder, options.rows, options.entities, options.spine)
        taken: dict[str, list[dict[str, float]]] = {system: [] for system in pythons}
        for turn in range(options.times):
            for system, python in pythons.items():
                if system != "feast" or turn == 0:
                    taken[system].append(once(system, folder, python))
        results = [
            {"system": system, **medians(runs), "different_cells": different(folder, system)}
            for system, runs in taken.items()
        ]
    report(results, as_json=options.json)


def medians(runs: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}


def report(results: list[dict[str, Any]], *, as_json: bool) -> None:
    bare = next(each for each in results if each["system"] == "polars")["cpu_s"]
    if not as_json:
        print(load())
        print(
            f"{'system':8} {'wall s':>8} {'CPU s':>8} {'x Polars':>9} {'peak MB':>8} {'rows':>9} {'cells unlike':>12}"
        )
    for each in results:
        if as_json:
            print(json.dumps({**each, "times_polars": each["cpu_s"] / bare}))
            continue
        print(
            f"{each['system']:8} {each['wall_s']:8.2f} {each['cpu_s']:8.2f} {each['cpu_s'] / bare:9.2f} "
            f"{each['peak_mb']:8.0f} {each['rows']:9,.0f} {each['different_cells']:12,}"
        )
    if not as_json:
        ours = next(each for each in results if each["system"] == "trivet")
        kept = ours["cpu_s"] <= AIM * bare and ours["peak_mb"] < AIM_MB
        alike = not any(each["different_cells"] for each in results)
        print(
            f"aim: at most {AIM} times the CPU time of Polars, under {AIM_MB} MB, all cells alike: "
            f"{'kept' if kept and alike else 'MISSED'}"
        )


if __name__ == "__main__":
    main()
