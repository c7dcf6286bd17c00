"""Point-in-time training sets: Trivet beside bare Polars, DuckDB, pandas and Feast on DuckDB (``--no-feast`` skips it).

Three views of six floats, a million hourly rows each over a thousand entities, Parquet; a spine of 100,000 rows; a
ttl of seven days; one row in a hundred is a correction, with the key and the time of the row before it, and must win.
``--large`` has ten times of all. Each system runs in fresh processes; measured is from files on disk to the finished table
in memory, imports excluded. ``bounded`` is Trivet with ``memory="1GB"``: to a table on disk, in pieces where it takes them.
Every cell of every answer is compared with Trivet's. The systems take turns, so that a busy moment of the machine hits
all of them; medians. Feast runs once: it takes long, and its ratio leaves no doubt. It gets ``FEAST_GB`` of address space and
``FEAST_S``; where it needs more, it is asked for a tenth of the spine, and so is Trivet beside it, for the record.
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

from _environment import environment, load, peak_mb, plain_variables, version

VIEWS = "abc"
SPINE, TENTH = "spine.parquet", "tenth.parquet"
COLUMNS = [f"{view}_f{number}" for view in VIEWS for number in range(6)]
DAYS, SECOND = 90, 1_000_000
SYSTEMS = ("trivet", "polars", "duckdb", "pandas", "bounded")
FEAST = ("feast[duckdb]==0.67.0", "duckdb<2")
AIM, AIM_FEAST = 1.3, 10
"""Times the CPU time of the fastest bare engine, and how many times faster than Feast."""
BOUND_MB = 1000
"""What ``bounded`` may take."""
SMALL = {"rows": 1_000_000, "entities": 1_000, "spine": 100_000, "times": 5, "aim_mb": 1000}
LARGE = {"rows": 10_000_000, "entities": 10_000, "spine": 1_000_000, "times": 3, "aim_mb": 2500}
FEAST_GB, FEAST_S = 12, 900


def generate(folder: Path, rows: int, entities: int, spine: int) -> None:
    """Logs in the order of events; a tenth of the entities stop early; corrections come right after what they correct."""
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
        entity, at = entity[kept], at[kept]
        again = random.random(len(at)) < 0.01
        created = np.concatenate([at, at[again] + 3_600 * SECOND])
        entity, at = np.concatenate([entity, entity[again]]), np.concatenate([at, at[again]])
        order = np.argsort(at, kind="stable")
        columns = {f"{view}_f{number}": random.standard_normal(len(at)) for number in range(6)}
        keys = {"entity_id": entity[order], "event_timestamp": when(at[order]), "created": when(created[order])}
        frame = pl.DataFrame({**{name: pl.Series(name, values) for name, values in keys.items()}, **columns})
        frame.write_parquet(folder / f"{view}.parquet", compression="snappy", row_group_size=131_072)
    random = np.random.default_rng(99)
    at = start + random.integers(0, DAYS * 86_400, spine) * SECOND
    keys = {"row_id": np.arange(spine), "entity_id": random.integers(0, entities, spine)}
    frame = pl.DataFrame({**keys, "event_timestamp": when(at), "label": random.integers(0, 2, spine)})
    frame.write_parquet(folder / "spine.parquet")
    frame.head(spine // 10).write_parquet(folder / "tenth.parquet")


def _declared() -> tuple[list[Any], list[Any]]:
    """Sources and views. The last of equal rows wins, and that is the correction."""
    import trivet.features as tv

    entity = tv.Entity("entity", key="entity_id")
    sources = [tv.Source(view, f"{view}.parquet", event_time="event_timestamp") for view in VIEWS]
    views = [
        tv.FeatureView(s.name, entity=entity, source=s, features=[f"{s.name}_f{n}" for n in range(6)], ttl="7d")
        for s in sources
    ]
    return sources, views


def trivet(folder: Path, spine: str) -> Callable[[], Any]:
    import polars as pl

    import trivet.features as tv
    from trivet.features.engines.local import LocalEngine
    from trivet.features.sources import snapshots_of

    sources, views = _declared()

    def run() -> Any:
        asked, data = pl.read_parquet(folder / spine), snapshots_of(sources, folder)
        return LocalEngine().point_in_time(asked, tv.select_all(views), data, time="event_timestamp").frame

    return run


def bounded(folder: Path, spine: str) -> Callable[[], Any]:
    import polars as pl

    from trivet.features.sources import snapshots_of
    from trivet.features.training_set import build

    sources, views = _declared()

    def run() -> Any:
        asked, data = pl.scan_parquet(folder / spine), snapshots_of(sources, folder)
        by_name = {view.name: view for view in views}
        wanted = [f"{name}:*" for name in by_name]
        return build(asked, data, by_name, features=wanted, time="event_timestamp", memory=f"{BOUND_MB}MB")

    return run


def polars(folder: Path, spine: str) -> Callable[[], Any]:
    import polars as pl

    def run() -> Any:
        answer = pl.scan_parquet(folder / spine).sort("event_timestamp")
        for view in VIEWS:
            rows = pl.scan_parquet(folder / f"{view}.parquet").drop("created")
            rows = rows.sort("event_timestamp", maintain_order=True)
            answer = answer.join_asof(
                rows, on="event_timestamp", by="entity_id", strategy="backward", tolerance="7d", check_sortedness=False
            )
        return answer.collect()

    return run


def duckdb(folder: Path, spine: str) -> Callable[[], Any]:
    import duckdb

    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    cells = [
        f"CASE WHEN s.event_timestamp - {c[0]}.event_timestamp < INTERVAL 7 DAY THEN {c[0]}.{c} END AS {c}"
        for c in COLUMNS
    ]
    last = "QUALIFY row_number() OVER (PARTITION BY entity_id, event_timestamp ORDER BY created DESC) = 1"
    joins = [
        f"ASOF LEFT JOIN (SELECT * FROM '{folder}/{view}.parquet' {last}) {view} ON s.entity_id = {view}.entity_id "
        f"AND s.event_timestamp >= {view}.event_timestamp"
        for view in VIEWS
    ]
    query = f"SELECT s.*, {', '.join(cells)} FROM '{folder}/{spine}' s {' '.join(joins)}"
    return lambda: connection.sql(query).to_arrow_table()


def pandas(folder: Path, spine: str) -> Callable[[], Any]:
    import pandas as pd

    def run() -> Any:
        answer = pd.read_parquet(folder / spine).sort_values("event_timestamp")
        for view in VIEWS:
            rows = pd.read_parquet(folder / f"{view}.parquet", columns=["entity_id", "event_timestamp", *_of(view)])
            rows = rows.sort_values("event_timestamp", kind="stable")
            answer = pd.merge_asof(answer, rows, on="event_timestamp", by="entity_id", tolerance=pd.Timedelta(days=7))
        return answer

    return run


def _of(view: str) -> list[str]:
    return [column for column in COLUMNS if column[0] == view]


def feast(folder: Path, spine: str) -> Callable[[], Any]:
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
            source=FileSource(
                path=f"{folder}/{view}.parquet", timestamp_field="event_timestamp", created_timestamp_column="created"
            ),
        )
        for view in VIEWS
    ]
    store.apply([entity, *views])
    wanted = [f"{column[0]}:{column}" for column in COLUMNS]
    return lambda: store.get_historical_features(pd.read_parquet(folder / spine), wanted).to_df()


def measure(system: str, folder: Path, spine: str) -> dict[str, float]:
    """Run one system once in this process and leave its answer in the folder."""
    if system == "feast":
        resource.setrlimit(resource.RLIMIT_AS, (FEAST_GB << 30, FEAST_GB << 30))
    run = globals()[system](folder, spine)
    cpu, wall = time.process_time(), time.perf_counter()
    answer = run()
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    peak = peak_mb()
    _table(answer).to_parquet(folder / f"{system}_{spine}")
    return {"wall_s": wall, "cpu_s": cpu, "peak_mb": peak, "rows": len(answer)}


def _table(answer: Any) -> Any:
    frame = answer if type(answer).__module__.startswith("pandas") else answer.to_pandas()
    return frame.set_index("row_id").sort_index()[COLUMNS]


def different(folder: Path, system: str, spine: str) -> int:
    """How many of all cells differ from Trivet's, bit for bit, missing rows counted whole."""
    import pandas as pd

    ours, theirs = (pd.read_parquet(folder / f"{name}_{spine}") for name in ("trivet", system))
    same = (ours == theirs.reindex(ours.index)) | (ours.isna() & theirs.reindex(ours.index).isna())
    return int((~same).to_numpy().sum()) if len(ours) == len(theirs) else ours.size


def once(system: str, folder: Path, python: str = sys.executable, spine: str = SPINE) -> dict[str, float]:
    """What one run in a process of its own took."""
    command = [python, __file__, "--one", system, "--folder", str(folder), "--asked", spine]
    variables = plain_variables() if system == "feast" else plain_variables("PYTHONPATH")
    patience, silent = (FEAST_S, subprocess.DEVNULL) if system == "feast" else (None, None)
    out = subprocess.PIPE
    done = subprocess.run(command, check=True, stdout=out, stderr=silent, env=variables, timeout=patience)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def beside_feast(folder: Path, python: str) -> list[dict[str, Any]]:
    """Feast's row of the table, and where it was asked for a tenth only, Trivet's for the same."""
    try:
        return [
            {"system": "feast", **once("feast", folder, python), "different_cells": different(folder, "feast", SPINE)}
        ]
    except subprocess.TimeoutExpired:
        why = f"did not finish within {FEAST_S} s"
    except subprocess.CalledProcessError as exc:
        why = f"did not finish with {FEAST_GB} GB (it ended with {exc.returncode})"
    print(f"Feast {why}. Asked for a tenth of the spine:")
    try:
        rows = {name: once(name, folder, each, TENTH) for name, each in (("trivet", sys.executable), ("feast", python))}
    except (subprocess.TimeoutExpired, subprocess.CalledProcessError) as exc:
        print(f"Feast did not finish that either: {type(exc).__name__}")
        return []
    cells = {"trivet": 0, "feast": different(folder, "feast", TENTH)}
    return [{"system": f"{name}/10", **row, "different_cells": cells[name]} for name, row in rows.items()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--large", action="store_true", help="ten million rows of each view and a spine of a million")
    parser.add_argument("--rows", type=int, help="of each view")
    parser.add_argument("--entities", type=int)
    parser.add_argument("--spine", type=int)
    parser.add_argument("--times", type=int, help="fresh processes per system")
    parser.add_argument("--aim-mb", type=int, help="megabytes at the peak")
    parser.add_argument("--feast", action=argparse.BooleanOptionalAction, default=True, help="about 600 MB, once")
    parser.add_argument("--json", action="store_true", help="one JSON line per system instead of a table")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--asked", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one, options.folder, options.asked)))
        return
    given = {name: value for name in SMALL if (value := getattr(options, name)) is not None}
    sizes = {**(LARGE if options.large else SMALL), **given}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        generate(folder, sizes["rows"], sizes["entities"], sizes["spine"])
        taken: dict[str, list[dict[str, float]]] = {system: [] for system in SYSTEMS}
        for _ in range(sizes["times"]):
            for system, runs in taken.items():
                runs.append(once(system, folder))
        results = [
            {"system": system, **medians(runs), "different_cells": different(folder, system, SPINE)}
            for system, runs in taken.items()
        ]
        if options.feast:
            home = environment("feast", *FEAST)
            print(f"Feast {version(home, 'feast')} with DuckDB {version(home, 'duckdb')}")
            results += beside_feast(folder, str(home / "bin/python"))
    report(results, sizes, as_json=options.json)


def medians(runs: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}


def report(results: list[dict[str, Any]], sizes: dict[str, int], *, as_json: bool) -> None:
    found = {each["system"]: each for each in results}
    bare = found["polars"]["cpu_s"]
    if as_json:
        for each in results:
            print(json.dumps({**each, "times_polars": each["cpu_s"] / bare}))
        return
    print(f"3 views of {sizes['rows']:,} rows, a spine of {sizes['spine']:,}; {load()}")
    print(f"{'system':9} {'wall s':>8} {'CPU s':>8} {'x Polars':>9} {'peak MB':>8} {'rows':>9} {'cells unlike':>12}")
    for each in results:
        print(
            f"{each['system']:9} {each['wall_s']:8.2f} {each['cpu_s']:8.2f} {each['cpu_s'] / bare:9.2f} "
            f"{each['peak_mb']:8.0f} {each['rows']:9,.0f} {each['different_cells']:12,}"
        )
    fastest = min(found[name]["cpu_s"] for name in ("polars", "duckdb", "pandas"))
    kept = found["trivet"]["cpu_s"] <= AIM * fastest and found["trivet"]["peak_mb"] < sizes["aim_mb"]
    kept = kept and found["bounded"]["peak_mb"] < BOUND_MB and not any(each["different_cells"] for each in results)
    kept = kept and ("feast" not in found or found["feast"]["cpu_s"] >= AIM_FEAST * found["trivet"]["cpu_s"])
    print(
        f"aim: at most {AIM} times the CPU time of the fastest bare engine, {AIM_FEAST} times faster than Feast, under "
        f"{sizes['aim_mb']} MB and in pieces under {BOUND_MB}, all cells alike: {'kept' if kept else 'MISSED'}"
    )


if __name__ == "__main__":
    main()
