import os
import subprocess
import sys
from datetime import UTC, datetime

from msgspec.structs import replace

from trivet.ledger import Run
from trivet.tracking import processes
from trivet.tracking.processes import BIRTH, PID, is_stale, process_tags, status_of

RUN = Run(
    id="01PROCESS",
    kind="experiment",
    name="trees",
    status="running",
    started=datetime(2026, 1, 1, tzinfo=UTC),
    tags=process_tags("here"),
)


def gone() -> int:
    """The id of a process that has just ended."""
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    return done.pid


def test_this_process_lives():
    assert not is_stale(RUN, host="here")
    assert status_of(RUN, host="here") == "running"


def test_a_process_that_ended_is_dead():
    run = replace(RUN, tags=RUN.tags | {PID: str(gone())})
    assert is_stale(run, host="here")
    assert status_of(run, host="here") == "dead"


def test_a_zombie_is_dead():
    process = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # ended, and not yet waited for
    assert is_stale(replace(RUN, tags=RUN.tags | {PID: str(process.pid), BIRTH: ""}), host="here")
    process.wait()


def test_an_id_that_is_used_again_is_another_process():
    assert is_stale(replace(RUN, tags=RUN.tags | {BIRTH: "1"}), host="here")


def test_nothing_is_said_about_other_machines_and_ended_runs():
    dead = replace(RUN, tags=RUN.tags | {PID: str(gone())})
    assert not is_stale(dead, host="elsewhere")
    assert not is_stale(replace(dead, status="finished"), host="here")
    assert not is_stale(replace(dead, tags={}), host="here")


def test_without_proc_the_operating_system_is_asked(monkeypatch, tmp_path):
    monkeypatch.setattr(processes, "Path", lambda path: tmp_path / "none" / path.strip("/"))
    assert not is_stale(RUN, host="here")
    assert is_stale(replace(RUN, tags=RUN.tags | {PID: str(gone())}), host="here")
