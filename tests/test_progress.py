"""A bar appears after two seconds for people, never for programs, and is gone when the work is."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

from trivet.progress import Progress

WORK = """
import time
from trivet import progress
progress.AFTER = {after}
with progress.Progress("joining features", total=4) as bar:
    for name in ("weather", "planes", "flights", "routes"):
        time.sleep(0.2)
        bar.step(name)
print("done", bar.done)
"""
ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1] / "src"), "TERM": "xterm", "COLUMNS": "120"}


def on_a_terminal(after):
    """What a person sees."""
    mine, theirs = pty.openpty()
    command = [sys.executable, "-c", WORK.format(after=after)]
    with subprocess.Popen(command, stderr=theirs, stdout=subprocess.PIPE, env=ENVIRONMENT, text=True) as process:
        os.close(theirs)
        seen = b""
        while True:
            try:
                part = os.read(mine, 4096)
            except OSError:  # how a terminal without a writer ends on Linux
                break
            if not part:
                break
            seen += part
        assert process.stdout.read() == "done 4\n"
    os.close(mine)
    return seen.decode()


def test_long_work_shows_what_is_done_and_how_far_it_is():
    seen = on_a_terminal(after=0.1)
    assert "joining features" in seen
    assert "/4" in seen


def test_short_work_shows_nothing():
    assert on_a_terminal(after=30) == ""


def test_nothing_is_shown_where_nobody_looks():
    command = [sys.executable, "-c", WORK.format(after=0.1)]
    done = subprocess.run(command, capture_output=True, env=ENVIRONMENT, text=True, check=True)
    assert (done.stdout, done.stderr) == ("done 4\n", "")


def test_steps_count_by_more_than_one():
    with Progress("reading") as progress:
        progress.step(by=3)
        progress.step()
    assert progress.done == 4
