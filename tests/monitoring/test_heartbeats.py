"""Silence: when it is an alarm, how often in vain, and what it costs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trivet.monitoring.heartbeats import (
    Heartbeat,
    HeartbeatKind,
    check,
    false_alarm_rate,
    rate_per_hour,
    silence,
    usual_silence,
)
from trivet.types import as_duration

DEPLOYED = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = as_duration("1h")


def watch(last: datetime | None, **options: float) -> Heartbeat:
    return Heartbeat("delay@3", "prediction", last, HOUR, DEPLOYED, **options)


@pytest.mark.parametrize("last", [None, DEPLOYED, DEPLOYED - timedelta(days=9)])
@pytest.mark.parametrize(("pause", "alarms"), [(timedelta(hours=1), 0), (timedelta(hours=1, microseconds=1), 1)])
def test_silence_longer_than_allowed_is_an_alarm(last: datetime | None, pause: timedelta, alarms: int) -> None:
    assert len(check([watch(last)], DEPLOYED + pause)) == alarms


def test_a_model_that_never_predicted_is_dead_since_it_was_deployed() -> None:
    (alarm,) = check([watch(None)], DEPLOYED + timedelta(days=180))
    assert alarm.since == DEPLOYED
    assert alarm.message == "delay@3 has made no prediction since it was deployed; one is expected every 1h."


def test_the_alarm_does_not_depend_on_when_it_is_noticed() -> None:
    last = DEPLOYED + timedelta(days=3)
    found = {check([watch(last)], last + timedelta(hours=hours))[0].to_json().__repr__() for hours in (2, 30, 3000)}
    assert len(found) == 1


def test_a_sign_of_life_ahead_of_the_clock_is_no_silence() -> None:
    beat = watch(DEPLOYED + timedelta(days=1))
    assert silence(beat, DEPLOYED) == 0
    assert check([beat], DEPLOYED) == []


def test_each_kind_has_its_sentence() -> None:
    kinds: list[HeartbeatKind] = ["prediction", "label", "materialization", "training", "monitor"]
    beats = [Heartbeat("s", kind, DEPLOYED, HOUR, DEPLOYED) for kind in kinds]
    alarms = check(beats, DEPLOYED + timedelta(days=1))
    assert [alarm.kind for alarm in alarms] == [f"silence.{kind}" for kind in kinds]
    assert alarms[1].message == "s has received no label since 2026-01-01 00:00:00 UTC; one is expected every 1h."
    assert len({alarm.name for alarm in alarms}) == 5


def test_a_silence_has_a_price() -> None:
    (alarm,) = check([watch(None, rate=100.0, value=0.25, false_alarms=0.001)], DEPLOYED + timedelta(days=2))
    assert alarm.value_lost(DEPLOYED + timedelta(days=2)) == 100 * 48 * 0.25
    assert alarm.false_alarms == 0.001
    assert check([watch(None)], DEPLOYED + timedelta(days=2))[0].value_lost(DEPLOYED) is None


pauses = st.lists(st.integers(0, 50), min_size=1, max_size=40)


def times_of(gaps: list[int]) -> list[datetime]:
    return [DEPLOYED + timedelta(minutes=sum(gaps[:place])) for place in range(len(gaps) + 1)]


@settings(max_examples=100, deadline=None)
@given(pauses, st.sampled_from([0.05, 0.1, 0.5]))
def test_the_usual_silence_is_the_shortest_that_keeps_the_promise(gaps: list[int], false_alarms: float) -> None:
    times = times_of(gaps)
    found = usual_silence(times, false_alarms=false_alarms)
    promise = false_alarms * (len(gaps) + 1) + 1e-9
    kept = [gap for gap in sorted(gaps) if 1 + sum(other > gap for other in gaps) <= promise]
    assert found == (kept[0] * 60_000_000 if kept else None)
    if found is not None:
        assert false_alarm_rate(times, found) <= false_alarms + 1e-12


def test_the_promise_is_kept_on_new_pauses() -> None:
    generator = np.random.default_rng(0)
    broken = 0
    for _ in range(1000):
        gaps = generator.exponential(10, 101)
        threshold = usual_silence(times_of([int(1000 * gap) for gap in gaps[:100]]), false_alarms=0.05)
        assert threshold is not None
        broken += int(1000 * gaps[100]) * 60_000_000 > threshold
    assert 0.025 <= broken / 1000 <= 0.07


def test_rates() -> None:
    assert rate_per_hour(times_of([30] * 4)) == 2.0
    assert rate_per_hour(times_of([])) is None
    assert rate_per_hour([DEPLOYED, DEPLOYED]) is None
    assert false_alarm_rate([], HOUR) == 1.0
