"""The main job, stopped in the middle of every one of its parts and started again: nothing is lost, nothing stays."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import trivet as tv

ROOT = Path(__file__).parents[2]
MARK = "FLIGHTS_STORY"
PARTS = 7
DELAYS = {1: 0.3, 2: 2.0, 3: 3.0, 4: 0.5, 5: 5.0, 6: 1.0, 7: 3.0}
"""Seconds after the heading of a part, in the midst of its work."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    copied = tmp_path_factory.mktemp("interrupted") / "flights"
    unwanted = shutil.ignore_patterns(".trivet", "data", "__pycache__")
    shutil.copytree(ROOT / "examples/flights", copied, ignore=unwanted)
    return copied


def demo(folder: Path) -> subprocess.Popen[str]:
    """The demo as the leader of a group of its own, as in a terminal, with a mark that all its children inherit."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("TRIVET_", "PYTEST_"))}
    source = os.environ.get("PYTHONPATH") or str(ROOT / "src")
    environment |= {"PYTHONPATH": source, "PYTHONUNBUFFERED": "1", "COLUMNS": "200", MARK: str(folder)}
    return subprocess.Popen(
        [sys.executable, "demo.py"], cwd=folder, env=environment, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def until(process: subprocess.Popen[str], pattern: str) -> str:
    """What the demo prints up to a line that fits, which must come."""
    said = ""
    for line in process.stdout or ():
        said += line
        if re.search(pattern, line):
            return said
    raise AssertionError(f"{pattern!r} was never printed; it left with {process.wait()}:\n{said}")


def left_behind(folder: Path) -> Iterator[str]:
    """The command lines of living processes that carry the mark."""
    mark = f"{MARK}={folder}".encode()
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (place / "environ").read_bytes().split(b"\0"):
                yield (place / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue  # it ended meanwhile, or is another user's


def nothing_left_behind(folder: Path, *, seconds: float) -> None:
    end = time.monotonic() + seconds
    while (alive := list(left_behind(folder))) and time.monotonic() < end:
        time.sleep(0.2)
    assert not alive


@pytest.mark.parametrize("part", range(1, PARTS + 1))
def test_interrupted_in_every_part_it_says_so_and_leaves_no_process_behind(folder: Path, part: int) -> None:
    process = demo(folder)
    said = until(process, rf"^{part}/{PARTS} ")
    time.sleep(DELAYS[part])
    os.killpg(process.pid, signal.SIGINT)  # what Ctrl-C does: everyone in the terminal hears it
    rest, _ = process.communicate(timeout=120)
    assert process.returncode not in (0, None), said + rest
    assert "Traceback" not in said + rest, said + rest
    assert "Interrupted. What was recorded stays" in rest, said + rest
    nothing_left_behind(folder, seconds=20)


def test_killed_while_it_serves_it_leaves_no_server_behind(folder: Path) -> None:
    process = demo(folder)
    until(process, r"delay@champion answers on")
    time.sleep(1)
    assert len(list(left_behind(folder))) >= 3
    process.kill()
    process.communicate(timeout=60)
    nothing_left_behind(folder, seconds=60)
    with tv.open(folder) as project:
        assert {deployment.state for deployment in project.deployments()} == {"stopped"}


def test_run_again_it_comes_to_its_end(folder: Path) -> None:
    process = demo(folder)
    said, _ = process.communicate(timeout=900)
    assert process.returncode == 0, said
    assert "Traceback" not in said
    assert "Made in" in said
    for name in ("training set", "model", "prediction"):
        assert re.search(rf"reproduced {name}\s+run:\w+", said), said
    nothing_left_behind(folder, seconds=20)
    with tv.open(folder) as project:
        assert {run.status for run in project.runs(kind="pipeline", limit=100)} <= {"finished", "killed"}
        newest = project.deployments()[0]
        assert newest.predictions == len({row["id"] for row in project.predictions(deployment=newest.id, limit=10_000)})
        assert ("silence.prediction", "delay@1") in {
            (alarm.alarm.kind, alarm.alarm.subject) for alarm in project.alarms()
        }
