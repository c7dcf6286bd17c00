"""How long it takes to make the flights model again, beside making it the first time.

    python benchmarks/reproduce.py [--every N] [--trees N] [--data FOLDER] [--locked]

The flights example is copied to a folder of its own, with every Nth flight. A script joins the features, fits and measures the
model; a pipeline does the same in steps. Both are run once and made again once: the script as a whole, of the pipeline the
step that fits. What is added is bringing back code and inputs, one fresh interpreter for each run, and comparing.
``--locked`` also builds the recorded environment, once cold and once warm. Every level is checked before a time is shown.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _environment import ROOT, load

import trivet as tv

SCRIPT = """
import os, sys
import data, features, pipeline
import trivet as tv

every, trees = int(sys.argv[1]), int(sys.argv[2])
project = tv.open()
spine = data.prepare(project, *features.SOURCES).gather_every(every)
project.define(*features.DEFINITIONS)
with project.run("flights") as run:
    flights = project.training_set(spine, "delays", time="t", label="late")
    past, future = flights.before("2013-10-01T04:00:00Z"), flights.since("2013-10-01T04:00:00Z")
    model = pipeline.fit.function(past, None, trees, 0)
    run.log(pipeline.evaluate.function(model, future))
    run.model(model)
"""


def main() -> None:
    """Measure and print."""
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--every", type=int, default=20)
    asked.add_argument("--trees", type=int, default=100)
    asked.add_argument("--data", type=Path, default=ROOT / "examples" / "flights" / "data")
    asked.add_argument("--locked", action="store_true")
    given = asked.parse_args()
    place = Path(tempfile.mkdtemp(prefix="trivet-bench-reproduce-"))
    try:
        measure(place / "flights", given)
    finally:
        shutil.rmtree(place)


def measure(root: Path, given: argparse.Namespace) -> None:
    """Everything in the folder ``root``."""
    shutil.copytree(ROOT / "examples" / "flights", root, ignore=shutil.ignore_patterns("data", ".trivet"))
    if given.data.is_dir():
        shutil.copytree(given.data, root / "data")
    (root / ".trivet").mkdir()
    (root / "train.py").write_text(SCRIPT)
    print(f"every {given.every}th flight, {given.trees} trees, {load()}\n")
    variables = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "train.py", str(given.every), str(given.trees)]
    timed("script", lambda: subprocess.run(command, cwd=root, env=variables, check=True, stdout=subprocess.DEVNULL))
    with tv.open(root) as project:
        [run] = project.runs(name="flights")
        again(project, "script", f"run:{run.id}", "current")
        flights = project.artifact(run.inputs["training_set"])
        pipeline = project.find_pipeline(root, "train")
        done = timed("pipeline of 5 steps", lambda: project.execute(pipeline, flights=flights, max_iter=given.trees))
        fit = done.steps["fit"]
        print(f"{'  its step fit':<34}{fit.seconds:>8.2f} s wall")
        again(project, "step fit", f"run:{fit.id}", "current")
        again(project, "training set", flights.id, "current")
        for state in ("cold", "warm") if given.locked else ():
            again(project, f"step fit, {state} environment", f"run:{fit.id}", "locked")


def again(project: tv.Project, what: str, reference: str, environment: str) -> None:
    """Make it again, check the level, and print the time."""
    found: Any = timed(
        f"{what} again", lambda: project.reproduce(reference, environment=environment, progress=lambda _: None)
    )
    if not found.ok:
        raise SystemExit(f"It came out different: {found}")
    print(f"{'':<34}{'level ' + found.level:>15}")


def timed(what: str, function: Callable[[], Any]) -> Any:
    """Call it and print wall time, and CPU time with that of children."""
    wall, before = time.perf_counter(), _cpu()
    answer = function()
    print(f"{what:<34}{time.perf_counter() - wall:>8.2f} s wall{_cpu() - before:>8.2f} s CPU")
    return answer


def _cpu() -> float:
    each = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in each)


if __name__ == "__main__":
    main()
