"""Windows of an hour, a day and a week at once: Trivet beside the best bare plans of Polars and DuckDB.

Count, sum and mean of one float over ``[t - w, t)`` for each row of a spine; events in the order of time over 90 days.
Polars: prefix sums for each entity and one ``join_asof`` for each end of a window, the fastest plan that we know.
DuckDB: the same with ``ASOF JOIN``. Each system runs in fresh processes and they take turns; measured is from files on disk to
the finished table in memory, imports excluded; medians. Counts must be equal and sums within a billionth, since differences
of float prefix sums are not exact and Trivet's are. Then Trivet must answer the same bits on 1, 2 and 4 threads, and
``--growth`` shows how CPU time grows from 100,000 events to ten million, with a tenth of them in the spine.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _environment import load, peak_mb, plain_variables

WINDOWS = ("1h", "1d", "7d")
COLUMNS = [f"{what}_{window}" for what in ("n", "s", "m") for window in WINDOWS]
SYSTEMS = ("trivet", "polars", "duckdb")
DAYS, SECOND = 90, 1_000_000
AIM = 1.3
"""Times the CPU time of Polars."""
GROWTH = ((100_000, 10_000), (1_000_000, 100_000), (10_000_000, 1_000_000))


def generate(folder: Path, rows: int, spine: int) -> None:
    """A thousand events for each entity, in the order of time as logs are, and a spine in any order."""
    import numpy as np
    import polars as pl

    random, entities, start = np.random.default_rng(10), max(rows // 1_000, 1), 1_735_689_600 * SECOND

    def when(size: int) -> Any:
        return start + random.integers(0, DAYS * 86_400, size) * SECOND

    def frame(size: int, at: Any, **columns: Any) -> pl.DataFrame:
        times = pl.Series(at).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
        return pl.DataFrame({"entity_id": random.integers(0, entities, size), "t": times, **columns})

    events = frame(rows, np.sort(when(rows)), x=random.standard_normal(rows))
    events.write_parquet(folder / "events.parquet", compression="snappy", row_group_size=131_072)
    frame(spine, when(spine), row_id=np.arange(spine)).write_parquet(folder / "spine.parquet")


def trivet(folder: Path) -> Callable[[], Any]:
    import polars as pl

    import trivet.features as tv
    from trivet.features.engines.local import LocalEngine
    from trivet.features.sources import snapshots_of

    source = tv.Source("events", "events.parquet", event_time="t")
    windows = list(WINDOWS)
    features = {"n": tv.count(windows), "s": tv.sum("x", windows), "m": tv.mean("x", windows)}
    view = tv.FeatureView("windows", entity=tv.Entity("entity", key="entity_id"), source=source, features=features)

    def run() -> Any:
        spine, data = pl.read_parquet(folder / "spine.parquet"), snapshots_of([source], folder)
        return LocalEngine().point_in_time(spine, tv.select_all([view]), data, time="t").frame

    return run


def polars(folder: Path) -> Callable[[], Any]:
    import polars as pl

    def run() -> Any:
        sums = pl.scan_parquet(folder / "events.parquet").sort("entity_id", "t")
        running = {"c": pl.int_range(1, pl.len() + 1).over("entity_id"), "q": pl.col("x").cum_sum().over("entity_id")}
        prefix = sums.with_columns(**running).drop("x").sort("t").collect().lazy()
        spine = pl.scan_parquet(folder / "spine.parquet").sort("t")
        before = {"by": "entity_id", "allow_exact_matches": False, "check_sortedness": False}
        answer = spine.join_asof(prefix, on="t", **before)
        for window in WINDOWS:
            there = prefix.rename({"t": "then", "c": f"c_{window}", "q": f"q_{window}"})
            answer = answer.with_columns(then=pl.col("t").dt.offset_by(f"-{window}"))
            answer = answer.join_asof(there, on="then", **before).drop("then")
        counts = {f"n_{w}": pl.col("c").fill_null(0) - pl.col(f"c_{w}").fill_null(0) for w in WINDOWS}
        totals = {
            f"s_{w}": pl.when(pl.col(f"n_{w}") > 0).then(pl.col("q") - pl.col(f"q_{w}").fill_null(0)) for w in WINDOWS
        }
        means = {f"m_{w}": pl.col(f"s_{w}") / pl.col(f"n_{w}") for w in WINDOWS}
        answer = answer.with_columns(**counts).with_columns(**totals).with_columns(**means)
        return answer.select("row_id", *COLUMNS).collect()

    return run


def duckdb(folder: Path) -> Callable[[], Any]:
    import duckdb

    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    counts = [f"coalesce(h.c, 0) - coalesce(p{w}.c, 0) AS n_{w}" for w in WINDOWS]
    totals = [f"CASE WHEN n_{w} > 0 THEN h.q - coalesce(p{w}.q, 0) END AS s_{w}" for w in WINDOWS]
    means = [f"s_{w} / nullif(n_{w}, 0) AS m_{w}" for w in WINDOWS]
    ends = ", ".join(f"t - INTERVAL '{w[:-1]} {'hour' if w[-1] == 'h' else 'day'}' AS t{w}" for w in WINDOWS)
    joins = [f"ASOF LEFT JOIN p p{w} ON s.entity_id = p{w}.entity_id AND s.t{w} > p{w}.t" for w in WINDOWS]
    query = (
        "WITH p AS MATERIALIZED (SELECT entity_id, t, row_number() OVER k AS c, sum(x) OVER k AS q "
        f"FROM '{folder}/events.parquet' WINDOW k AS (PARTITION BY entity_id ORDER BY t ROWS UNBOUNDED PRECEDING)), "
        f"s AS (SELECT *, {ends} FROM '{folder}/spine.parquet') "
        f"SELECT row_id, {', '.join([*counts, *totals, *means])} FROM s "
        f"ASOF LEFT JOIN p h ON s.entity_id = h.entity_id AND s.t > h.t {' '.join(joins)}"
    )
    return lambda: connection.sql(query).pl()


def measure(system: str, folder: Path) -> dict[str, Any]:
    """Run one system once in this process and leave its answer in the folder."""
    run = globals()[system](folder)
    cpu, wall = time.process_time(), time.perf_counter()
    answer = run()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    peak = peak_mb()
    answer = answer.sort("row_id").select(COLUMNS)
    answer.write_parquet(folder / f"answer_{system}.parquet")
    digest = hashlib.sha256()
    for column in answer:
        digest.update(column.fill_null(-7).to_numpy().tobytes())
    return {"wall_s": wall, "cpu_s": cpu, "peak_mb": peak, "rows": len(answer), "bits": digest.hexdigest()}


def different(folder: Path, system: str) -> int:
    """How many cells differ from Trivet's: counts by one, sums and means by more than a billionth."""
    import polars as pl

    ours, theirs = (pl.read_parquet(folder / f"answer_{name}.parquet") for name in ("trivet", system))
    if len(ours) != len(theirs):
        return int(ours.height * ours.width)
    far = [(ours[name] - theirs[name]).abs() > 1e-9 for name in COLUMNS]
    holes = [ours[name].is_null() != theirs[name].is_null() for name in COLUMNS]
    return sum(int(column.sum()) for column in (*far, *holes))


def once(system: str, folder: Path, threads: int | None = None) -> dict[str, Any]:
    """What one run in a process of its own took."""
    command = [sys.executable, __file__, "--one", system, "--folder", str(folder)]
    variables = plain_variables("PYTHONPATH")
    if threads:
        variables |= {"POLARS_MAX_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=variables)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def compare(folder: Path, times: int) -> list[dict[str, Any]]:
    """All systems in turn; medians."""
    taken: dict[str, list[dict[str, Any]]] = {system: [] for system in SYSTEMS}
    for _ in range(times):
        for system in SYSTEMS:
            taken[system].append(once(system, folder))
    measured = ("wall_s", "cpu_s", "peak_mb", "rows")
    return [
        {
            "system": system,
            **{name: statistics.median(run[name] for run in runs) for name in measured},
            "different_cells": different(folder, system),
            "ways": len({run["bits"] for run in runs}),
        }
        for system, runs in taken.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="events")
    parser.add_argument("--spine", type=int, default=100_000)
    parser.add_argument("--times", type=int, default=5, help="fresh processes per system")
    parser.add_argument("--growth", action="store_true", help="100,000 to ten million events; needs 3 GB")
    parser.add_argument("--json", action="store_true", help="one JSON line per system instead of a table")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one, options.folder)))
        return
    sizes = GROWTH if options.growth else [(options.rows, options.spine)]
    for rows, spine in sizes:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            generate(folder, rows, spine)
            results = compare(folder, options.times)
            bits = {once("trivet", folder, threads)["bits"] for threads in (1, 2, 4)}
        report(results, rows, spine, len(bits), as_json=options.json)


def report(results: list[dict[str, Any]], rows: int, spine: int, ways: int, *, as_json: bool) -> None:
    bare = next(each for each in results if each["system"] == "polars")["cpu_s"]
    if as_json:
        for each in results:
            print(json.dumps({"events": rows, "spine": spine, **each, "times_polars": each["cpu_s"] / bare}))
        return
    print(f"{rows:,} events, {spine:,} rows of spine; {load()}")
    print(
        f"{'system':8} {'wall s':>8} {'CPU s':>8} {'x Polars':>9} {'peak MB':>8} {'cells unlike':>12} {'different runs':>15}"
    )
    for each in results:
        print(
            f"{each['system']:8} {each['wall_s']:8.2f} {each['cpu_s']:8.2f} {each['cpu_s'] / bare:9.2f} "
            f"{each['peak_mb']:8.0f} {each['different_cells']:12,} {each['ways']:15,}"
        )
    ours = next(each for each in results if each["system"] == "trivet")
    alike = not any(each["different_cells"] for each in results) and ways == ours["ways"] == 1
    print(
        f"aim: at most {AIM} times the CPU time of Polars, the same bits on 1, 2 and 4 threads and in each run: "
        f"{'kept' if ours['cpu_s'] <= AIM * bare and alike else 'MISSED'}"
    )


if __name__ == "__main__":
    main()
