"""Two commands that run one pipeline at the same moment, and one that is interrupted in a step."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import trivet as tv
from tests import airport

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

STEPS = "airport_steps"
SLEEPY = """
import time
import trivet as tv


@tv.task
def nap(seconds: float) -> float:
    print("asleep", flush=True)
    time.sleep(seconds)
    return seconds


@tv.pipeline
def night(seconds: float = 0.1) -> float:
    return nap(seconds)
"""


@pytest.fixture
def place(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    airport.build(tmp_path, STEPS)
    (tmp_path / "sleepy.py").write_text(SLEEPY)
    with airport.opened(tmp_path) as project:
        project.define(*airport.views())
        made = project.training_set(airport.spine(), ["congestion:*", "weather:*"], time="t", label="late")
        yield tmp_path, made.artifact.id


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "trivet", "run", *words], cwd=folder, env=airport.environment(),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def test_one_pipeline_twice_at_once(place: tuple[Path, str]) -> None:
    folder, flights = place
    both = [start(folder, f"{STEPS}.py", "--flights", flights) for _ in range(2)]
    for process in both:
        said, trouble = process.communicate(timeout=240)
        assert process.returncode == 0, said + trouble
    with tv.open(folder) as project:
        pipelines = project.runs(kind="pipeline")
        assert [run.status for run in pipelines] == ["finished", "finished"]
        models = {
            step.outputs["result"]
            for run in pipelines
            for step in project.runs(parent=run.id)
            if step.name == "fit"
        }  # fmt: skip
        assert len(models) == 1  # whoever came first, both name the same content
        for artifact in project.context.ledger.artifacts(limit=1000):
            for file in artifact.files.values():
                assert len(project.context.blobs.read(file.digest)) == file.size


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_a_command_stopped_in_a_step_leaves_no_worker_and_can_be_run_again(
    place: tuple[Path, str], number: int, code: int
) -> None:
    folder, _ = place
    process = start(folder, "sleepy.py", "--seconds", "120")
    with tv.open(folder) as project:
        end = time.monotonic() + 60
        while not project.runs(kind="task", name="nap", status="running") and time.monotonic() < end:
            time.sleep(0.2)
        time.sleep(1.0)
        if number == signal.SIGINT:
            os.killpg(process.pid, number)  # as Ctrl-C in a terminal: everyone hears it
        else:
            process.kill()
        said, trouble = process.communicate(timeout=60)
        assert process.returncode == code
        assert "Traceback" not in said + trouble
        if number == signal.SIGINT:
            assert "Interrupted. What was recorded stays; run the same command again to go on." in trouble
        wait_for_silence(process.pid)
        again = airport.trivet(folder, "run", "sleepy.py", "--seconds", "0.1")
        assert again.returncode == 0, again.stderr
        assert not project.runs(status="running")
        assert [run.status for run in project.runs(kind="pipeline")] == ["finished", "killed"]


def wait_for_silence(session: int) -> None:
    """Until no process of the command's session is left."""
    end = time.monotonic() + 30
    while (alive := list(members(session))) and time.monotonic() < end:
        time.sleep(0.2)
    assert not alive


def members(session: int) -> Iterator[int]:
    for place in Path("/proc").glob("[0-9]*"):
        try:
            fields = (place / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            yield int(place.name)
