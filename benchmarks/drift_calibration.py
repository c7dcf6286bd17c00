"""How often drift is called where there is none, and how often it is found where there is some.

Run ``python benchmarks/drift_calibration.py [windows]``. Every window has twenty columns: normal, log-normal, uniform,
skewed counts, three and twenty categories, with and without nulls. A *false alarm* is a window without drift in
which any column is called drifted; *found* is the share of windows in which the one shifted column is called.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
import polars as pl

from trivet.monitoring.drift import drift, profile

REFERENCE = 10_000
SIZES = (100, 200, 500, 1_000, 5_000, 20_000)
Change = Callable[[pl.DataFrame, np.random.Generator], pl.DataFrame]


def window(rows: int, generator: np.random.Generator) -> pl.DataFrame:
    """Rows of twenty columns from a law that never changes."""
    columns: dict[str, pl.Series] = {}
    for index in range(4):
        columns[f"normal{index}"] = pl.Series(generator.normal(size=rows))
        columns[f"lognormal{index}"] = pl.Series(generator.lognormal(size=rows))
        columns[f"count{index}"] = pl.Series(generator.poisson(1.5, rows))
        columns[f"three{index}"] = pl.Series(generator.choice(["a", "b", "c"], rows, p=[0.6, 0.3, 0.1]))
        columns[f"twenty{index}"] = pl.Series(generator.zipf(1.6, rows).clip(max=20).astype(str))
    frame = pl.DataFrame(columns)
    gone = pl.Series(generator.random(rows) < 0.05)
    return frame.with_columns(pl.when(gone).then(None).otherwise(pl.col("^.*0$")).name.keep())


CHANGES: dict[str, tuple[str, Change]] = {
    "a normal column moves by 0.25 standard deviations": (
        "normal1",
        lambda frame, _: frame.with_columns(pl.col("normal1") + 0.25),
    ),
    "... by 0.5 standard deviations": ("normal1", lambda frame, _: frame.with_columns(pl.col("normal1") + 0.5)),
    "... by 1 standard deviation": ("normal1", lambda frame, _: frame.with_columns(pl.col("normal1") + 1.0)),
    "a normal column's spread doubles": ("normal1", lambda frame, _: frame.with_columns(pl.col("normal1") * 2)),
    "a category goes from 10 % to 30 %": (
        "three1",
        lambda frame, generator: frame.with_columns(
            three1=pl.Series(generator.choice(["a", "b", "c"], len(frame), p=[0.45, 0.25, 0.30]))
        ),
    ),
    "nulls go from 0 % to 5 %": (
        "normal1",
        lambda frame, generator: frame.with_columns(
            normal1=pl.when(pl.Series(generator.random(len(frame)) < 0.05)).then(None).otherwise("normal1")
        ),
    ),
}


def false_alarms(rows: int, windows: int, *, reference: int = REFERENCE, seed: int = 0) -> float:
    """The share of windows without drift in which any column is called drifted."""
    generator = np.random.default_rng(seed)
    alarms = 0
    for _ in range(windows):
        remembered = profile(window(reference, generator))
        alarms += any(found.verdict == "drift" for found in drift(remembered, window(rows, generator)))
    return alarms / windows


def found(rows: int, windows: int, change: str, *, seed: int = 0) -> float:
    """The share of windows with the change in which its column is called drifted."""
    generator = np.random.default_rng(seed)
    remembered = profile(window(REFERENCE, generator))
    column, apply = CHANGES[change]
    hits = 0
    for _ in range(windows):
        judged = drift(remembered, apply(window(rows, generator), generator))
        hits += any(each.column == column and each.verdict == "drift" for each in judged)
    return hits / windows


def main(windows: int = 200) -> None:
    """Print both tables in Markdown."""
    head = " | ".join(f"{size:,}" for size in SIZES)
    print(f"| rows in the window | {head} |\n|---|{'---|' * len(SIZES)}")
    for reference in (500, REFERENCE):
        rates = " | ".join(f"{false_alarms(size, windows, reference=reference):.1%}" for size in SIZES)
        print(f"| false alarms, reference of {reference:,} rows | {rates} |", flush=True)
    for change in CHANGES:
        rates = " | ".join(f"{found(size, windows // 2, change):.0%}" for size in SIZES)
        print(f"| found: {change} | {rates} |", flush=True)


if __name__ == "__main__":
    main(*(int(argument) for argument in sys.argv[1:]))
