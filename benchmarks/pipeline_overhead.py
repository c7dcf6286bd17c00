"""What a pipeline costs on top of its work: 20 chained steps that do nothing, run first and answered by the cache.

    python benchmarks/pipeline_overhead.py [--steps 20] [--repeat 3]

The floor is the same number of bare interpreters, one after the other. Every number is the best of the repeats,
because other work on the machine can only add.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

STEPS = """
from trivet.pipelines.task import pipeline, task

@task
def start(value: int = 0):
    return value

@task
def add(value):
    return value + 1

@pipeline
def chain(value: int = 0, steps: int = 20):
    found = start(value)
    for _ in range(steps - 1):
        found = add(found)
    return found
"""

# A fresh process opens the project and runs the pipeline, as a command line would.
RUN = """
import time
begun = time.perf_counter()
import sqlalchemy
libraries = time.perf_counter()
import sys
from pathlib import Path
from trivet.clock import system_clock
from trivet.config import load_settings
from trivet.pipelines.context import Context
from trivet.pipelines.execution import execute
from trivet.plugins import open_url
from benchmark_steps import chain

root = Path.cwd()
(root / ".trivet").mkdir(exist_ok=True)
settings = load_settings(root)
ledger = open_url("ledger", settings.ledger.url, root)
blobs = open_url("blobs", settings.blobs.url, root)
context = Context(root, settings, ledger, blobs, system_clock, "benchmark", "here")
done = execute(context, chain, {"value": int(sys.argv[1]), "steps": int(sys.argv[2])})
statuses = {run.status for run in done.steps.values()}
assert statuses == {sys.argv[3]}, statuses
print(time.perf_counter() - libraries, done.run.seconds)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--repeat", type=int, default=3)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "benchmark_steps.py").write_text(STEPS)
        (folder / "benchmark_run.py").write_text(RUN)
        _run(folder, -1000, asked.steps, "finished")  # what is done once per environment: lock, bytecode
        bare = min(_timed(lambda: _interpreters(asked.steps)) for _ in range(asked.repeat))
        # values far apart: a step whose input another run has seen would be answered by the cache
        first = [_run(folder, 1000 * place, asked.steps, "finished") for place in range(asked.repeat)]
        cached = [_run(folder, 0, asked.steps, "cached") for _ in range(asked.repeat)]
    total, steps = map(min, zip(*first, strict=True))
    again, answered = map(min, zip(*cached, strict=True))
    rows = [
        (f"{asked.steps} x python -c pass", bare, bare / asked.steps),
        ("first run, after importing SQLAlchemy", total, total / asked.steps),
        ("  of which steps", steps, steps / asked.steps),
        ("  of which overhead over the interpreter", steps - bare, (steps - bare) / asked.steps),
        ("answered by the cache, after importing SQLAlchemy", again, again / asked.steps),
        ("  of which steps", answered, answered / asked.steps),
    ]
    print(f"{'':<52}{'total s':>9}{'per step ms':>13}")
    for label, seconds, each in rows:
        print(f"{label:<52}{seconds:>9.3f}{1000 * each:>13.1f}")


def _interpreters(count: int) -> None:
    for _ in range(count):
        subprocess.run([sys.executable, "-c", "pass"], check=True)


def _timed(work: Callable[[], None]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def _run(folder: Path, value: int, steps: int, expected: str) -> tuple[float, float]:
    """Seconds after the import of SQLAlchemy, and of the pipeline's run alone."""
    command = [sys.executable, "benchmark_run.py", str(value), str(steps), expected]
    said = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout.split()
    return float(said[0]), float(said[1])


if __name__ == "__main__":
    main()
