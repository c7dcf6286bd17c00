"""What logging costs: ``python benchmarks/tracking.py [RUNS] [POINTS] [MLFLOW_RUNS]``.

RUNS runs (1,000) of 10 parameters and 50 points, then one run of a tenth of POINTS and one of POINTS (1,000,000), written by
one process: through ``project.run``, through a run's journal alone (the same without the capture of code and
environment), by ``sqlite3`` without anything around it (a commit per call, and one transaction per run, in a file of the
same durability), and by MLflow's client on a SQLite store in an environment of its own (fewer runs). Each in a process of
its own; CPU time of all its threads, and the wall time beside. A buffered point is timed as its caller sees it: the median
and the 99th percentile of single calls.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from benchmarks._environment import environment, load, plain_variables, version

PARAMETERS, STEPS, SIZE = 10, 50, 5_000
MLFLOW = "mlflow==3.17.2"


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds of CPU and of the wall."""
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - cpu, time.perf_counter() - wall


def trivet_runs(runs: int) -> tuple[float, float]:
    import trivet as tv

    project = tv.open()

    def work() -> None:
        for number in range(runs):
            with project.run(f"run {number}") as run:
                for parameter in range(PARAMETERS):
                    run.params({f"p{parameter}": parameter})
                for step in range(STEPS):
                    run.log(loss=step / STEPS, step=step)

    taken = timed(work)
    assert project.context.ledger.count() == runs
    return taken


def journal_runs(runs: int) -> tuple[float, float]:
    from msgspec.structs import replace

    import trivet as tv
    from trivet.clock import new_id
    from trivet.ledger import Run
    from trivet.tracking.journal import Journal
    from trivet.tracking.spool import Spool, spool_folder

    project = tv.open()
    now = datetime.now(UTC)

    def work() -> None:
        for number in range(runs):
            run = Run(id=new_id(), kind="experiment", name=f"run {number}", status="running", started=now)
            journal = Journal(project.context.ledger, run, spool=Spool(spool_folder(project.root), run.id))
            for parameter in range(PARAMETERS):
                journal.change(lambda r, n=parameter: replace(r, parameters=r.parameters | {f"p{n}": n}))  # type: ignore[misc]
            for step in range(STEPS):
                journal.measure(step, [("loss", step / STEPS)], now)
            journal.close(lambda r: replace(r, status="finished", ended=now))

    taken = timed(work)
    assert project.context.ledger.count() == runs
    return taken


def trivet_points(points: int) -> tuple[float, float]:
    import trivet as tv

    project = tv.open()

    def work() -> None:
        with project.run("long") as run:
            for step in range(points):
                run.log(loss=step * 0.5, step=step)

    taken = timed(work)
    (run,) = project.runs()
    assert project.context.ledger.metrics(run.id, summary=True)[0].count == points
    return taken


def call(points: int) -> tuple[float, float]:
    """Microseconds of one call of ``run.log``, a thousand points a second: the median and the 99th percentile."""
    import trivet as tv

    with tv.open().run("steady") as run:
        taken = []
        for step in range(points):
            start = time.perf_counter()
            run.log(loss=step * 0.5, step=step)
            taken.append(time.perf_counter() - start)
            time.sleep(0.001)
    taken.sort()
    return taken[points // 2] * 1e6, taken[points * 99 // 100] * 1e6


def bare_file() -> sqlite3.Connection:
    file = sqlite3.connect("bare.db", isolation_level=None)
    file.executescript(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
        "CREATE TABLE runs (id INTEGER PRIMARY KEY, name TEXT, status TEXT);"
        "CREATE TABLE params (run INTEGER, name TEXT, value TEXT, PRIMARY KEY (run, name)) WITHOUT ROWID;"
        "CREATE TABLE points (run INTEGER, name TEXT, step INTEGER, value REAL, at INTEGER,"
        " PRIMARY KEY (run, name, step, at)) WITHOUT ROWID;"
    )
    return file


def bare_runs(runs: int, *, together: bool = False) -> tuple[float, float]:
    file = bare_file()

    def work() -> None:
        for number in range(runs):
            if together:
                file.execute("BEGIN")
            file.execute("INSERT INTO runs VALUES (?, ?, 'running')", (number, f"run {number}"))
            for parameter in range(PARAMETERS):
                file.execute("INSERT INTO params VALUES (?, ?, ?)", (number, f"p{parameter}", str(parameter)))
            for step in range(STEPS):
                file.execute("INSERT INTO points VALUES (?, 'loss', ?, ?, 0)", (number, step, step / STEPS))
            file.execute("UPDATE runs SET status = 'finished' WHERE id = ?", (number,))
            if together:
                file.execute("COMMIT")

    return timed(work)


def bare_together(runs: int) -> tuple[float, float]:
    return bare_runs(runs, together=True)


def bare_points(points: int) -> tuple[float, float]:
    file = bare_file()

    def work() -> None:
        for start in range(0, points, SIZE):
            file.execute("BEGIN")
            rows = [(1, "loss", step, step * 0.5, 0) for step in range(start, start + SIZE)]
            file.executemany("INSERT INTO points VALUES (?, ?, ?, ?, ?)", rows)
            file.execute("COMMIT")

    return timed(work)


PEER = f"""
import json, logging, sys, time
import mlflow
from mlflow.entities import Metric, Param
logging.getLogger("mlflow").setLevel(logging.ERROR)
logging.getLogger("alembic").setLevel(logging.ERROR)
mlflow.set_tracking_uri("sqlite:///mlflow.db")
mlflow.set_experiment("benchmark")

def plain(runs):
    for number in range(runs):
        with mlflow.start_run(run_name=f"run {{number}}"):
            for parameter in range({PARAMETERS}):
                mlflow.log_param(f"p{{parameter}}", parameter)
            for step in range({STEPS}):
                mlflow.log_metric("loss", step / {STEPS}, step=step)

def batched(runs):
    client = mlflow.MlflowClient()
    for number in range(runs):
        with mlflow.start_run(run_name=f"run {{number}}") as run:
            client.log_batch(run.info.run_id, params=[Param(f"p{{n}}", str(n)) for n in range({PARAMETERS})],
                metrics=[Metric("loss", step / {STEPS}, 0, step) for step in range({STEPS})])

work = {{"plain": plain, "batched": batched}}[sys.argv[1]]
work(1)
cpu, wall = time.process_time(), time.perf_counter()
work(int(sys.argv[2]))
print(json.dumps([time.process_time() - cpu, time.perf_counter() - wall]))
"""


def alone(name: str, count: int) -> tuple[float, float]:
    """``name(count)`` in a new process and an empty folder."""
    root = Path(__file__).resolve().parents[1]
    code = f"import json; from benchmarks import tracking; print(json.dumps(tracking.{name}({count})))"
    with tempfile.TemporaryDirectory() as folder:
        variables = plain_variables() | {"PYTHONPATH": f"{root / 'src'}{os.pathsep}{root}"}
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=folder, env=variables, check=True, stdout=subprocess.PIPE, text=True
        )
    return tuple(json.loads(done.stdout.splitlines()[-1]))  # type: ignore[return-value]


def peer(folder: Path, mode: str, runs: int) -> tuple[float, float]:
    """The same runs by MLflow's client."""
    with tempfile.TemporaryDirectory() as where:
        done = subprocess.run(
            [folder / "bin" / "python", "-c", PEER, mode, str(runs)],
            cwd=where,
            env=plain_variables() | {"MLFLOW_DISABLE_TELEMETRY": "true", "GIT_PYTHON_REFRESH": "quiet"},
            check=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
    return tuple(json.loads(done.stdout.splitlines()[-1]))  # type: ignore[return-value]


def row(what: str, taken: tuple[float, float], count: int, floor: float) -> None:
    cpu, wall = (1000 * seconds / count for seconds in taken)
    print(f"{what:<46} {cpu:10.4f} ms {wall:10.4f} ms {cpu / floor:8.2f} x")


def main(runs: str = "1000", points: str = "1000000", mlflow_runs: str = "20") -> None:
    many, long, few = int(runs), int(points), int(mlflow_runs)
    print(f"{load()}; CPU time, wall time, and CPU beside bare sqlite3 with a commit per call\n")
    bare = alone("bare_runs", many)
    floor = 1000 * bare[0] / many
    row(f"a run of {PARAMETERS} parameters and {STEPS} points, bare", bare, many, floor)
    row("bare, in one transaction", alone("bare_together", many), many, floor)
    row("a run's journal", alone("journal_runs", many), many, floor)
    row("project.run, code and environment captured", alone("trivet_runs", many), many, floor)
    if few:
        folder = environment("mlflow", MLFLOW)
        name = f"MLflow {version(folder, 'mlflow')}"
        row(f"{name}, plain calls", peer(folder, "plain", few), few, floor)
        row(f"{name}, log_batch", peer(folder, "batched", few), few, floor)
    print()
    for count in (long // 10, long):
        bare = alone("bare_points", count)
        floor = 1000 * bare[0] / count
        row(f"a point, {count:,} in one run, bare executemany", bare, count, floor)
        row("run.log", alone("trivet_points", count), count, floor)
    median, late = alone("call", 3000)
    print(f"\none call of run.log: {median:.1f} us, 99th percentile {late:.1f} us")


if __name__ == "__main__":
    main(*sys.argv[1:])
