"""The file of one run, and what becomes of it; processes that are killed are in ``test_spool_faults``."""

import json
import logging
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.tracking.project import open_context
from trivet.errors import Corrupt, TrivetError
from trivet.ledger import Artifact, Metric, Removal, Run
from trivet.ledger.stores.memory import MemoryStore
from trivet.tracking import spool as spools
from trivet.tracking.journal import Journal
from trivet.tracking.runs import resume, start
from trivet.tracking.spool import _HEAD, Spool, replay, spool_folder, told

NOW = datetime(2026, 1, 1, tzinfo=UTC)
RUN = Run(id="01SPOOLED", kind="experiment", name="trees", status="running", started=NOW)


def left(root: Path) -> list[Path]:
    return sorted(spool_folder(root).glob("*")) if spool_folder(root).exists() else []


def dies(spool: Spool) -> None:
    """What the death of its process does to a file: it stays, and its lock goes."""
    if spool._file is not None:
        os.close(spool._file)
    spool._file = spool._path = None


def point(number: int) -> Metric:
    return Metric(RUN.id, f"m{number % 3}", number, number / 7, NOW + timedelta(seconds=number))


steps = st.lists(
    st.sampled_from(["point", "point", "state", "artifact", "write", "settle", "settle some"]), max_size=40
)


@settings(max_examples=60, deadline=None)
@given(steps, st.floats(0, 1))
def test_whatever_was_written_and_not_settled_is_handed_in_once_wherever_the_file_is_cut(steps, cut):
    with TemporaryDirectory() as folder:
        root, spool = Path(folder), Spool(spool_folder(Path(folder)), RUN.id)
        ledger, waiting = MemoryStore(), []
        ledger.write(RUN)
        everything, state = [], RUN
        for number, step in enumerate(steps):
            match step:
                case "write":
                    assert spool.write()
                case "settle" | "settle some":
                    count = len(waiting) if step == "settle" else len(waiting) // 2
                    ledger.write(*waiting[:count])
                    del waiting[:count]
                    spool.settled(spool.taken - len(waiting))
                case _:
                    if step == "state":
                        state = replace(state, tags=state.tags | {f"t{number}": "x"})
                    artifact = Artifact.of("json", {"number": number}, created=NOW)
                    record = {"point": point(number), "state": state, "artifact": artifact}[step]
                    spool.take(record)
                    waiting.append(record)
                    everything.append(record)
        spool.write()
        path = spool._path
        dies(spool)
        if path is not None:  # a frame was cut off while it was written: nobody was told that it is safe
            frame = _HEAD.pack(900, 7) + b"x" * 900
            path.write_bytes(path.read_bytes() + frame[: int(cut * 907)])
        spare = path.read_bytes() if path else b""
        replay(ledger, root)
        assert left(root) == []
        for _ in range(2):  # handed in again, as after a crash between the ledger's answer and the removal of the file
            points = [one for one in everything if isinstance(one, Metric)]
            assert sorted(ledger.metrics(RUN.id), key=lambda one: one.step) == points
            assert ledger.run(RUN.id).tags == state.tags
            assert {a.digest for a in ledger.artifacts()} == {a.digest for a in everything if isinstance(a, Artifact)}
            if path:
                path.write_bytes(spare)
            replay(ledger, root)


def test_a_file_cut_anywhere_holds_a_prefix(tmp_path):
    spool = Spool(tmp_path, RUN.id)
    sizes = []
    for number in range(4):
        spool.take(point(number))
        spool.write()
        sizes.append(spool._size)
    content = spool._path.read_bytes()
    for end in range(len(content) + 1):
        assert len(told(content[:end], Path("x"))) == sum(size <= end for size in sizes)


def test_a_damaged_file_is_named_and_kept(tmp_path, caplog):
    context = open_context(tmp_path)
    spool = Spool(spool_folder(tmp_path), RUN.id)
    for number in range(3):
        spool.take(point(number))
        spool.write()
    path = spool._path
    dies(spool)
    content = bytearray(path.read_bytes())
    content[40] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(Corrupt, match=r"is damaged after 0 entries"):
        told(bytes(content), path)
    with caplog.at_level(logging.WARNING):
        (done,) = replay(context.ledger, tmp_path)
    assert done.refused
    assert "01SPOOLED" in caplog.text
    assert [one.suffix for one in left(tmp_path)] == [".refused"]
    assert replay(context.ledger, tmp_path) == []
    context.ledger.close()


def test_a_run_that_was_removed_for_good_is_not_brought_back(tmp_path):
    context = open_context(tmp_path)
    spool = Spool(spool_folder(tmp_path), RUN.id)
    context.ledger.write(RUN)
    spool.take(point(1))
    spool.write()
    dies(spool)
    context.ledger.write(Removal(run=RUN.id))
    (done,) = replay(context.ledger, tmp_path)
    assert done.run == RUN.id
    assert "no run" in done.refused
    context.ledger.close()


def test_the_file_of_a_living_run_is_left_alone_and_goes_when_it_ends(tmp_path):
    context = open_context(tmp_path)
    with start(context, "x") as run:
        run._journal._spool.take(Metric(run.id, "loss", 0, 1.0, NOW))
        assert run._journal._spool.write()
        assert len(left(tmp_path)) == 1
        assert replay(context.ledger, tmp_path) == []
        if (child := os.fork()) == 0:  # a forked worker does not keep the file of its parent alive
            os._exit(0 if run._journal._spool._file is None else 1)
        assert os.waitpid(child, 0)[1] == 0
    assert left(tmp_path) == []
    context.ledger.close()


def test_a_short_run_makes_no_file(tmp_path, monkeypatch):
    monkeypatch.setattr(spools, "EVERY", 30)
    monkeypatch.setattr(spools, "_writer", spools._Writer())
    context = open_context(tmp_path)
    with start(context, "x") as run:
        run.log(loss=1)
    assert not spool_folder(tmp_path).exists()
    context.ledger.close()


class Away(MemoryStore):
    """A ledger that is away while ``down``, for every verb."""

    down = False

    def __getattribute__(self, name):
        if name in {"write", "run", "runs", "metrics", "point", "pointers", "artifact"} and type(self).down:
            raise TrivetError("The ledger does not answer.")
        return super().__getattribute__(name)


@pytest.fixture
def away(monkeypatch):
    monkeypatch.setattr("trivet.tracking.runs.MemoryStore", type(None))  # give runs a spool over a ledger in memory
    monkeypatch.setattr("trivet.tracking.journal.ATTEMPTS", 2)
    monkeypatch.setattr(Away, "down", True)
    return Away()


def test_a_ledger_that_is_away_for_the_whole_run_stops_nothing(tmp_path, away, caplog):
    from dataclasses import replace as again

    context = again(open_context(tmp_path), ledger=away)
    with caplog.at_level(logging.WARNING), start(context, "trees") as run:
        run.params(depth=3)
        run.log(loss=0.5)
        run.tag(team="lab")
        run.output("answer", {"total": 6})
        run.flush()
    assert run.status == "finished"
    assert "does not answer" in caplog.text
    assert len(left(tmp_path)) == 1
    Away.down = False
    deadline = time.monotonic() + 10  # the process lives: its thread hands in
    while left(tmp_path):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    stored = away.run(run.id)
    assert (stored.status, stored.parameters, stored.metrics) == ("finished", {"depth": 3}, {"loss": 0.5})
    assert stored.tags["team"] == "lab"
    assert away.artifact(stored.outputs["answer"]).kind == "json"


def test_what_the_ledger_will_never_take_is_said_at_once(tmp_path, away):
    Away.down = False
    journal = Journal(away, RUN, every=0.01, spool=Spool(tmp_path, RUN.id))
    journal.change(lambda run: replace(run, status="odd"))
    with pytest.raises(TrivetError, match="odd"):
        journal.secure()
    journal.change(lambda run: replace(run, status="running"))
    journal.close(lambda run: replace(run, status="finished", ended=NOW))


def test_numbers_without_bounds_survive(tmp_path):
    context = open_context(tmp_path)
    spool = Spool(spool_folder(tmp_path), RUN.id)
    spool.take(replace(RUN, parameters={"big": 2**70, "text": "✈️ \x00"}))
    spool.take(Metric(RUN.id, "loss", 2**62, float("inf"), NOW))
    spool.take(Metric(RUN.id, "loss", 2**62, float("nan"), NOW + timedelta(seconds=1)))
    assert spool.write()
    dies(spool)
    (done,) = replay(context.ledger, tmp_path)
    assert done == (RUN.id, 2, "")
    assert context.ledger.run(RUN.id).parameters["big"] == 2**70
    assert json.dumps([m.value for m in context.ledger.metrics(RUN.id)]) == "[Infinity, NaN]"
    context.ledger.close()


def test_a_dead_run_is_resumed_with_what_it_left(tmp_path):
    context = open_context(tmp_path)
    context.ledger.write(RUN)
    spool = Spool(spool_folder(tmp_path), RUN.id)
    for step in range(3):
        spool.take(Metric(RUN.id, "loss", step, 1.0, NOW))
    spool.write()
    dies(spool)
    with resume(context, RUN.id) as run:
        run.log(loss=0.5)
        assert run.name == "trees"
    assert [one.step for one in context.ledger.metrics(RUN.id, "loss")] == [0, 1, 2, 3]
    assert context.ledger.run(RUN.id).status == "finished"
    context.ledger.close()
