"""A million values onto a grid of minutes: ``project.series.read`` beside pandas, from files on disk to a table in memory.

The newest value at or before each minute, and the mean of a day before each minute. pandas reads a sorted Parquet file
and knows no corrections; Trivet reads a table of events and decides what is known. Systems take turns in processes of
their own, imports excluded; CPU seconds, medians. The filled values must be equal, the means within a millionth.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _environment import load, plain_variables

SYSTEMS = ("trivet", "pandas")
ROWS, START = 1_000_000, 1_735_689_600


def generate(folder: Path, rows: int) -> dict[str, float]:
    """Values at different seconds, a minute apart on average, as a file and as a series; how long it took to write."""
    import numpy as np
    import pandas as pd

    import trivet as tv

    random = np.random.default_rng(10)
    seconds = START + np.unique(random.integers(0, rows * 60, rows))
    index = pd.DatetimeIndex(pd.to_datetime(seconds, unit="s", utc=True), name="time")
    frame = pd.DataFrame({"x": random.standard_normal(len(index))}, index=index)
    frame.to_parquet(folder / "x.parquet")
    took = {}
    with tv.open(folder) as project:
        for what in ("write", "write_again"):
            begin = time.process_time()
            project.series.write("bench", frame)
            took[what] = time.process_time() - begin
    return took


def trivet(folder: Path) -> dict[str, Callable[[], Any]]:
    import trivet as tv

    project = tv.open(folder)
    wanted: dict[str, Any] = {"previous": "bench:x", "mean": {"x": tv.mean("bench:x", "1d")}}

    def reading(what: str) -> Callable[[], Any]:
        def run() -> Any:
            return project.series.read(wanted[what], freq="1m")["x"].to_numpy()

        return run

    return {what: reading(what) for what in wanted}


def pandas(folder: Path) -> dict[str, Callable[[], Any]]:
    import pandas as pd

    def grid(values: Any) -> Any:
        first, last = values.index[0].ceil("1min"), values.index[-1].ceil("1min")
        return pd.date_range(first, last, freq="1min")

    def previous() -> Any:
        values = pd.read_parquet(folder / "x.parquet")["x"]
        return values.reindex(grid(values), method="ffill").to_numpy()

    def mean() -> Any:
        """Windows at moments without a row: rows of nothing are put in for them."""
        values = pd.read_parquet(folder / "x.parquet")["x"]
        moments = grid(values)
        both = pd.concat([values, pd.Series(index=moments.difference(values.index), dtype=float)]).sort_index()
        return both.rolling("1D", closed="left").mean().reindex(moments).to_numpy()

    return {"previous": previous, "mean": mean}


def measure(system: str, folder: Path) -> None:
    """One turn of one system, printed as JSON; answers are kept for comparison."""
    import numpy as np

    took = {}
    for what, run in {"trivet": trivet, "pandas": pandas}[system](folder).items():
        begin = time.process_time()
        answer = run()
        took[what] = time.process_time() - begin
        np.save(folder / f"{system}-{what}.npy", answer)
    print(json.dumps(took))


def main() -> None:
    """Write, take turns, compare, print."""
    import numpy as np

    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rows", type=int, default=ROWS)
    options.add_argument("--turns", type=int, default=3)
    options.add_argument("--measure", nargs=2, metavar=("SYSTEM", "FOLDER"), help=argparse.SUPPRESS)
    asked = options.parse_args()
    if asked.measure:
        measure(asked.measure[0], Path(asked.measure[1]))
        return
    with tempfile.TemporaryDirectory() as name:
        folder, times = Path(name), {system: [] for system in SYSTEMS}  # type: dict[str, list[dict[str, float]]]
        wrote = generate(folder, asked.rows)
        for _ in range(asked.turns):
            for system in SYSTEMS:
                call = [sys.executable, __file__, "--measure", system, name]
                done = subprocess.run(
                    call, check=True, capture_output=True, text=True, env=plain_variables("PYTHONPATH")
                )
                times[system].append(json.loads(done.stdout.splitlines()[-1]))
        for what in ("previous", "mean"):
            ours, theirs = (np.load(folder / f"{system}-{what}.npy") for system in SYSTEMS)
            np.testing.assert_allclose(
                ours, theirs, rtol=1e-6 if what == "mean" else 0, atol=1e-9 if what == "mean" else 0
            )
        median = {
            system: {what: round(statistics.median(turn[what] for turn in turns), 3) for what in turns[0]}
            for system, turns in times.items()
        }
        print(
            json.dumps({"rows": asked.rows, "load": load(), "cpu_seconds": median | {"trivet_writes": wrote}}, indent=2)
        )


if __name__ == "__main__":
    main()
