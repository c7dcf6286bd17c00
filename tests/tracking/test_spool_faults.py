"""Real processes that are killed, real servers that stop, real limits of a disk: what is kept?"""

import random
import re
import signal
import sqlite3
import struct
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from tests import servers
from tests.tracking.project import open_context, process_environment
from trivet.ledger import RunQuery
from trivet.tracking.spool import replay, spool_folder

LATEST = 0.2  # seconds that a killed process may lose, and
GRACE = 0.8  # what a machine under load adds before a thread gets its turn

TRAINING = """
import os, struct, sys, time
from pathlib import Path
from tests.tracking.project import open_context
from trivet.tracking.runs import start
root, url, told = Path(sys.argv[1]), sys.argv[2], os.open(sys.argv[3], os.O_RDWR | os.O_CREAT)
context = open_context(root, url)
run = start(context, "victim")
run.params(depth=3)
run.log(loss=0.0, step=0)
run.flush()
print(run.id, flush=True)
step = 0
while True:
    step += 1
    run.log(loss=1.0 / step, step=step)
    os.pwrite(told, struct.pack("<qd", step, time.time()), 16 * step)
    if step % 400 == 0 and sys.argv[4] == "flushing":
        run.flush()
        os.pwrite(told, struct.pack("<q", step), 0)
    time.sleep(0.001)
"""


def begin(text: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", text, *map(str, arguments)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, text=True, env=process_environment(), **pipes)


def what_was_said(path: Path) -> tuple[int, dict[int, float]]:
    """The last step that was acknowledged, and when each was said."""
    content = path.read_bytes()
    pieces = [struct.unpack_from("<qd", content, 16 * n) for n in range(1, len(content) // 16)]
    return struct.unpack_from("<q", content)[0], {step: at for step, at in pieces if step}


@pytest.mark.parametrize("seed", range(6))
def test_a_killed_process_loses_nothing_acknowledged_and_of_the_rest_the_last_moment_only(tmp_path, seed):
    """Every other time another process holds the ledger meanwhile: then all there is, is the spool."""
    context = open_context(tmp_path)
    blocked = seed % 2 == 1
    process = begin(
        TRAINING, tmp_path, "sqlite:///.trivet/ledger.db", tmp_path / "told", "no" if blocked else "flushing"
    )
    run = process.stdout.readline().strip()
    holder = sqlite3.connect(tmp_path / ".trivet" / "ledger.db", isolation_level=None)
    if blocked:
        holder.execute("BEGIN IMMEDIATE")
    time.sleep(random.Random(seed).uniform(0.3, 1.6))
    process.send_signal(signal.SIGKILL)
    killed = time.time()
    process.communicate()
    holder.close()
    acknowledged, said = what_was_said(tmp_path / "told")
    for _ in range(2):  # the second time changes nothing
        replay(context.ledger, tmp_path)
        kept = {one.step for one in context.ledger.metrics(run)}
        assert kept == set(range(len(kept))), "a hole"
        assert max(kept) >= acknowledged
        lost = [at for step, at in said.items() if step not in kept]
        assert min(lost, default=killed) > killed - LATEST - GRACE
    assert context.ledger.run(run).parameters == {"depth": 3}
    assert not list(spool_folder(tmp_path).glob("*"))
    context.ledger.close()


REPLAYING = """
import sys
from pathlib import Path
from tests.tracking.project import open_context
from trivet.tracking.spool import replay
context = open_context(Path(sys.argv[1]))
print("ready", flush=True)
replay(context.ledger, Path(sys.argv[1]))
"""


def test_replays_that_are_killed_and_run_at_once_hand_in_everything_once(tmp_path):
    from tests.tracking.test_spool import RUN, dies, point
    from trivet.tracking.spool import Spool

    context = open_context(tmp_path)
    context.ledger.write(RUN)
    spool = Spool(spool_folder(tmp_path), RUN.id)
    for number in range(30_000):
        spool.take(point(number))
    assert spool.write()
    dies(spool)
    chance = random.Random(7)
    for _ in range(4):
        processes = [begin(REPLAYING, tmp_path) for _ in range(2)]
        for process in processes:
            process.stdout.readline()
        time.sleep(chance.uniform(0.0, 0.4))
        for process in processes:
            process.send_signal(signal.SIGKILL)
            process.communicate()
    replay(context.ledger, tmp_path)
    assert [one.step for one in context.ledger.metrics(RUN.id, "m0")] == list(range(0, 30_000, 3))
    assert len(context.ledger.metrics(RUN.id)) == 30_000
    assert not list(spool_folder(tmp_path).glob("*"))
    context.ledger.close()


class Server:
    """A PostgreSQL that is stopped and started again on the same port."""

    def __init__(self, url: str) -> None:
        with psycopg.connect(url) as connection:
            self._data = connection.execute("SHOW data_directory").fetchone()[0]
        folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
        self._program = servers.program("pg_ctl", *folders)
        owner = Path(self._data).owner()
        self._as_user = ["runuser", "-u", owner, "--"] if owner != Path.home().owner() else []
        told = (Path(self._data) / "postmaster.opts").read_text()
        self._options = " ".join(re.findall(r'"([^"]*)"', told)[2:]) if '"-D"' in told else told
        self._options = " ".join(re.findall(r'"([^"]*)"', told.partition('"-D"')[2])[1:])

    def stop(self) -> None:
        self._control("-m", "immediate", "stop")

    def start(self) -> None:
        self._control("-w", "-l", str(Path(self._data).parent / "log"), "-o", self._options, "start")

    def _control(self, *what: str) -> None:
        command = [*self._as_user, self._program, "-D", self._data, *what]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=Path(self._data).parent)


@pytest.fixture
def server(postgresql_url):
    return Server(postgresql_url)


LOGGING = """
import sys, time
from pathlib import Path
from tests.tracking.project import open_context
from trivet.tracking.runs import start
context = open_context(Path(sys.argv[1]), sys.argv[2])
slowest = 0.0
with start(context, "trees") as run:
    print(run.id, flush=True)
    for step in range(int(sys.argv[3])):
        before = time.perf_counter()
        run.log(loss=1.0 / (step + 1), step=step)
        slowest = max(slowest, time.perf_counter() - before)
        time.sleep(0.002)
    run.output("answer", {"total": 6})
print("ended", slowest, flush=True)
"""


@pytest.mark.parametrize("back", ["while it trains", "after its end"])
def test_a_database_that_stops_costs_nothing_but_time(tmp_path, postgresql_url, server, back):
    context = open_context(tmp_path, postgresql_url)
    process = begin(LOGGING, tmp_path, postgresql_url, 1500)
    run = process.stdout.readline().strip()
    time.sleep(0.5)
    server.stop()
    try:
        if back == "while it trains":
            time.sleep(1.0)
            server.start()
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        assert "ended" in out, err
        assert err.count("could not be written to") == 1, err
    finally:
        if back == "after its end":
            server.start()
    replay(context.ledger, tmp_path)
    stored = context.ledger.run(run)
    assert stored.status == "finished"
    assert [one.step for one in context.ledger.metrics(run, "loss")] == list(range(1500))
    assert context.ledger.artifact(stored.outputs["answer"]).kind == "json"
    assert not list(spool_folder(tmp_path).glob("*"))
    context.ledger.close()


FULL = """
import resource, sys, time
from pathlib import Path
from tests.tracking.project import open_context
from trivet.tracking.runs import start
context = open_context(Path(sys.argv[1]))
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
with start(context, "trees") as run:
    print(run.id, flush=True)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), hard))
    for step in range(20_000):
        run.log(loss=1.0 / (step + 1), step=step)
        if step % 5_000 == 0:
            time.sleep(0.4)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
print("ended", flush=True)
"""


@pytest.mark.parametrize("limit", [100, 5_000, 150_000])
def test_a_full_disk_stops_no_training_and_loses_nothing_once_there_is_room(tmp_path, limit):
    process = begin(FULL, tmp_path, limit)
    run = process.stdout.readline().strip()
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert "ended" in out, err
    context = open_context(tmp_path)
    replay(context.ledger, tmp_path)
    assert context.ledger.run(run).status == "finished"
    assert len(context.ledger.metrics(run, "loss")) == 20_000
    assert context.ledger.count(RunQuery()) == 1
    context.ledger.close()
