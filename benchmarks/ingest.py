"""What it costs to ingest rows once each, beside a bare append of the same rows to a Delta table.

Batches of 250,000 rows with a key, a time and four values are written: by ``deltalake.write_deltalake``, which checks
nothing; by an ingest into a new table; by the same ingest again, when all rows are there; and by single rows, one
ingest each, the price of a small event. Each pass checks the number of rows before it counts.

Then 10,000 rows more come into a table of that many: with keys in the order of time, whose files the bounds of keys
exclude, and with keys of random text, of which all have to be looked at; and half of them once more, changed.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from _environment import load
from deltalake import DeltaTable, write_deltalake

import trivet as tv
from trivet.features.tables import EventTables

START = datetime(2026, 1, 1, tzinfo=UTC)


def batches(rows: int, size: int) -> Iterator[pl.DataFrame]:
    random = np.random.default_rng(0)
    for first in range(0, rows, size):
        ids = np.arange(first, min(first + size, rows))
        moments = pl.Series(ids * 1_000_000).cast(pl.Duration("us")) + START
        values = {f"v{n}": random.random(len(ids)) for n in range(3)}
        yield pl.DataFrame({"id": ids, "at": moments, "who": random.integers(0, 100_000, len(ids)), **values})


def named(rows: pl.DataFrame, kind: str) -> pl.DataFrame:
    """The same rows with other keys: as they are, or text without any order."""
    return rows if kind == "ordered" else rows.with_columns(id=(pl.col("id") + 7).hash(1).cast(pl.String))


def appended(tables: EventTables, kind: str, rows: int, size: int) -> None:
    """What 10,000 rows more cost, and then the same with half of them changed."""
    name, more = f"keys_{kind}", 10_000
    tables.ingest(name, (named(batch, kind) for batch in batches(rows, size)), key="id", event_time="at")
    fresh = named(pl.concat(batches(rows + more, rows + more)).tail(more), kind)
    wall, cpu = timed(lambda: tables.ingest(name, fresh))
    print(f"{f'10,000 more, {kind}':24} {wall:8.2f} {cpu:8.2f}")
    half = pl.when(pl.int_range(more) < more // 2).then(pl.col("v0") + 1).otherwise(pl.col("v0"))
    wall, cpu = timed(lambda: tables.ingest(name, fresh.with_columns(v0=half)))
    print(f"{'  half of them changed':24} {wall:8.2f} {cpu:8.2f}")
    assert tables.describe(name).rows == rows + more + more // 2


def timed(work: Callable[[], Any]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--size", type=int, default=250_000, help="rows of a batch")
    parser.add_argument("--append", type=int, default=10_000_000, help="rows of the table that 10,000 are added to")
    parser.add_argument("--small", type=int, default=300, help="ingests of one row")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        tables = EventTables(tv.open(folder).context)

        def bare() -> None:
            for batch in batches(options.rows, options.size):
                write_deltalake(str(folder / "bare"), batch.to_arrow(), mode="append")

        def ours() -> None:
            tables.ingest("events", batches(options.rows, options.size), key="id", event_time="at")

        def small() -> None:
            for n in range(options.small):
                tables.ingest("small", [{"id": n, "at": START + timedelta(seconds=n)}], key="id", event_time="at")

        passes = {"bare append": bare, "ingest, all new": ours, "ingest again": ours}
        print(load())
        print(f"{'pass':18} {'wall s':>8} {'CPU s':>8} {'rows/s':>12}")
        for name, work in passes.items():
            wall, cpu = timed(work)
            print(f"{name:18} {wall:8.2f} {cpu:8.2f} {options.rows / wall:12,.0f}")
        assert tables.describe("events").rows == DeltaTable(str(folder / "bare")).count() == options.rows
        wall, cpu = timed(small)
        print(f"{'one row an ingest':18} {wall:8.2f} {cpu:8.2f} {options.small / wall:12,.0f}")
        wall, cpu = timed(lambda: tables.erase("events", {"who": 7}, why="measured"))
        print(f"{'erase of one':18} {wall:8.2f} {cpu:8.2f} {options.rows / wall:12,.0f}")
        for kind in ("ordered", "random"):
            appended(tables, kind, options.append, options.size)
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MB")


if __name__ == "__main__":
    main()
