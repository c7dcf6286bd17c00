"""What a pipeline costs on top of its work: 20 chained steps that do nothing, run first and answered by the cache.

    python benchmarks/pipeline_overhead.py [--steps 20] [--repeat 3]

The floor is the same number of bare interpreters, one after the other. Every number is the best of the repeats,
because other work on the machine can only add. The seconds of the processor are of all processes together.
"""

from __future__ import annotations

import argparse
import resource
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
        bare = [_measured(lambda: _interpreters(asked.steps)) for _ in range(asked.repeat)]
        # values far apart: a step whose input another run has seen would be answered by the cache
        first = [_run(folder, 1000 * place, asked.steps, "finished") for place in range(asked.repeat)]
        cached = [_run(folder, 0, asked.steps, "cached") for _ in range(asked.repeat)]
    total, steps, cpu = map(min, zip(*first, strict=True))
    again, answered, cpu_again = map(min, zip(*cached, strict=True))
    floor, floor_cpu = map(min, zip(*bare, strict=True))
    rows = [
        (f"{asked.steps} x python -c pass", floor, floor_cpu),
        ("first run, after importing SQLAlchemy", total, cpu),
        ("  of which steps", steps, None),
        ("  of which over bare interpreters", steps - floor, None),
        ("answered by the cache, after importing SQLAlchemy", again, cpu_again),
        ("  of which steps", answered, None),
    ]
    print(f"{'':<52}{'total s':>9}{'per step ms':>13}{'processor s':>13}")
    for label, seconds, used in rows:
        print(
            f"{label:<52}{seconds:>9.3f}{1000 * seconds / asked.steps:>13.1f}{'' if used is None else f'{used:.2f}':>13}"
        )


def _interpreters(count: int) -> None:
    for _ in range(count):
        subprocess.run([sys.executable, "-c", "pass"], check=True)


def _measured(work: Callable[[], None]) -> tuple[float, float]:
    """Seconds on the clock, and seconds of the processor in child processes."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    work()
    seconds, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _run(folder: Path, value: int, steps: int, expected: str) -> tuple[float, float, float]:
    """Seconds after the import of SQLAlchemy, of the pipeline's run alone, and of the processor with all imports."""
    command = [sys.executable, "benchmark_run.py", str(value), str(steps), expected]
    said: list[str] = []

    def run() -> None:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
        said.extend(done.stdout.split())

    _, cpu = _measured(run)
    return float(said[0]), float(said[1]), cpu


if __name__ == "__main__":
    main()
