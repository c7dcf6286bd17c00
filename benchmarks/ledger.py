"""How long the verbs of a ledger take with 10,000 runs in it: ``python benchmarks/ledger.py [URL] [RUNS]``."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from trivet.clock import new_id
from trivet.ledger import Metric, Recipe, Run, RunQuery
from trivet.plugins import open_url

NOW = datetime.now(UTC)
RECIPE = Recipe("flights.train:fit", "c" * 64, "e" * 64)


def run_of(number: int) -> Run:
    """A run as a pipeline leaves it: two inputs, an output, two metrics, a key with its parts."""
    return Run(
        id=new_id(),
        kind="task" if number % 2 else "pipeline",
        name=f"step{number % 50}",
        status="finished",
        started=NOW,
        ended=NOW,
        recipe=RECIPE,
        inputs={"a": f"{number:064x}", "b": f"{number % 7:064x}"},
        outputs={"result": f"{number + 1:064x}"},
        parameters={"max_iter": number, "lr": 0.1},
        metrics={"auc": 0.5, "loss": 1.0},
        key=f"{number:064x}",
        key_parts={"code": "x" * 64, "parameters": "y" * 64},
    )


def timed(what: str, work: Callable[[], object], times: int = 100) -> None:
    """Print the median of ``times`` calls."""
    work()
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    print(f"{what:<40} {sorted(seconds)[times // 2] * 1000:8.3f} ms")


def main(url: str = "sqlite:///ledger.db", runs: str = "10000") -> None:
    """Fill a new ledger and ask it."""
    with tempfile.TemporaryDirectory() as folder:
        ledger = open_url("ledger", url, Path(folder))
        filled = [run_of(number) for number in range(int(runs))]
        for start in range(0, len(filled), 1000):
            ledger.write(*filled[start : start + 1000])
        middle = len(filled) // 2
        timed("write a run", lambda: ledger.write(run_of(middle)), 500)
        timed("write a metric", lambda: ledger.write(Metric(filled[0].id, "auc", 1, 0.5, NOW)))
        timed("run by id", lambda: ledger.run(filled[middle].id))
        timed("run by prefix", lambda: ledger.run(filled[middle].id[:22]))
        for what, query in {
            "runs by key": RunQuery(key=filled[middle + 1].key, limit=1),
            "runs by output": RunQuery(output=filled[middle + 1].outputs["result"]),
            "runs by kind, 10 of half": RunQuery(kind="task", limit=10),
            "runs by kind, 100 of half": RunQuery(kind="task"),
            "runs by kind and name, 100 of 200": RunQuery(kind="task", name="step3"),
            "runs by status, none": RunQuery(status="failed"),
            "runs by input, 100 of 1,400": RunQuery(input=f"{3:064x}"),
        }.items():
            timed(what, lambda query=query: ledger.runs(query))  # type: ignore[misc]
        ledger.close()
        timed("open", lambda: open_url("ledger", url, Path(folder)).close())


if __name__ == "__main__":
    main(*sys.argv[1:])
