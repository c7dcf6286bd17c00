"""Alarms in the ledger: raised once, cleared once, with their history, by many at a time and across deaths."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from trivet import plugins
from trivet.clock import FixedClock
from trivet.config import Settings
from trivet.errors import NotFound
from trivet.ledger import RunQuery
from trivet.monitoring.alarms import Alarm, clear_alarm, open_alarms, raise_alarm, settle_alarms
from trivet.pipelines.context import Context

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
SILENT = Alarm("silence.prediction", "delay@3", BEGAN, "delay@3 is silent.", rate=10.0, value=2.0)
DRIFTED = Alarm("drift", "delay@3", BEGAN + timedelta(days=1), "3 columns drifted.", {"x": {"score": 0.4}})


@pytest.fixture(params=["memory:", "sqlite:///ledger.db"])
def context(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Context]:
    ledger = plugins.open_url("ledger", request.param, tmp_path)
    blobs = plugins.open_url("blobs", "memory:", tmp_path)
    clock = FixedClock(BEGAN + timedelta(days=2))
    yield Context(tmp_path, Settings(), ledger, blobs, clock, "ada", "host")
    ledger.close()


def monitors(context: Context) -> list[str]:
    return [run.name for run in reversed(context.ledger.runs(RunQuery(kind="monitor")))]


def test_an_alarm_is_open_until_it_is_cleared(context: Context) -> None:
    raised = raise_alarm(context, SILENT)
    assert (raised.alarm, raised.by) == (SILENT, "ada")
    assert [each.alarm for each in open_alarms(context)] == [SILENT]
    run = clear_alarm(context, SILENT, why="restarted")
    assert open_alarms(context) == []
    assert (run.inputs, run.parameters["why"]) == ({"alarm": raised.digest}, "restarted")
    assert monitors(context) == ["raise silence.prediction", "clear silence.prediction"]


def test_raising_an_open_alarm_changes_nothing(context: Context) -> None:
    first = raise_alarm(context, SILENT)
    later = msgspec.structs.replace(SILENT, message="still silent", since=BEGAN + timedelta(hours=1))
    assert raise_alarm(context, SILENT) == raise_alarm(context, later) == first
    assert monitors(context) == ["raise silence.prediction"]


def test_an_alarm_may_come_back(context: Context) -> None:
    for _ in range(2):
        raise_alarm(context, SILENT)
        clear_alarm(context, SILENT)
    raise_alarm(context, SILENT)
    history = context.ledger.pointers(name=SILENT.name, history=True)
    assert [pointer.digest is not None for pointer in history] == [True, False, True, False, True]
    assert len(open_alarms(context)) == 1


def test_alarms_are_listed_by_the_length_of_the_trouble(context: Context) -> None:
    for alarm in (DRIFTED, SILENT):
        raise_alarm(context, alarm)
    assert [each.alarm for each in open_alarms(context)] == [SILENT, DRIFTED]


def test_the_alarm_is_an_artifact_with_lineage_and_a_price(context: Context) -> None:
    raised = raise_alarm(context, SILENT)
    artifact = context.ledger.artifact(raised.digest)
    assert (artifact.kind, artifact.spec["subject"]) == ("alarm", "delay@3")
    (run,) = context.ledger.runs(RunQuery(output=raised.digest))
    assert (run.kind, run.status, run.metrics) == ("monitor", "finished", {"value_lost": 10.0 * 48 * 2.0})


def test_many_at_once_raise_one_alarm(context: Context) -> None:
    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: raise_alarm(context, SILENT).digest, range(8)))
    assert len(found) == len(open_alarms(context)) == 1


def test_a_death_before_the_name_is_set_is_completed_by_the_next_check(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killed(BaseException):
        pass

    def die(*_: object, **__: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(type(context.ledger), "point", die)
        with pytest.raises(Killed):
            raise_alarm(context, SILENT)
    assert open_alarms(context) == []
    raise_alarm(context, SILENT)
    assert [each.alarm for each in open_alarms(context)] == [SILENT]
    assert len(context.ledger.artifacts(kind="alarm")) == 1


def test_settling_raises_what_is_found_and_clears_what_is_not(context: Context) -> None:
    checked = [("silence.prediction", "delay@3"), ("drift", "delay@3")]
    settle_alarms(context, [SILENT], checked=checked)
    assert [each.alarm for each in settle_alarms(context, [DRIFTED], checked=checked)] == [DRIFTED]
    assert settle_alarms(context, [], checked=[("drift", "other@1")])[0].alarm == DRIFTED
    assert settle_alarms(context, [], checked=checked) == []


def test_clearing_what_is_not_open_names_what_is(context: Context) -> None:
    raise_alarm(context, DRIFTED)
    with pytest.raises(NotFound, match=r"There is no open alarm 'drift of delay@4'\. Did you mean 'drift of delay@3'"):
        clear_alarm(context, msgspec.structs.replace(DRIFTED, subject="delay@4"))


def test_names_fit_the_ledger_and_never_collide(context: Context) -> None:
    subjects = ["a/b", "a:b", "a b", " ", "ü" * 500, "", "x" * 500, "x" * 501]
    for subject in subjects:
        raise_alarm(context, msgspec.structs.replace(SILENT, subject=subject))
    assert {each.alarm.subject for each in open_alarms(context)} == set(subjects)
