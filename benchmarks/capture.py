"""What it costs to record the code, the uncommitted changes and the environment when a run begins.

    python benchmarks/capture.py [--files N] [--packages N] [--repeat N]

A repository of 10,000 files in 500 folders with five uncommitted changes, and 300 distributions beside the installed
ones. Each measurement is a fresh process, because a run usually begins in one: *cold* is the first in the project,
*warm* every later one. Beside it stand ``git status`` and reading every file for its SHA-256, as the floor of those who
keep no index. *edited* is the first after one file changed: all of the archive is written anew. CPU time counts children
(git), which work beside the rest. Imports are not counted; the parts alone come after the whole in one process.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from _environment import ROOT, load

AIM = 0.150
"""Seconds of wall time that a warm capture may take."""

PROBE = """
import hashlib, json, os, resource, subprocess, sys, time
from pathlib import Path
from trivet.project import open as open_project
import trivet.pipelines.recording
project = open_project(Path.cwd())
context, found = project.context, {}

def cpu():
    each = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in each)

def timed(name, function):
    wall, before = time.perf_counter(), cpu()
    answer = function()
    found[name] = [time.perf_counter() - wall, cpu() - before]
    return answer

def bare():
    names = subprocess.run(["git", "ls-files", "-z"], capture_output=True, check=True).stdout.decode().split("\\0")
    for name in names:
        if name and os.path.isfile(name):
            hashlib.sha256(Path(name).read_bytes()).hexdigest()

if sys.argv[1] == "floor":
    timed("git status", lambda: subprocess.run(["git", "status", "--porcelain=v2", "-z"], capture_output=True))
    timed("every file read", bare)
else:
    found_all = timed("all", lambda: trivet.pipelines.recording.provenance(context, (context.root,)))
    assert found_all.facts["git.patch"]
    if sys.argv[1] == "parts":
        timed("code alone", lambda: trivet.pipelines.code.capture_code(context, [context.root]))
        timed("environment alone", lambda: trivet.pipelines.environment.capture_environment(context))
        timed("git and patch alone", lambda: trivet.pipelines.patch.git_tags(context, [context.root]))
print(json.dumps(found))
"""


def repository(folder: Path, files: int) -> None:
    """A repository with ``files`` committed files of about 2 kB and five uncommitted changes."""
    for number in range(files):
        path = folder / f"part_{number % 500:03}" / f"module_{number}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"VALUE = {number}\n" + "# a line of source code that says little\n" * 50)
    (folder / ".gitignore").write_text(".trivet/\n")
    git = ["git", "-C", str(folder), "-c", "user.name=bench", "-c", "user.email=bench@example.org"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run([*git, *command], check=True)
    for number in range(5):
        (folder / f"part_{number:03}" / f"module_{number}.py").write_text(f"VALUE = -{number}\n")


def packages(folder: Path, count: int) -> None:
    """Metadata of ``count`` distributions, each with a RECORD of a hundred files."""
    for number in range(count):
        info = folder / f"bench_package_{number}-1.{number}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: bench-package-{number}\nVersion: 1.{number}\n")
        lines = (f"bench_package_{number}/m{line}.py,sha256={'0' * 43},100\n" for line in range(100))
        (info / "RECORD").write_text("".join(lines))


def probe(folder: Path, beside: Path, what: str) -> dict[str, list[float]]:
    """Seconds of wall and CPU time for each part, in a fresh process."""
    variables = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(beside)])}
    command = [sys.executable, "-c", PROBE, what]
    done = subprocess.run(command, cwd=folder, env=variables, check=True, capture_output=True, text=True)
    found: dict[str, list[float]] = json.loads(done.stdout.splitlines()[-1])
    return found


def show(name: str, found: list[dict[str, list[float]]]) -> None:
    """A line of medians for each part."""
    for part in found[0]:
        wall, cpu = (statistics.median(one[part][place] for one in found) for place in (0, 1))
        print(f"{name:<8}{part:<22}{wall * 1000:>9.0f} ms wall{cpu * 1000:>9.0f} ms CPU")
    print()


def main() -> None:
    """Measure and print."""
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--files", type=int, default=10_000)
    asked.add_argument("--packages", type=int, default=300)
    asked.add_argument("--repeat", type=int, default=5)
    given = asked.parse_args()
    place = Path(tempfile.mkdtemp(prefix="trivet-bench-capture-"))
    try:
        repository(place / "repository", given.files)
        packages(place / "packages", given.packages)
        print(f"{given.files:,} files, {given.packages} more distributions, {load()}\n")
        ask = (place / "repository", place / "packages")
        show("floor", [probe(*ask, "floor") for _ in range(given.repeat)])
        show("cold", [probe(*ask, "trivet")])
        probe(*ask, "trivet")  # what was written a moment ago is not trusted yet
        warm = [probe(*ask, "trivet") for _ in range(given.repeat)]
        show("warm", warm)
        show("parts", [probe(*ask, "parts") for _ in range(given.repeat)])
        (place / "repository" / "part_007" / "module_7.py").write_text("VALUE = 'edited'\n")
        show("edited", [probe(*ask, "trivet")])
        wall = statistics.median(one["all"][0] for one in warm)
        print(f"Aim: under {AIM * 1000:.0f} ms warm. {'Kept' if wall < AIM else 'Missed'}: {wall * 1000:.0f} ms.")
    finally:
        shutil.rmtree(place)


if __name__ == "__main__":
    main()
