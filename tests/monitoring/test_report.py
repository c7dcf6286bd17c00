"""The report of one deployment: all parts together, through JSON, and as a few lines."""

from __future__ import annotations

import json
from datetime import timedelta
from functools import partial
from typing import Any

import polars as pl
import pytest

from tests.monitoring.predictions import START, labels, predictions
from trivet.errors import Invalid
from trivet.monitoring.drift import drift, profile
from trivet.monitoring.heartbeats import Heartbeat
from trivet.monitoring.performance import Reference
from trivet.monitoring.report import MonitorReport, Subject, monitor
from trivet.types import as_duration

SUBJECT = Subject("delay", "3", "ab" * 32)
NOW = START + timedelta(days=7)


def training() -> pl.DataFrame:
    from trivet.monitoring.drift import as_frame

    shape = profile(pl.DataFrame({"x": [0.0], "plan": ["gold"]}))
    return as_frame(predictions(3000, seed=99), shape)


def report(*, shift: float = 0.0, silent: bool = False, **options: Any) -> MonitorReport:
    made = predictions(1000, shift=shift)
    beat = Heartbeat(
        "delay@3", "prediction", made["at"][-1], as_duration("1h" if silent else "1d"), START, rate=6.0, value=10.0
    )
    return monitor(SUBJECT, made, labels(made), now=NOW, profile=profile(training()), heartbeats=[beat], **options)


def test_a_healthy_deployment() -> None:
    found = report(reference=Reference(330, 1000))
    assert found.healthy
    assert [each.verdict for each in found.drift] == ["stable", "stable"]
    assert found.labels.joined == found.predictions == 1000
    assert len(found.performance) == 7
    assert str(found).splitlines()[0] == "delay@3 at 2026-01-08 00:00 UTC: healthy, 1,000 predictions"


def test_a_sick_deployment() -> None:
    found = report(shift=1.0, silent=True)
    assert [alarm.kind for alarm in found.alarms] == ["silence.prediction", "drift"]
    text = str(found)
    assert "2 alarms" in text.splitlines()[0]
    assert "ALARM  delay@3 has made no prediction since 2026-01-07 22:30:00 UTC" in text
    assert "About 90 lost." in text
    assert "    x: PSI " in text


def test_drift_is_looked_for_in_the_window() -> None:
    made = pl.concat([predictions(500), predictions(500, seed=1, shift=2.0).with_columns(id="n" + pl.col("id"))])
    made = made.with_columns(
        at=pl.Series([START + timedelta(minutes=10) * index for index in range(1000)]).dt.cast_time_unit("us")
    )
    options: dict[str, Any] = {"now": NOW, "profile": profile(training())}
    early = made.head(500)
    assert not monitor(SUBJECT, early, labels(early), window="2d", **options).drift
    assert monitor(SUBJECT, made, labels(made), window="2d", **options).drift[0].rows == 279
    assert monitor(SUBJECT, made, labels(made), **options).drift[0].rows == 1000


def alarms(frame: pl.DataFrame, **options: Any) -> list[str]:
    found = monitor(SUBJECT, frame, labels(frame), now=NOW, profile=profile(training()), **options)
    assert (found.drift == ()) == frame.is_empty()
    return [alarm.kind for alarm in found.alarms]


def one_after_another(*shifts: float, rows: int = 500) -> pl.DataFrame:
    """Equal stretches of time up to ``NOW``, each with its own shift."""
    parts = [predictions(rows, seed=seed, shift=shift) for seed, shift in enumerate(shifts)]
    every = timedelta(days=1) / rows
    times = [NOW - timedelta(days=len(shifts)) + (index + 1) * every for index in range(rows * len(shifts))]
    frame = pl.concat(parts).with_columns(id=pl.Series([f"p{index}" for index in range(rows * len(shifts))]))
    return frame.with_columns(at=pl.Series(times, dtype=pl.Datetime("us", "UTC")))


@pytest.mark.parametrize("window", [None, "1d"])
def test_drift_is_an_alarm_once_it_lasts_for_consecutive_windows(window: str | None) -> None:
    passing, lasting = one_after_another(0.0, 2.0), one_after_another(2.0, 2.0)
    for frame, kinds in ((passing, []), (lasting, ["drift"])):
        assert alarms(frame, window=window, windows=2) == kinds
        assert alarms(frame, window=window, windows=1) == ["drift"]
    assert alarms(lasting.head(0), window=window, windows=2) == []
    longer = one_after_another(0.0, 2.0, 2.0)
    if window is not None:
        assert alarms(longer, window=window, windows=2) == ["drift"]
        assert alarms(longer, window=window, windows=3) == []


def test_the_alarm_says_since_when_and_the_report_stays_as_it_is() -> None:
    frame = one_after_another(2.0, 2.0)
    made = {
        windows: monitor(
            SUBJECT, frame, labels(frame), now=NOW, profile=profile(training()), window="1d", windows=windows
        )
        for windows in (1, 2)
    }
    assert made[1].drift == made[2].drift
    assert made[1].alarms[0].since == frame["at"][499 + 1]
    assert made[2].alarms[0].since == frame["at"][0]


def test_two_windows_lower_the_rate_of_false_alarms(monkeypatch: pytest.MonkeyPatch) -> None:
    """Real alarms without drift are too rare to count, so the tests are made so lax that they often err."""
    monkeypatch.setattr("trivet.profiles.LARGE", 0.0)
    monkeypatch.setattr("trivet.profiles.NOISE", 0.5)
    monkeypatch.setattr("trivet.monitoring.report.drift", partial(drift, false_alarms=0.3))
    reference = profile(training())
    raised = {1: 0, 2: 0, 3: 0}
    for seed in range(120):
        frame = predictions(600, seed=seed)
        for windows in raised:
            found = monitor(SUBJECT, frame, labels(frame), now=NOW, profile=reference, windows=windows)
            raised[windows] += bool(found.alarms)
    assert raised[1] > 15
    assert raised[2] < raised[1] / 2
    assert raised[3] <= raised[2]


@pytest.mark.parametrize("options", [{}, {"shift": 1.0, "silent": True}])
def test_a_report_comes_back_from_json(options: dict[str, Any]) -> None:
    found = report(**options)
    assert MonitorReport.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_a_deployment_that_no_one_asks() -> None:
    none = predictions(0)
    beat = Heartbeat("delay@3", "prediction", None, as_duration("1d"), START)
    found = monitor(SUBJECT, none, labels(none), now=NOW, profile=profile(training()), heartbeats=[beat])
    assert [alarm.kind for alarm in found.alarms] == ["silence.prediction"]
    assert (found.drift, found.performance) == ((), ())
    assert "never seen, allowed 1d" in str(found)
    assert MonitorReport.from_json(found.to_json()) == found


def test_what_is_no_report_is_refused() -> None:
    with pytest.raises(Invalid, match="not the report of a monitor"):
        MonitorReport.from_json({"at": 1})
