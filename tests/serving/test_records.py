import logging
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from random import Random

import msgspec
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trivet.ledger.tables import Tables
from trivet.serving.metrics import Metrics
from trivet.serving.records import PredictionLog, Record, Unrecorded, held_by, schema, to_arrow


def record(number, **changes):
    fields = {
        "id": f"{number:026}", "at": 1_000_000 + number, "received": 2_000_000 + number, "model": "delay",
        "version": "3", "digest": "d" * 64, "deployment": "run", "role": "champion", "entities": {"origin": "JFK"},
        "request": {"distance": 1.5}, "features": {"v:x": None}, "feature_times": {"v:x": 3},
        "feature_status": {"v:x": "null"}, "output": {"prediction": 1}, "score": 0.25, "latency_us": 7,
    }  # fmt: skip
    return Record(**fields | changes)


class Table:
    """The table as a list of commits, with switches that break it before or after a commit."""

    def __init__(self):
        self.commits = []
        self.broken = self.lost = False

    def append(self, name, arrow, *, day_of):
        assert name == "predictions"
        if self.broken:
            raise ConnectionError("no table today")
        self.commits.append(arrow)
        if self.lost:
            self.lost = False
            raise ConnectionError("committed, and the answer was lost")
        return len(self.commits)

    def ids(self):
        return [identity for commit in self.commits for identity in commit["id"].to_pylist()]

    def recorded(self, ids):
        return set(ids) & set(self.ids())


@pytest.fixture
def table():
    return Table()


@pytest.fixture
def opened(tmp_path, table):
    logs = []

    def build(**options):
        options = {"flush_every": 3600.0, "recorded": table.recorded} | options
        logs.append(PredictionLog(tmp_path / "spool", table.append, **options))
        return logs[-1]

    yield build
    table.broken = False
    for log in logs:
        log.close()


def spooled(tmp_path):
    return sorted(path.name for path in (tmp_path / "spool").iterdir())


def test_records_come_into_the_table_once_and_in_order(opened, table, tmp_path):
    log = opened()
    for number in range(5):
        log.add([record(number)])
    log.add([record(5), record(6)])
    assert log.backlog == 7
    assert log.flush() == 7
    assert log.flush() == 0
    assert table.ids() == [record(number).id for number in range(7)]
    assert len(table.commits) == 1
    assert (log.backlog, spooled(tmp_path)) == (0, [])


def test_a_row_of_the_table_is_as_agreed():
    arrow = to_arrow([record(1, features={"v:a": 0.1, "v:b": "ü"}, score=None)])
    assert arrow.schema.equals(schema())
    assert arrow.schema.field("at").type == pa.timestamp("us", "UTC")
    [row] = arrow.to_pylist()
    assert msgspec.json.decode(row["features"]) == {"v:a": 0.1, "v:b": "ü"}
    assert row["score"] is None
    assert arrow["received"].cast(pa.int64()).to_pylist() == [2_000_001]
    assert to_arrow([]).num_rows == 0


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=2),
    max_leaves=4,
)


@given(st.dictionaries(st.text(max_size=4), json_values, max_size=3))
def test_values_come_through_spool_and_table_to_the_last_digit(values):
    from trivet.serving.records import _decode, _encode

    again = _decode(_encode(record(1, request=values)))
    assert again.request == values
    text = to_arrow([again])["request"].to_pylist()[0]
    assert repr(msgspec.json.decode(text)) == repr(values)


def test_a_broken_table_keeps_the_records_and_says_so(opened, table, tmp_path, caplog):
    log = opened(flush_every=0.01)
    table.broken = True
    with caplog.at_level(logging.ERROR, "trivet"):
        log.add([record(1)])
        while "wait in" not in caplog.text:
            time.sleep(0.01)
    assert log.backlog == 1
    table.broken = False
    log.flush()
    assert table.ids() == [record(1).id]


def test_a_commit_whose_answer_was_lost_is_not_repeated(opened, table):
    log = opened()
    log.add([record(1), record(2)])
    table.lost = True
    with pytest.raises(ConnectionError):
        log.flush()
    log.add([record(3)])
    assert log.flush() == 1
    assert table.ids() == [record(number).id for number in (1, 2, 3)]


def test_the_thread_flushes_by_time_and_by_rows(opened, table):
    log = opened(flush_every=0.02)
    log.add([record(1)])
    _until(lambda: table.ids() == [record(1).id])
    log = opened(flush_rows=10)
    for number in range(2, 13):
        log.add([record(number)])
    _until(lambda: len(table.ids()) >= 11)


def test_what_a_dead_process_left_is_adopted_and_what_a_living_one_holds_is_not(opened, table, tmp_path):
    living = opened()
    living.add([record(1)])
    with _other(tmp_path, 2, "print('on', flush=True); time.sleep(60)") as other:
        assert other.stdout.readline() == b"on\n"
        with _other(tmp_path, 3, "os._exit(9)") as dead:
            assert dead.wait() == 9
        living.flush()
        assert sorted(table.ids()) == [record(1).id, record(3).id]
        other.kill()
        other.wait()
        living.flush()
    assert sorted(table.ids()) == [record(number).id for number in (1, 2, 3)]
    assert spooled(tmp_path) == []


@contextmanager
def _other(tmp_path, number, tail):
    """Another process that spools one record and then does ``tail``."""
    arguments = [sys.executable, "-c", _PROGRAM + tail, str(tmp_path / "spool"), record(number).id]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


_PROGRAM = """
import os, sys, time
from pathlib import Path
from trivet.serving.records import PredictionLog, Record
record = Record(sys.argv[2], 1, 2, "m", "1", "d", "r", "champion", {}, {}, {}, {}, {}, {"prediction": 1}, None, 1)
log = PredictionLog(Path(sys.argv[1]), None, recorded=None, flush_every=3600.0)
log.add([record])
"""


def test_a_torn_tail_costs_nothing_that_was_answered(opened, table, tmp_path, caplog):
    from trivet.serving.records import _framed

    folder = tmp_path / "spool"
    folder.mkdir()
    whole, torn = _framed(record(1)) + _framed(record(2)), _framed(record(3))
    (folder / "a.spool").write_bytes(whole + torn[:-5])
    damaged = bytearray(_framed(record(5)))
    damaged[20] ^= 1
    (folder / "b.spool").write_bytes(_framed(record(4)) + bytes(damaged) + _framed(record(6)))
    (folder / "c.spool").write_bytes(b"")
    log = opened()
    log.flush()
    assert table.ids() == [record(number).id for number in (1, 2, 4)]
    assert spooled(tmp_path) == ["a.damaged", "b.damaged"]
    assert (folder / "b.damaged").read_bytes() == bytes(damaged) + _framed(record(6))
    assert "cannot be read and were kept" in caplog.text


def test_on_a_full_disk_a_log_that_shall_answer_drops_loudly_and_keeps_what_fits(tmp_path):
    """A limit on the size of files makes the system refuse writes half-way, as a full disk does."""
    program = """
import logging, resource, sys
from pathlib import Path
from trivet.serving.metrics import Metrics
from trivet.serving.records import PredictionLog, Record
def record(n): return Record(str(n), 1, 2, "m", "1", "d", "r", "champion",
                           {"pad": "x" * 500}, {}, {}, {}, {}, {"prediction": 1}, None, 1)
logging.basicConfig(stream=sys.stderr)
rows = []
def append(name, arrow, day_of):
    rows.extend(arrow["id"].to_pylist())
    return 1
metrics = Metrics()
log = PredictionLog(Path(sys.argv[1]), append, recorded=lambda ids: set(), flush_every=3600.0, metrics=metrics,
                    unrecorded="answer")
log.flush()
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
for number in range(20): log.add([record(number)])
assert 0 < log.dropped < 20, log.dropped
assert metrics.dropped._value.get() == log.dropped
assert log.backlog == 20 - log.dropped
assert log.flush() == 20 - log.dropped
log.add([record(99)])
log.close()
assert rows == [str(n) for n in range(20 - log.dropped)] + ["99"], rows
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "s")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("NOT recorded") == 1


def test_on_a_full_disk_all_of_a_batch_is_refused_and_none_of_it_is_recorded(tmp_path):
    program = """
import resource, sys
from pathlib import Path
from trivet.serving.records import PredictionLog, Record, Unrecorded
def batch(n): return [Record(f"{n}-{k}", 1, 2, "m", "1", "d", "r", "champion",
                      {"pad": "x" * 200}, {}, {}, {}, {}, {"prediction": 1}, None, 1) for k in range(7)]
rows, kept, refused = [], [], 0
def append(name, arrow, day_of):
    rows.extend(arrow["id"].to_pylist())
    return 1
log = PredictionLog(Path(sys.argv[1]), append, recorded=lambda ids: set(), flush_every=3600.0)
log.flush()
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
for n in range(9):
    if n == 1: resource.setrlimit(resource.RLIMIT_FSIZE, (7000, hard))
    if n == 6: resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))  # someone made space
    try: log.add(batch(n))
    except Unrecorded as exc:
        refused += exc.count
        assert exc.count == 7 and "Free space" in str(exc), exc
    else: kept += [record.id for record in batch(n)]
assert 0 < refused == log.refused == 7 * 9 - len(kept), (refused, len(kept))
assert kept[-1] == "8-6" and log.dropped == 0
log.close()
assert rows == kept, (rows, kept)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "s")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("REFUSED") == 1


def test_what_comes_after_the_end_is_refused(opened, table, caplog):
    log = opened()
    log.close()
    with pytest.raises(Unrecorded, match="the prediction log is closed"):
        log.add([record(1)])
    assert (log.refused, table.ids()) == (1, [])


def test_closing_flushes_and_later_records_are_counted_as_dropped(opened, table, caplog):
    log = opened(unrecorded="answer")
    log.add([record(1)])
    log.close()
    log.close()
    assert table.ids() == [record(1).id]
    log.add([record(2)])
    assert log.dropped == 1
    assert "NOT recorded" in caplog.text


def test_what_cannot_be_flushed_at_the_end_is_flushed_by_the_next(opened, table, tmp_path):
    table.broken = True
    log = opened()
    log.add([record(1)])
    log.close()
    assert len(spooled(tmp_path)) == 1
    table.broken = False
    opened().flush()
    assert table.ids() == [record(1).id]


def test_flushes_and_backlog_are_told(opened, table):
    flushed, metrics = [], Metrics()
    log = opened(on_flush=lambda version, rows: flushed.append((version, rows)), metrics=metrics)
    log.add([record(1), record(2)])
    assert log.backlog == 2
    log.flush()
    log.flush()
    assert flushed == [(1, 2)]
    assert metrics.backlog._value.get() == 0


def test_a_failure_after_the_commit_repeats_nothing(opened, table, caplog):
    def broken(version, rows):
        raise RuntimeError("the ledger is away")

    log = opened(on_flush=broken)
    log.add([record(1)])
    assert log.flush() == 1
    assert log.flush() == 0
    assert table.ids() == [record(1).id]
    assert "was written but not recorded" in caplog.text


def test_small_files_are_joined_every_so_many_commits_and_a_failure_is_no_loss(opened, table, caplog, monkeypatch):
    monkeypatch.setattr("trivet.serving.records._LOOSE", 3)
    seen = []

    def compact():
        seen.append(len(table.commits))
        raise RuntimeError("no space to join files")

    log = opened(flush_every=0.001, compact=compact)
    for number in range(7):
        log.add([record(number)])
        _until(lambda number=number: len(table.commits) > number)
    _until(lambda: len(seen) == 2)
    assert seen == [3, 6]
    assert "could not be joined" in caplog.text
    log.close()
    assert len(table.ids()) == 7


def test_threads_add_while_it_flushes(opened, table):
    log = opened(flush_every=0.001, flush_rows=50)
    threads = [
        threading.Thread(target=lambda part=part: [log.add([record(part * 1000 + n)]) for n in range(500)])
        for part in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()
    assert sorted(table.ids()) == [record(part * 1000 + n).id for part in range(3) for n in range(500)]


# The real thing: a process that predicts and flushes into a Delta table is killed at any moment, again and again.
_WRITER = """
import os, sys, time
from pathlib import Path
from trivet.ledger import tables as module
from trivet.ledger.tables import Tables
from trivet.serving import records
from trivet.serving.records import PredictionLog, Record, held_by
module._MANY = records._LOOSE = 2   # files are joined all the time
root, start = Path(sys.argv[1]), int(sys.argv[2])
tables = Tables(root / "tables")
def append(name, arrow, day_of):
    version = tables.append(name, arrow, day_of=day_of)
    time.sleep(0.03)   # where a death leaves rows both in the table and in the spool
    return version
log = PredictionLog(root / "spool", append, recorded=held_by(tables.read), flush_every=0.005,
                    compact=lambda: tables.compact("predictions"))
out = os.open(root / "answered", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
for n in range(start, start + 1_000_000):
    log.add([Record(f"{n:026}", n, n, "m", "1", "d", "r", "champion", {}, {}, {}, {}, {}, {"prediction": n}, None, 1)])
    os.write(out, b"%026d\\n" % n)
    time.sleep(0.0005)
"""


def test_the_table_is_asked_which_ids_it_holds(tmp_path):
    tables = Tables(tmp_path)
    recorded = held_by(tables.read)
    assert recorded([record(1).id]) == set()
    tables.append("predictions", to_arrow([record(1), record(2)]))
    assert recorded([record(2).id, record(3).id]) == {record(2).id}
    assert recorded([]) == set()


def test_killed_at_any_moment_every_answered_prediction_is_recorded_exactly_once(tmp_path):
    chance = Random(0)
    for attempt in range(9):
        grown = _size(tmp_path / "answered") + 27 * 250
        with subprocess.Popen([sys.executable, "-c", _WRITER, str(tmp_path), str(attempt * 1_000_000)]) as writer:
            _until(partial(_larger, tmp_path / "answered", grown), seconds=60)
            time.sleep(chance.uniform(0, 0.2))
            writer.send_signal(signal.SIGKILL)
    tables = Tables(tmp_path / "tables")
    log = PredictionLog(tmp_path / "spool", tables.append, recorded=held_by(tables.read))
    log.flush()
    log.close()
    answered, stored = (tmp_path / "answered").read_text().split(), tables.read("predictions")["id"].to_pylist()
    assert len(stored) == len(set(stored))
    assert set(answered) <= set(stored)
    assert len(set(stored) - set(answered)) <= 9  # recorded, and killed before the answer went out
    assert not [path for path in (tmp_path / "spool").iterdir() if path.suffix == ".spool"]


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _larger(path: Path, size: int) -> bool:
    return _size(path) > size


def _until(condition, seconds=10):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)
