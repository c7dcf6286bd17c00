"""What a pipeline costs on top of its work: 20 chained steps that do nothing, run first and answered by the cache.

    python benchmarks/pipeline_overhead.py [--steps 20] [--repeat 5]

Each row is a fresh process that opens a project and runs the pipeline, as a script of a user does; counted is all
that follows ``import trivet``: the imports that this sets off, opening the ledger, the capture of code and
environment, the steps. CPU is that of all processes together. The floor is as many bare interpreters in a row.
Medians of the repeats.
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
from pathlib import Path

from _environment import load, plain_variables

AIM = 1.0
"""Seconds of CPU time that a pipeline of 20 steps may take when the cache answers all of them."""

STEPS = """
import trivet as tv

@tv.task
def start(value: int = 0):
    return value

@tv.task
def add(value):
    return value + 1

@tv.pipeline
def chain(value: int = 0, steps: int = 20):
    found = start(value)
    for _ in range(steps - 1):
        found = add(found)
    return found
"""

RUN = """
import json, resource, sys, time
import trivet as tv

def spent():
    both = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return time.perf_counter(), sum(one.ru_utime + one.ru_stime for one in both)

moments = [spent()]
from benchmark_steps import chain
project = tv.open()
moments.append(spent())
done = project.execute(chain, value=int(sys.argv[1]), steps=int(sys.argv[2]))
moments.append(spent())
statuses = {run.status for run in done.steps.values()}
assert statuses == {sys.argv[3]}, statuses
print(json.dumps([[after - before for before, after in zip(*two)] for two in zip(moments, moments[1:])]))
"""

Cost = tuple[float, float]
"""Seconds on the clock, and seconds of CPU."""


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--repeat", type=int, default=5)
    asked = parser.parse_args()
    bare: list[list[Cost]] = []
    first: list[list[Cost]] = []
    cached: list[list[Cost]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "benchmark_steps.py").write_text(STEPS)
        (folder / "benchmark_run.py").write_text(RUN)
        _run(folder, -1000, asked.steps, "finished")  # what is done once per environment: lock, bytecode
        for place in range(asked.repeat):  # in turn, so that a busy moment of the machine hits all of them
            bare.append([_interpreters(asked.steps)])
            # values far apart: a step whose input another run has seen would be answered by the cache
            first.append(_run(folder, 1000 * place, asked.steps, "finished"))
            cached.append(_run(folder, 1000 * place, asked.steps, "cached"))
    report(asked.steps, *map(_medians, (bare, first, cached)))


def report(steps: int, bare: list[Cost], first: list[Cost], cached: list[Cost]) -> None:
    """The table."""
    print(f"{load():<40}{'wall s':>8}{'CPU s':>8}{'CPU ms per step':>17}")
    rows = [(f"{steps} x python -c pass", bare[0])]
    for label, (opened, ran) in {"first run": first, "answered by the cache": cached}.items():
        total = (opened[0] + ran[0], opened[1] + ran[1])
        rows += [(label, total), ("  of which to open the project", opened), ("  of which to run the pipeline", ran)]
    for label, (wall, cpu) in rows:
        print(f"{label:<40}{wall:>8.2f}{cpu:>8.2f}{1000 * cpu / steps:>17.1f}")
    over = (first[1][1] - bare[0][1]) / steps
    print(f"a step that does nothing costs {1000 * over:.0f} ms of CPU more than a bare interpreter")
    total = cached[0][1] + cached[1][1]
    print(f"aim: answered by the cache within {AIM} s of CPU: {'kept' if total <= AIM else 'MISSED'} ({total:.2f} s)")


def _interpreters(count: int) -> Cost:
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    for _ in range(count):
        subprocess.run([sys.executable, "-c", "pass"], check=True)
    wall, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _run(folder: Path, value: int, steps: int, expected: str) -> list[Cost]:
    """What opening the project cost, and what running the pipeline cost."""
    command = [sys.executable, "benchmark_run.py", str(value), str(steps), expected]
    done = subprocess.run(
        command, cwd=folder, stdout=subprocess.PIPE, text=True, check=True, env=plain_variables("PYTHONPATH")
    )
    return [(wall, cpu) for wall, cpu in json.loads(done.stdout)]


def _medians(repeats: list[list[Cost]]) -> list[Cost]:
    return [
        (statistics.median(wall for wall, _ in part), statistics.median(cpu for _, cpu in part))
        for part in zip(*repeats, strict=True)
    ]


if __name__ == "__main__":
    main()
