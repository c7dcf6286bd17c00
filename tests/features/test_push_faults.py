"""Pushes and ingests among processes that are killed, at once with others, and on a disk that is full."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import polars as pl
import pytest

import trivet as tv
from tests.servers import redis_server
from trivet.features.point_in_time import agree

ROOT = Path(__file__).resolve().parents[2]
FEATURES = {
    "n": tv.count(["5m", "2h"]),
    "total": tv.sum("delay", "2h"),
    "late": tv.count("2h", where="delay > 15"),
    "half": tv.quantile("delay", 0.5, "2h"),
    "newest": tv.latest("delay"),
}
OVER = {"changes": tv.nunique("total", "2h"), "most": tv.max("n_2h", "1h"), "seen": tv.latest("newest")}

WORKER = """
import sys
from datetime import datetime, timedelta
import trivet as tv

folder, start, first, last, how = sys.argv[1:]
now = datetime.fromisoformat(start)

def flights(number):
    names, values = ["JFK", "LGA", "EWR"], {"dep": now - timedelta(seconds=number), "delay": 0.1 * number}
    return [{"flight": 10 * number + i, "origin": names[(number + i) % 3], **values} for i in range(4)]

with tv.open(folder) as project:
    for number in range(int(first), int(last)):
        take = project.push if how == "push" else project.tables.ingest
        take("flights", flights(number))
        print(number, flush=True)
"""


@contextmanager
def online(kind, folder):
    """A project with an online store of a kind, and its two views."""
    if kind == "redis":
        with redis_server() as server:
            yield made(folder, f"redis://127.0.0.1:{server.port}/0")
    else:
        yield made(folder, "lmdb:.trivet/online")


def made(folder, url):
    (folder / "trivet.toml").write_text(f'[features]\nonline = "{url}"\n')
    with tv.open(folder) as project:
        project.tables.create("flights", key="flight", event_time="dep", keep="first")
        first = {"flight": -1, "origin": "JFK", "dep": datetime.now(UTC), "delay": 1.0}
        project.push("flights", first)
        view = tv.FeatureView(
            "congestion", entity=tv.Entity("origin"), source=project.tables.source("flights"), features=FEATURES
        )
        project.define(view, tv.FeatureView("above", entity=tv.Entity("origin"), source=view, features=OVER))
        project.push("flights", [])
    return folder


def worker(folder, start, first, last, how):
    command = [sys.executable, "-c", WORKER]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    told = [str(folder), start.isoformat(), str(first), str(last), how]
    return subprocess.Popen(
        [*command, *told], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


def assert_whole(folder, numbers):
    """Each acknowledged flight stands in the table once, and online is what a training set has of the table."""
    with tv.open(folder) as project:
        project.push("flights", [])
        held = project.tables.read("flights", history=True)["flight"].to_list()
        assert len(held) == len(set(held))
        assert set(held) >= {10 * number + i for number in numbers for i in range(4)}
        assert (len(held) - 1) % 4 == 0
        at = datetime.now(UTC)
        spine = pl.DataFrame({"origin": ["JFK", "LGA", "EWR"], "t": [at] * 3})
        views = ["congestion", "above"]
        offline = project.training_set(spine, views, time="t", full_names=True).to_polars().to_dicts()
        vectors = project.online_features(views, spine.select("origin").to_dicts(), at=at)
        for row, vector in zip(offline, vectors, strict=True):
            for name, value in vector.values.items():
                assert agree(value, row[name.replace(":", "__")]), (name, value, row)
        assert sum(vector.values["congestion:n_2h"] for vector in vectors) == len(held)
        return len(held)


@pytest.mark.parametrize("kind", ["lmdb", "redis"])
def test_processes_that_are_killed_at_random_moments_lose_nothing(tmp_path, kind):
    """A pusher and an ingester, killed and started again from where they were acknowledged, or a little before."""
    with online(kind, tmp_path) as folder:
        chance, start, jobs = Random(7), datetime.now(UTC), {"push": 0, "ingest": 1000}
        acknowledged, kills = set(), 0
        for _ in range(3):
            running = {how: worker(folder, start, max(at - 1, 0), at + 1000, how) for how, at in jobs.items()}
            for how, process in running.items():
                said = [process.stdout.readline()]  # it is at work
                time.sleep(chance.random() * 0.4)
                os.kill(process.pid, signal.SIGKILL)
                kills += 1
                said += process.stdout.read().splitlines()
                assert said[0].strip(), process.stderr.read()
                acknowledged |= {int(number) for number in said}
                jobs[how] = max(map(int, said)) + 1
                process.communicate()
        assert kills == 6
        assert assert_whole(folder, acknowledged) > 20


@pytest.mark.parametrize("kind", ["lmdb", "redis"])
def test_several_processes_push_at_once_and_online_is_the_training_set(tmp_path, kind):
    """All of them to the same three keys, with so many events that tiles stand in rows of their own."""
    with online(kind, tmp_path) as folder:
        start = datetime.now(UTC)
        running = [worker(folder, start, first, first + 15, "push") for first in (0, 15, 30)]
        for process in running:
            said, wrong = process.communicate(timeout=120)
            assert len(said.split()) == 15, wrong
        assert assert_whole(folder, range(45)) == 181


FULL = """
import os, resource, sys
from datetime import datetime, timedelta
from pathlib import Path
import trivet as tv
from trivet.errors import TrivetError

folder, how, start = Path(sys.argv[1]), sys.argv[2], datetime.fromisoformat(sys.argv[3])
origins = ["JFK", "LGA", "EWR"] * 1000
rows = [
    {"flight": n, "origin": origin, "dep": start - timedelta(seconds=n), "delay": 0.5 * n}
    for n, origin in enumerate(origins)
]
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]

def fill(room):
    if how == "disk":
        there = os.statvfs(folder)
        (folder / "ballast").write_bytes(bytes(max(there.f_bavail * there.f_frsize - room, 0)))
    else:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))

def clear():
    if how == "disk":
        (folder / "ballast").unlink()
    else:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))

with tv.open(folder) as project:
    for room in map(int, sys.argv[4:]):
        for take in (project.push, project.tables.ingest):
            fill(room)
            try:
                take("flights", rows)
                print("taken")
            except TrivetError as exc:
                print(exc)
            finally:
                clear()
            held = project.tables.read("flights").height
            assert held in (1, 3001), held
            [vector] = project.online_features("congestion", {"origin": "JFK"})
            assert vector.values["congestion:n_2h"] in (1, 1001), vector
    print(project.push("flights", rows).table.rows)
"""


def small_disk(place):
    """Whether there is a file system of 24 MB at ``place`` now."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(place)]
    return os.geteuid() == 0 and not subprocess.run(mount, check=False, capture_output=True).returncode


def test_a_full_disk_is_a_sentence_and_the_next_try_succeeds(tmp_path):
    """A real disk where one may be mounted, else a limit on the size of files."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = small_disk(place)
    try:
        folder, start = made(place, "lmdb:.trivet/online"), datetime.now(UTC) - timedelta(seconds=1)
        rooms = ["0", "20000", "200000"] if mounted else ["30000"]
        command = [sys.executable, "-c", FULL, str(folder), "disk" if mounted else "limit", start.isoformat(), *rooms]
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env=environment)
        assert done.returncode == 0, done.stdout + done.stderr
        *sentences, rows = done.stdout.splitlines()
        assert rows == "3000"
        told = [each for each in sentences if each != "taken"]
        assert told
        for sentence in told:
            assert "Traceback" not in sentence
            assert any(word in sentence for word in ("full", "File too large", "disk")), sentence
            assert any(word in sentence for word in ("try again", "again when", "goes on from there")), sentence
        with tv.open(folder) as project:
            [vector] = project.online_features("congestion", {"origin": "JFK"})
            assert vector.values["congestion:n_2h"] == 1001
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(place)], check=True)
