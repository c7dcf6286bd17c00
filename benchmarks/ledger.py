"""How long the verbs of a ledger take: ``python benchmarks/ledger.py [RUNS] [POINTS] [URL]``.

First the verbs with RUNS runs (10,000) in the ledger; then, beside ``sqlite3`` without anything around it on a file of
the same durability, in CPU time of the same process: searching (a metric and a parameter filtered, sorted by a metric, the
best 100, hydrated), counting, a run of 10 parameters and 50 points with a transaction for each call, and POINTS (1,000,000)
points of one run in batches. Both sides answer the same before either is timed.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from trivet.clock import new_id
from trivet.ledger import Ledger, Metric, Order, Recipe, Run, RunQuery
from trivet.ledger.conditions import And, Compare, Field
from trivet.plugins import open_url
from trivet.tracking.journal import Journal

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
        parameters={"max_iter": number, "lr": 0.1, "depth": number % 10},
        metrics={"auc": number * 7919 % 10_007 / 10_007, "loss": number * 104_729 % 10_009 / 10_009},
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


def cpu(work: Callable[[], object], times: int) -> float:
    """Milliseconds of CPU time of one call, the median of ``times``."""
    work()
    taken = []
    for _ in range(times):
        start = time.process_time()
        work()
        taken.append(time.process_time() - start)
    return sorted(taken)[times // 2] * 1000


def beside(what: str, ours: Callable[[], object], bare: Callable[[], object], times: int) -> None:
    """Print what both take and how many times more ours does."""
    mine, theirs = cpu(ours, times), cpu(bare, times)
    print(f"{what:<48} {mine:10.2f} ms {theirs:10.2f} ms {mine / theirs:6.1f} x")


def bare_file(folder: Path) -> sqlite3.Connection:
    """The least that could hold runs: their JSON, their parameters, latest metrics and points."""
    file = sqlite3.connect(folder / "bare.db", isolation_level=None)
    file.executescript(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
        "CREATE TABLE runs (id TEXT PRIMARY KEY, body TEXT);"
        "CREATE TABLE params (run TEXT, name TEXT, value TEXT, PRIMARY KEY (run, name)) WITHOUT ROWID;"
        "CREATE INDEX params_by_value ON params (name, value, run);"
        "CREATE TABLE latest (run TEXT, name TEXT, value REAL, PRIMARY KEY (run, name)) WITHOUT ROWID;"
        "CREATE INDEX latest_by_value ON latest (name, value, run);"
        "CREATE TABLE points (run TEXT, name TEXT, step INTEGER, value REAL, at INTEGER,"
        " PRIMARY KEY (run, name, step, at)) WITHOUT ROWID;"
    )
    return file


SEARCH = """
SELECT r.id, r.body, l.value FROM latest l JOIN params p ON p.run = l.run AND p.name = 'depth' AND p.value = '3'
JOIN runs r ON r.id = l.run WHERE l.name = 'auc' AND l.value > 0.9 ORDER BY l.value DESC, l.run DESC LIMIT 100
"""
AUC, LOSS, DEPTH = Field("metric", "auc"), Field("metric", "loss"), Field("parameter", "depth")
WHERE = And((Compare(AUC, ">", 0.9), Compare(DEPTH, "=", 3)))


def searched(ledger: Ledger, file: sqlite3.Connection, runs: Sequence[Run]) -> None:
    """Ask both for the best of the runs."""
    file.execute("BEGIN")
    for run in runs:
        file.execute("INSERT INTO runs VALUES (?, ?)", (run.id, json.dumps(msgspec.to_builtins(run))))
        file.executemany(
            "INSERT INTO params VALUES (?, ?, ?)", [(run.id, k, str(v)) for k, v in run.parameters.items()]
        )
        file.executemany("INSERT INTO latest VALUES (?, ?, ?)", [(run.id, k, v) for k, v in run.metrics.items()])
    file.execute("COMMIT")
    best = RunQuery(where=WHERE, order=(Order(AUC, descending=True),))

    def bare() -> list[str]:
        found = file.execute(SEARCH).fetchall()
        marks = ",".join("?" * len(found))
        file.execute(f"SELECT * FROM latest WHERE run IN ({marks})", [row[0] for row in found]).fetchall()
        return [json.loads(body)["id"] for _, body, _ in found]

    assert [run.id for run in ledger.runs(best)] == bare()
    how_many = "SELECT count(*) FROM" + SEARCH.partition("FROM")[2].partition("ORDER")[0]
    assert ledger.count(best) == file.execute(how_many).fetchone()[0]
    of = f"{len(runs):,} runs"
    beside(f"the best 100 of {of}", lambda: ledger.runs(best), bare, 30)
    slim = msgspec.structs.replace(best, slim=True)
    beside(f"the same, slim, of {of}", lambda: ledger.runs(slim), bare, 30)
    beside(f"how many of {of}", lambda: ledger.count(best), lambda: file.execute(how_many).fetchone(), 30)
    other = msgspec.structs.replace(best, order=(Order(LOSS),))
    print(f"{'sorted by another metric':<48} {cpu(lambda: ledger.runs(other), 10):10.2f} ms")
    rare = RunQuery(where=Compare(AUC, ">", 0.999), order=(Order(LOSS),))
    print(f"{'a condition that few fulfil':<48} {cpu(lambda: ledger.runs(rare), 10):10.2f} ms")
    print(f"{'the newest 100':<48} {cpu(ledger.runs, 10):10.2f} ms")
    print(f"{'how many there are':<48} {cpu(ledger.count, 10):10.2f} ms")


def logged(ledger: Ledger, file: sqlite3.Connection) -> None:
    """A run of 10 parameters and 50 points, a transaction for each call; ours through the ledger and through a journal."""
    given = {f"p{number}": number for number in range(10)}

    def begun() -> Run:
        return Run(id=new_id(), kind="experiment", name="fit", status="running", started=NOW)

    def ours() -> None:
        run = begun()
        ledger.write(run)
        for number in range(10):
            run = msgspec.structs.replace(run, parameters=dict(list(given.items())[: number + 1]))
            ledger.write(run)
        for step in range(50):
            ledger.write(Metric(run.id, "loss", step, step / 50, NOW))

    def journalled() -> None:
        journal = Journal(ledger, begun())
        for name, value in given.items():
            journal.change(
                lambda run, n=name, v=value: msgspec.structs.replace(run, parameters={**run.parameters, n: v})
            )  # type: ignore[misc]
        for step in range(50):
            journal.measure(step, [("loss", step / 50)], NOW)
        journal.close(lambda run: msgspec.structs.replace(run, status="finished", ended=NOW))

    def bare() -> None:
        run = new_id()
        file.execute("INSERT INTO runs VALUES (?, '{}')", (run,))
        for name, value in given.items():
            file.execute("INSERT INTO params VALUES (?, ?, ?)", (run, name, str(value)))
        for step in range(50):
            file.execute("BEGIN")
            file.execute("INSERT INTO points VALUES (?, 'loss', ?, ?, 0)", (run, step, step / 50))
            file.execute("INSERT OR REPLACE INTO latest VALUES (?, 'loss', ?)", (run, step / 50))
            file.execute("COMMIT")

    beside("10 parameters and 50 points, a call each", ours, bare, 15)
    beside("the same through a run's journal", journalled, bare, 15)


def measured(ledger: Ledger, file: sqlite3.Connection, points: int) -> None:
    """Many points of one run in batches of 5,000."""
    run, size = Run(id=new_id(), kind="experiment", name="long", status="running", started=NOW), 5_000
    ledger.write(run)

    def ours() -> None:
        for start in range(0, points, size):
            ledger.write(*[Metric(run.id, "loss", step, step * 0.5, NOW) for step in range(start, start + size)])

    def bare() -> None:
        for start in range(0, points, size):
            file.execute("BEGIN")
            rows = [(run.id, "loss", step, step * 0.5, 0) for step in range(start, start + size)]
            file.executemany("INSERT INTO points VALUES (?, ?, ?, ?, ?)", rows)
            file.execute("COMMIT")

    taken = []
    for work in (ours, bare):
        start = time.process_time()
        work()
        taken.append(time.process_time() - start)
    assert ledger.metrics(run.id, summary=True)[0].count == points
    print(f"{points:,} points of one run: {taken[0]:.2f} s, bare {taken[1]:.2f} s, {taken[0] / taken[1]:.1f} x")


def main(runs: str = "10000", points: str = "1000000", url: str = "sqlite:///ledger.db") -> None:
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
        file = bare_file(Path(folder))
        searched(ledger, file, filled)
        logged(ledger, file)
        measured(ledger, file, int(points))
        file.close()
        ledger.close()
        timed("open", lambda: open_url("ledger", url, Path(folder)).close())


if __name__ == "__main__":
    main(*sys.argv[1:])
