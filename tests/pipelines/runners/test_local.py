import os
import signal
import time
from pathlib import Path

import pytest

from tests.pipelines.workshop import build, tidy
from trivet.errors import Conflict
from trivet.pipelines import values
from trivet.pipelines.runners.contract import Job
from trivet.pipelines.runners.local import THREAD_VARIABLES, child_environment, open_runner
from trivet.pipelines.snapshot import worker_path

SOURCE = """
import os, subprocess, sys, time
from pathlib import Path

def surroundings(group=None):
    return {"cwd": str(Path.cwd()), "environment": dict(os.environ), "flags": sys.flags.safe_path, "group": group}

def stubborn(folder: str):
    import signal
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    Path(folder, "child").write_text(str(child.pid))
    Path(folder, "ready").write_text(str(os.getpid()))
    time.sleep(60)

def noisy():
    for line in range(1000):
        print("line", line)
    raise ValueError("too loud")
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    built = build(tmp_path_factory.mktemp("local"), SOURCE)
    yield built
    tidy(built)


@pytest.fixture(scope="module")
def runner(shop):
    runner = open_runner("local:", shop.context.root)
    yield runner
    runner.close()


def job(shop, name, **changes):
    root = str(shop.context.root)
    given = {
        "run": "01",
        "entry": f"{shop.name}:{name}",
        "path": worker_path([shop.context.root]),
        "folder": root,
        "blobs": shop.context.settings.blobs.url,
        "root": root,
    }
    return Job(**given | changes)


def result(shop, outcome):
    assert outcome.status == "finished", outcome.error
    return values.load(outcome.outputs["result"], shop.context.blobs)


def test_where_a_job_runs(shop, runner, monkeypatch):
    monkeypatch.setenv("OF_THIS_PROCESS", "yes")
    one, two = values.save(1, shop.context), values.save(2, shop.context)
    asked = job(shop, "surroundings", threads=3, seed=2**32 + 5, inputs={"group.a": one, "group.b": two})
    found = result(shop, runner.submit(asked).result())
    environment = found["environment"]
    assert found["cwd"] == str(shop.context.root)
    assert found["group"] == {"a": 1, "b": 2}
    assert found["flags"] is True
    assert {environment[name] for name in THREAD_VARIABLES} == {"3"}
    assert environment["PYTHONHASHSEED"] == "5"
    assert environment["OF_THIS_PROCESS"] == "yes"


def test_a_clean_job_gets_next_to_nothing(shop, runner, monkeypatch, tmp_path):
    monkeypatch.setenv("OF_THIS_PROCESS", "yes")
    asked = job(shop, "surroundings", clean=True, folder=str(tmp_path), variables={"TZ": "Asia/Tokyo"})
    found = result(shop, runner.submit(asked).result())
    assert found["cwd"] == str(tmp_path.resolve())
    assert "OF_THIS_PROCESS" not in found["environment"]
    assert found["environment"]["TZ"] == "Asia/Tokyo"
    assert found["environment"]["HOME"] == str(tmp_path)


def test_recorded_variables_win():
    asked = Job(run="1", entry="m:f", blobs="", root="", variables={"OPENBLAS_CORETYPE": "Haswell"}, path=["/a"])
    environment = child_environment(asked, {"OPENBLAS_CORETYPE": "Zen", "PYTHONPATH": os.pathsep.join(["/b", "/a"])})
    assert environment["OPENBLAS_CORETYPE"] == "Haswell"
    assert environment["PYTHONPATH"] == os.pathsep.join(["/a", "/b"])


def test_the_log_is_whole_and_its_end_is_shown(shop, runner):
    outcome = runner.submit(job(shop, "noisy")).result()
    assert (outcome.status, outcome.error) == ("failed", "ValueError: too loud")
    assert outcome.tail.splitlines()[-1] == "ValueError: too loud"
    assert 5 < len(outcome.tail.splitlines()) <= 15
    assert b"line 0\n" in shop.context.blobs.read(outcome.log.digest)


def test_a_missing_module_is_an_outcome(shop, runner):
    outcome = runner.submit(job(shop, "x", entry="no_such_module:f")).result()
    assert outcome.error == "ModuleNotFoundError: No module named 'no_such_module'"


def test_a_missing_interpreter_is_an_outcome(shop, runner):
    outcome = runner.submit(job(shop, "noisy", python="/no/such/python")).result()
    assert outcome.status == "failed"
    assert "/no/such/python" in outcome.error


def test_closing_ends_workers_and_their_children(shop, tmp_path):
    runner = open_runner("local:", shop.context.root)
    future = runner.submit(job(shop, "stubborn", parameters={"folder": str(tmp_path)}))
    end = time.monotonic() + 20
    while not (tmp_path / "ready").exists():
        assert time.monotonic() < end
        time.sleep(0.02)
    runner.close()
    runner.close()
    assert future.result().status == "killed"
    child = int((tmp_path / "child").read_text())
    end = time.monotonic() + 5
    while time.monotonic() < end:
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            break
        if Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            break
        time.sleep(0.02)
    else:
        os.kill(child, signal.SIGKILL)
        pytest.fail("the worker's own child was left behind")


def test_a_closed_runner_starts_nothing(shop):
    runner = open_runner("local:", shop.context.root)
    runner.close()
    with pytest.raises(Conflict, match="is closed"):
        runner.submit(job(shop, "noisy"))
