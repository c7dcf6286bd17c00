"""Materialization that is killed, loses its store or runs out of disk: nothing half-written, and the next one converges.

What a row must be is worked out here by counting events in a dictionary, not by an engine.
"""

from __future__ import annotations

import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import polars as pl
import pytest

from tests.servers import redis_server
from trivet.errors import TrivetError
from trivet.features import Entity, FeatureView, Source, count, latest, select_all
from trivet.features.materialize import Materializer
from trivet.features.online import redis as redis_store
from trivet.features.online.lmdb import LmdbStore
from trivet.features.reader import FeatureReader
from trivet.plugins import open_url
from trivet.types import from_micros

HOUR, START = 3_600_000_000, 1_700_000_000_000_000
KEYS, HOURS = 1500, 48
VIEWS = [
    FeatureView(
        name,
        entity=Entity("id"),
        source=Source("events", event_time="t"),
        features={"x": latest("x"), "n": count(window)},
    )
    for name, window in (("short", "2h"), ("long", "12h"))
]
WINDOWS = {"short": 2 * HOUR, "long": 12 * HOUR}


def events() -> pl.DataFrame:
    """Some events of each key in two days, the same in every process."""
    chance = np.random.default_rng(7)
    size = 6 * KEYS
    when = START + chance.integers(0, HOURS * HOUR, size)
    columns = {"id": chance.integers(0, KEYS, size), "t": when, "x": chance.integers(0, 10**6, size)}
    return pl.DataFrame(columns).with_columns(pl.col("t").cast(pl.Datetime("us", "UTC")))


def small_pieces() -> None:
    """Several transactions for each view in Redis."""
    redis_store.PIECE, redis_store._CHUNK = 200, 50


def advance(url: str, folder: str) -> None:
    """What the killed process does: hour after hour from where the store is, or from the start of the data."""
    from pathlib import Path

    small_pieces()
    store = open_url("online", url, Path(folder))
    materializer = Materializer(VIEWS, {"events": events()}, store)
    print("ready", flush=True)
    reached = min(store.watermark(view.online_name) or START for view in VIEWS)
    while reached < START + HOURS * HOUR:
        reached += HOUR // 2
        materializer.advance(from_micros(reached))
    print("done", flush=True)


class Oracle:
    """The rows of each key, by looking at all of its events."""

    def __init__(self) -> None:
        self._events: dict[int, list[tuple[int, int]]] = {key: [] for key in range(KEYS)}
        data = events().with_columns(pl.col("t").to_physical())
        for key, when, x in data.select("id", "t", "x").iter_rows():
            self._events[key].append((when, x))

    def row(self, view: str, key: int, at: int) -> tuple[int | None, int]:
        """The latest value up to ``at``, and how many events the window before it holds."""
        seen = [(when, place, x) for place, (when, x) in enumerate(self._events[key]) if when <= at]
        inside = sum(at - WINDOWS[view] <= when < at for when, _, _ in seen)
        return (max(seen)[2] if seen else None), inside


@pytest.fixture(scope="module")
def oracle() -> Oracle:
    return Oracle()


def assert_whole(store, oracle, *, together: bool) -> None:
    """Each row is what it must be at its moment, and none that must be there up to the watermark is missing."""
    marks = [store.watermark(view.online_name) for view in VIEWS]
    assert len(set(marks)) == 1 or not together, marks
    for view, mark in zip(VIEWS, marks, strict=True):
        if mark is None and together:
            assert store.read(view.online_name, [(key,) for key in range(KEYS)]) == [None] * KEYS
        for key, row in enumerate(store.read(view.online_name, [(key,) for key in range(KEYS)])):
            if row is not None:
                assert tuple(row.values) == oracle.row(view.name, key, row.as_of), (view.name, key, row)
                assert mark is None or row.as_of <= mark or not together
            if mark is not None and (row is None or row.as_of <= mark):
                assert tuple(row.values if row else (None, 0)) == oracle.row(view.name, key, mark), (
                    view.name,
                    key,
                    mark,
                )


def assert_at_the_end(store, oracle) -> None:
    end = START + HOURS * HOUR
    vectors = FeatureReader(select_all(VIEWS, full_names=True), store)([{"id": key} for key in range(KEYS)], end)
    for key, vector in enumerate(vectors):
        wanted = [value for view in VIEWS for value in oracle.row(view.name, key, end)]
        assert list(vector.values.values()) == wanted
    assert [store.watermark(view.online_name) for view in VIEWS] == [end] * len(VIEWS)


@contextmanager
def running(url, folder) -> Iterator[subprocess.Popen[str]]:
    program = f"from tests.features.online.test_interruptions import advance; advance({url!r}, {str(folder)!r})"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def killed_again_and_again(url, folder, oracle, *, kills, seed, together) -> None:
    chance, hit, longest = random.Random(seed), 0, 0.25
    while hit < kills:
        with running(url, folder) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            time.sleep(chance.uniform(0, longest))
            process.send_signal(signal.SIGKILL)
            at_work = process.stdout.readline() != "done\n"
            process.wait(30)
        store = open_url("online", url, folder)
        assert_whole(store, oracle, together=together)
        if at_work:
            hit += 1
        else:  # too late: once more from nothing, and sooner
            longest /= 2
            for view in store.views():
                store.drop(view)
        store.close()
    with running(url, folder) as process:
        assert process.communicate(timeout=120)[0] == "ready\ndone\n"
    store = open_url("online", url, folder)
    assert_whole(store, oracle, together=together)
    assert_at_the_end(store, oracle)
    store.close()


def test_a_killed_materializer_leaves_whole_rows_in_lmdb_and_converges(tmp_path, oracle):
    killed_again_and_again("lmdb:online", tmp_path, oracle, kills=4, seed=1, together=True)


def test_a_killed_materializer_leaves_whole_rows_in_redis_and_converges(tmp_path, oracle):
    with redis_server() as server:
        url = f"redis://127.0.0.1:{server.port}/0"
        killed_again_and_again(url, tmp_path, oracle, kills=4, seed=2, together=False)


# --- Redis gone and back -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["killed and back empty", "hangs and goes on"])
def test_redis_that_goes_in_the_middle_of_a_materialization_is_filled_when_it_is_back(how, oracle, monkeypatch):
    monkeypatch.setattr(redis_store, "PIECE", 200)
    monkeypatch.setattr(redis_store, "_CHUNK", 50)
    with redis_server() as server:
        store = redis_store.RedisStore(f"redis://127.0.0.1:{server.port}/0", timeout=0.5)
        materializer = Materializer(VIEWS, {"events": events()}, store)
        materializer.advance(from_micros(START + 6 * HOUR))
        sent, exchanged = [], store._exchanged

        def interrupted(packed):
            sent.append(len(packed))
            if len(sent) == 4:
                server.stop() if how.startswith("killed") else server.signal(signal.SIGSTOP)
            return exchanged(packed)

        monkeypatch.setattr(store, "_exchanged", interrupted)
        sentence = rf"^Redis at 127.0.0.1:{server.port}/0 does not answer: .* the next materialization goes on"
        with pytest.raises(TrivetError, match=sentence):
            materializer.advance(from_micros(START + 24 * HOUR))
        assert len(sent) == 4
        with pytest.raises(TrivetError, match=sentence):
            FeatureReader(select_all(VIEWS, full_names=True), store)([{"id": 1}], START + HOURS * HOUR)
        server.start() if how.startswith("killed") else server.signal(signal.SIGCONT)
        assert_whole(store, oracle, together=False)
        materializer.advance(from_micros(START + HOURS * HOUR))
        assert_whole(store, oracle, together=False)
        assert_at_the_end(store, oracle)
        store.close()


# --- disk full -----------------------------------------------------------------------------------------------------

_FULL = """
import resource, sys
from pathlib import Path
from tests.features.online.test_interruptions import HOUR, HOURS, START, VIEWS, events
from trivet.errors import TrivetError
from trivet.features.materialize import Materializer
from trivet.features.online.lmdb import LmdbStore
from trivet.types import from_micros

store = LmdbStore(Path(sys.argv[1]))
materializer = Materializer(VIEWS, {"events": events()}, store)
materializer.advance(from_micros(START + HOUR))
size, hard = (Path(sys.argv[1]) / "data.mdb").stat().st_size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 20_000, hard))
for _ in range(2):
    try:
        materializer.advance(from_micros(START + 24 * HOUR))
    except TrivetError as exc:
        print(exc)
print(store.watermark(VIEWS[0].online_name) == START + HOUR)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
if sys.argv[2] == "room":
    materializer.advance(from_micros(START + HOURS * HOUR))
store.close()
"""


@pytest.mark.parametrize("after", ["no room", "room"])
def test_a_full_disk_is_a_sentence_and_what_was_there_stands(after, tmp_path, oracle):
    done = subprocess.run(
        [sys.executable, "-c", _FULL, str(tmp_path / "s"), after], check=True, stdout=subprocess.PIPE, text=True
    )
    first, second, kept = done.stdout.splitlines()
    sentence = (
        r"The online store .* cannot be written: .*, and its disk has [\d,.]+ MB free\. Nothing of this write is in it and "
        r"what it had stands\. Make room, and materialize again\."
    )
    assert re.fullmatch(sentence, first)
    assert re.fullmatch(sentence, second)
    assert kept == "True"
    store = LmdbStore(tmp_path / "s")
    assert_whole(store, oracle, together=True)
    if after == "room":
        assert_at_the_end(store, oracle)
    store.close()
