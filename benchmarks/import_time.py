"""How long ``import trivet`` takes, and how much a bare install brings, beside a bare Python and the peers.

    python benchmarks/import_time.py [--no-peers] [--repeat N]

CPU time (user and system) of fresh processes, compiled modules already there, is what is compared: it is little
disturbed by whatever else the machine does. ``tv.open`` is the first name that a script uses; to look it up imports
what a project is made of. Each peer gets an environment of its own, made by uv.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from _environment import ROOT, WORK, environment, load, plain_variables, version

PEERS = {"mlflow": ("mlflow==3.17.2", "scikit-learn"), "feast": ("feast[duckdb]==0.67.0", "duckdb<2")}
"""The same environments as in ``serving.py`` and ``training_set.py``."""
AIM = 0.15
"""Seconds of CPU time that ``import trivet`` may take, Python's own start included."""


@dataclass(frozen=True)
class Measured:
    """One line of the table: medians over the repetitions."""

    name: str
    cpu: float
    wall: float
    modules: int
    packages: int
    megabytes: float


def measure(name: str, statement: str, home: Path, repeat: int) -> Measured:
    """Run ``statement`` in fresh processes of the environment; the first one only compiles."""
    python = home / "bin" / "python"
    times = [_once(python, statement) for _ in range(repeat + 1)][1:]
    count = subprocess.run(
        [python, "-c", f"{statement}\nimport sys\nprint(len(sys.modules))"],
        check=True, capture_output=True, text=True, cwd=WORK, env=plain_variables(),
    ).stdout.split()[-1]  # fmt: skip
    packages, megabytes = size(home)
    cpu, wall = (statistics.median(column) for column in zip(*times, strict=True))
    return Measured(name, cpu, wall, int(count), packages, megabytes)


def size(home: Path) -> tuple[int, float]:
    """How many distributions an environment holds, and the megabytes of their files without compiled ones."""
    folder = next(home.glob("lib/python*/site-packages"))
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc")
    return len(list(folder.glob("*.dist-info"))), sum(path.stat().st_size for path in files) / 1e6


def _once(python: Path, statement: str) -> tuple[float, float]:
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([python, "-c", statement], check=True, cwd=WORK, env=plain_variables(), stdout=subprocess.DEVNULL)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime, wall


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", action=argparse.BooleanOptionalAction, default=True, help="MLflow and Feast too")
    parser.add_argument("--repeat", type=int, default=15, help="measured processes for each line (default: 15)")
    options = parser.parse_args()
    bare = environment("trivet", "-c", str(ROOT / "constraints.txt"), str(ROOT), afresh=True)
    lines = [
        measure("python -c pass", "pass", environment("nothing"), options.repeat),
        measure("import trivet", "import trivet", bare, options.repeat),
        measure("... and tv.open", "import trivet as tv\ntv.open", bare, options.repeat),
    ]
    for name, requirements in PEERS.items() if options.peers else ():
        home = environment(name, *requirements)
        label = f"import {name} {version(home, name)}"
        lines.append(measure(label, f"import {name}", home, min(options.repeat, 5)))
    print(f"{load():<24}{'CPU s':>8}{'wall s':>8}{'modules':>9}{'packages':>10}{'MB':>8}")
    for one in lines:
        numbers = f"{one.cpu:>8.3f}{one.wall:>8.3f}{one.modules:>9}{one.packages:>10}{one.megabytes:>8.1f}"
        print(f"{one.name:<24}{numbers}")
    print(f"aim: import trivet within {AIM} s of CPU time: {'kept' if lines[1].cpu <= AIM else 'MISSED'}")


if __name__ == "__main__":
    main()
