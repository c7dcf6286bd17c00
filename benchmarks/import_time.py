"""How long ``import trivet`` takes, and how much a bare install brings, beside a bare Python and the peers.

    python benchmarks/import_time.py [--peers] [--repeat N]

CPU time (user and system) of fresh processes, compiled modules already there, is what is compared: it is little
disturbed by whatever else the machine does. Each peer gets an environment of its own, made by uv.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / "benchmarks" / ".work" / "import_time"
PEERS = {"mlflow": "mlflow", "feast": "feast"}
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


def measure(name: str, statement: str, environment: Path, repeat: int) -> Measured:
    """Run ``statement`` in fresh processes of the environment; the first one only compiles."""
    python = environment / "bin" / "python"
    times = [_once(python, statement) for _ in range(repeat + 1)][1:]
    count = subprocess.run(
        [python, "-c", f"{statement}\nimport sys\nprint(len(sys.modules))"],
        check=True, capture_output=True, text=True, cwd=WORK, env=_variables(),
    ).stdout.split()[-1]  # fmt: skip
    packages, megabytes = size(environment)
    cpu, wall = (statistics.median(column) for column in zip(*times, strict=True))
    return Measured(name, cpu, wall, int(count), packages, megabytes)


def size(environment: Path) -> tuple[int, float]:
    """How many distributions an environment holds, and the megabytes of their files without compiled ones."""
    folder = next(environment.glob("lib/python*/site-packages"))
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".pyc")
    return len(list(folder.glob("*.dist-info"))), sum(path.stat().st_size for path in files) / 1e6


def prepare(name: str, *requirements: str) -> Path:
    """A fresh environment with these requirements, compiled."""
    environment = WORK / name
    uv = Path(sys.executable).parent / "uv"
    quiet = [uv if uv.exists() else "uv", "--quiet"]
    subprocess.run([*quiet, "venv", "--clear", "--python", sys.executable, environment], check=True)
    if requirements:
        install = [*quiet, "pip", "install", "--compile-bytecode", *requirements]
        subprocess.run(install, check=True, env=_variables() | {"VIRTUAL_ENV": str(environment)})
    return environment


def _version(environment: Path, name: str) -> str:
    folder = next(environment.glob(f"lib/python*/site-packages/{name}-*.dist-info"))
    return folder.name.removesuffix(".dist-info").partition("-")[2]


def _once(python: Path, statement: str) -> tuple[float, float]:
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([python, "-c", statement], check=True, cwd=WORK, env=_variables(), stdout=subprocess.DEVNULL)
    wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime, wall


def _variables() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", action="store_true", help="also MLflow and Feast, each in its own environment")
    parser.add_argument("--repeat", type=int, default=15, help="measured processes for each line (default: 15)")
    options = parser.parse_args()
    WORK.mkdir(parents=True, exist_ok=True)
    bare = prepare("trivet", "-c", str(ROOT / "constraints.txt"), str(ROOT))
    lines = [
        measure("python -c pass", "pass", prepare("nothing"), options.repeat),
        measure("import trivet", "import trivet", bare, options.repeat),
    ]
    if options.peers:
        for name, requirement in PEERS.items():
            environment = prepare(name, requirement)
            lines.append(measure(f"import {name}", f"import {name}", environment, options.repeat))
            print(f"{name} {_version(environment, name)}")
    print(f"{'':<16}{'CPU s':>8}{'wall s':>8}{'modules':>9}{'packages':>10}{'MB':>8}")
    for line in lines:
        print(
            f"{line.name:<16}{line.cpu:>8.3f}{line.wall:>8.3f}{line.modules:>9}{line.packages:>10}{line.megabytes:>8.1f}"
        )
    print(f"aim: import trivet within {AIM} s of CPU time: {'kept' if lines[1].cpu <= AIM else 'MISSED'}")


if __name__ == "__main__":
    main()
