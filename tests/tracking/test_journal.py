import logging
import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from trivet.errors import Conflict, TrivetError
from trivet.ledger import Metric, Run
from trivet.ledger.stores.memory import MemoryStore
from trivet.tracking.journal import BATCH, Journal

NOW = datetime(2026, 1, 1, tzinfo=UTC)
RUN = Run(id="01JOURNAL", kind="experiment", name="trees", status="running", started=NOW)


def ended(run: Run) -> Run:
    return replace(run, status="finished", ended=NOW)


class Flaky(MemoryStore):
    """A ledger that fails while ``down``."""

    down = False
    failures = 0

    def write(self, *records):
        if self.down:
            self.failures += 1
            raise TrivetError("The ledger does not answer.")
        super().write(*records)


def wait_until(condition, seconds=5.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


points = st.lists(
    st.tuples(st.sampled_from(["a", "b"]), st.none() | st.integers(0, 4), st.floats(allow_nan=False), st.booleans()),
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(points)
def test_the_ledger_ends_up_with_what_the_calls_said(points):
    ledger = MemoryStore()
    journal = Journal(ledger, RUN, every=60)
    said: list[tuple[str, int, datetime, float]] = []  # the oracle: a step that comes again is a further point
    latest: dict[str, float] = {}
    for name, asked, value, flush in points:
        journal.measure(asked, [(name, value)], at := NOW + timedelta(seconds=len(said)))
        steps = [one[1] for one in said if one[0] == name]
        step = max(steps, default=-1) + 1 if asked is None else asked
        if step >= max(steps, default=step):
            latest[name] = value
        said.append((name, step, at, value))
        if flush:
            journal.flush()
    assert journal.run.metrics == latest
    journal.close(ended)
    assert ledger.run(RUN.id).metrics == latest
    assert [(m.name, m.step, m.at, m.value) for m in ledger.metrics(RUN.id)] == sorted(said)


def test_a_change_arrives_without_being_asked_for():
    ledger = MemoryStore()
    journal = Journal(ledger, RUN, every=0.01)
    journal.measure(None, [("loss", 0.5)], NOW)
    wait_until(lambda: ledger.run(RUN.id).metrics == {"loss": 0.5})
    journal.change(lambda run: replace(run, tags={"who": "ada"}))
    wait_until(lambda: ledger.run(RUN.id).tags == {"who": "ada"})
    journal.close(ended)


def test_a_ledger_that_fails_for_a_while_costs_one_warning_and_no_data(caplog):
    ledger = Flaky()
    journal = Journal(ledger, RUN, every=0.005)
    ledger.down = True
    with caplog.at_level(logging.WARNING, "trivet"):
        for step in range(5):
            journal.measure(step, [("loss", 1.0 + step)], NOW)
            wait_until(lambda reached=ledger.failures: ledger.failures > reached)
        journal.measure(0, [("loss", -1.0)], NOW)  # replaces a point that is waiting
    ledger.down = False
    wait_until(lambda: len(ledger.metrics(RUN.id)) == 5)
    assert [metric.value for metric in ledger.metrics(RUN.id)] == [-1.0, 2.0, 3.0, 4.0, 5.0]
    assert len(caplog.records) == 1
    assert "The ledger does not answer" in caplog.text
    journal.close(ended)
    assert ledger.run(RUN.id).status == "finished"


def test_close_raises_what_the_ledger_said_and_can_be_called_again():
    ledger = Flaky()
    journal = Journal(ledger, RUN, every=0.001)
    ledger.down = True
    journal.measure(None, [("loss", 1.0)], NOW)
    with pytest.raises(TrivetError, match="does not answer"):
        journal.close(ended)
    assert ledger.run(RUN.id).status == "running"
    ledger.down = False
    journal.close(ended)
    assert ledger.run(RUN.id).metrics == {"loss": 1.0}
    assert ledger.run(RUN.id).status == "finished"


def test_a_ledger_that_cannot_be_written_to_shows_at_the_beginning():
    ledger = Flaky()
    ledger.down = True
    with pytest.raises(TrivetError, match="does not answer"):
        Journal(ledger, RUN)


def test_only_metrics_are_taken_after_the_end():
    ledger = MemoryStore()
    journal = Journal(ledger, RUN, every=0.01)
    journal.measure(None, [("loss", 1.0)], NOW)
    journal.close(ended)
    with pytest.raises(Conflict, match=r"The run 'trees' has ended \(finished\) and takes no more but metrics"):
        journal.change(lambda run: run)
    journal.measure(None, [("loss", 0.5)], NOW)
    wait_until(lambda: ledger.run(RUN.id).metrics == {"loss": 0.5})
    assert ledger.run(RUN.id).status == "finished"


def test_a_refused_change_leaves_the_record_as_it_was():
    journal = Journal(MemoryStore(), RUN)
    before = journal.run
    with pytest.raises(ZeroDivisionError):
        journal.change(lambda run: 1 / 0)
    assert journal.run == before
    journal.close(ended)


def test_what_others_write_meanwhile_stays():
    ledger = MemoryStore()
    journal = Journal(ledger, RUN, every=60)
    ledger.write(replace(ledger.run(RUN.id), tags={"reviewed": "yes"}))
    ledger.write(Metric(RUN.id, "score", 0, 0.9, NOW))
    journal.change(lambda run: replace(run, tags=run.tags | {"mine": "1"}))
    journal.close(ended)
    assert ledger.run(RUN.id).tags == {"reviewed": "yes", "mine": "1"}
    assert ledger.run(RUN.id).metrics == {"score": 0.9}


def test_a_run_ended_from_outside_keeps_taking_points_and_ends_as_it_says_itself():
    ledger = MemoryStore()
    journal = Journal(ledger, RUN, every=60)
    ledger.write(replace(ledger.run(RUN.id), status="killed", ended=NOW, error="Stopped by bob."))
    journal.change(lambda run: replace(run, tags={"mine": "1"}))
    journal.measure(None, [("loss", 1.0)], NOW)
    journal.flush()
    assert ledger.run(RUN.id).status == "killed"
    assert ledger.run(RUN.id).metrics == {"loss": 1.0}
    journal.close(ended)
    assert ledger.run(RUN.id).status == "finished"


def test_more_points_than_a_batch_all_arrive():
    ledger = MemoryStore()
    journal = Journal(ledger, RUN, every=60)
    journal.measure(None, [(f"m{number}", float(number)) for number in range(BATCH + 7)], NOW)
    journal.close(ended)
    assert len(ledger.metrics(RUN.id)) == BATCH + 7
