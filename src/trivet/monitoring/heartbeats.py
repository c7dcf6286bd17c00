"""Signs of life: what should keep happening to a deployed model, and how long it may stay away.

A model that no one asks raises no errors, so its death shows only in what does not happen: predictions, labels,
materializations, training, the monitor itself. Invariant: silence counts from the last sign of life, or from the
start of the watch where there was none, so what never lived is dead too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Literal, TypeAlias

import msgspec

from trivet.monitoring.alarms import Alarm
from trivet.types import Micros, as_utc, duration_text, to_micros

__all__ = ["Heartbeat", "HeartbeatKind", "check", "false_alarm_rate", "rate_per_hour", "silence", "usual_silence"]

HeartbeatKind: TypeAlias = Literal["prediction", "label", "materialization", "training", "monitor"]


class Heartbeat(msgspec.Struct, frozen=True):
    """One expectation and its last sign of life.

    Attributes:
        subject: what lives: a deployment (``delay@3``), a feature view...
        kind: which sign.
        last: when it was last seen, None if never.
        expected: how long it may stay away.
        since: when the watch began: when the model was deployed.
        false_alarms: how often a healthy pause is longer than ``expected``, where that is known.
        rate: predictions expected in an hour.
        value: what one of them is worth, in the team's own currency.
    """

    subject: str
    kind: HeartbeatKind
    last: datetime | None
    expected: Micros
    since: datetime
    false_alarms: float | None = None
    rate: float | None = None
    value: float | None = None


def silence(heartbeat: Heartbeat, now: datetime) -> Micros:
    """How long there has been no sign of life; 0 where the last one is ahead of this clock."""
    return max(0, to_micros(now) - to_micros(_began(heartbeat)))


def check(heartbeats: Iterable[Heartbeat], now: datetime) -> list[Alarm]:
    """An alarm for each that has been silent for longer than it may.

    The alarm depends on when the silence began and not on when it is noticed, so noticing it again, or in two
    processes at once, makes the same alarm.

    Example:
        >>> from trivet.types import as_duration
        >>> watch = Heartbeat("delay@3", "prediction", None, as_duration("1h"), as_utc("2026-01-01T00:00:00Z"))
        >>> check([watch], as_utc("2026-01-01T00:59:59Z"))
        []
        >>> check([watch], as_utc("2026-07-01T00:00:00Z"))[0].message
        'delay@3 has made no prediction since it was deployed; one is expected every 1h.'
    """
    return [_alarm(heartbeat) for heartbeat in heartbeats if silence(heartbeat, now) > heartbeat.expected]


def usual_silence(times: Sequence[datetime], *, false_alarms: float = 0.01) -> Micros | None:
    """The shortest allowance for which at most this share of healthy pauses raises an alarm, by past pauses.

    If the next pause is like the past ones, it exceeds the k-th largest of n with chance k / (n + 1) (Vovk,
    Gammerman and Shafer, "Algorithmic Learning in a Random World", 2005). None where the past is too short for
    the promise: for 0.01 it takes 99 pauses.

    Example:
        >>> minutes = [as_utc("2026-01-01T00:00:00Z") + timedelta(minutes=number) for number in range(200)]
        >>> duration_text(usual_silence(minutes)), usual_silence(minutes[:50])
        ('1m', None)
    """
    pauses = _pauses(times)
    place = math.floor(false_alarms * (len(pauses) + 1))
    return pauses[-place] if place >= 1 else None


def false_alarm_rate(times: Sequence[datetime], expected: Micros) -> float:
    """How often a healthy pause is longer than ``expected``, by past pauses; never below 1 in (pauses + 1)."""
    pauses = _pauses(times)
    return (1 + sum(pause > expected for pause in pauses)) / (1 + len(pauses))


def rate_per_hour(times: Sequence[datetime]) -> float | None:
    """How many come in an hour, from first to last; None below two."""
    if len(times) < 2:
        return None
    hours = (max(times) - min(times)) / timedelta(hours=1)
    return (len(times) - 1) / hours if hours else None


def _began(heartbeat: Heartbeat) -> datetime:
    return heartbeat.since if heartbeat.last is None else max(heartbeat.last, heartbeat.since)


def _pauses(times: Sequence[datetime]) -> list[Micros]:
    ordered = sorted(to_micros(time) for time in times)
    return sorted(later - earlier for earlier, later in pairwise(ordered))


_DONE = {
    "prediction": "made no prediction",
    "label": "received no label",
    "materialization": "not been materialized",
    "training": "not been trained",
    "monitor": "not been monitored",
}


def _alarm(heartbeat: Heartbeat) -> Alarm:
    began = as_utc(_began(heartbeat))
    when = f"since {began:%Y-%m-%d %H:%M:%S} UTC" if heartbeat.last else "since it was deployed"
    return Alarm(
        kind=f"silence.{heartbeat.kind}",
        subject=heartbeat.subject,
        since=began,
        message=f"{heartbeat.subject} has {_DONE[heartbeat.kind]} {when}; "
        f"one is expected every {duration_text(heartbeat.expected)}.",
        evidence={"expected": heartbeat.expected, "last": heartbeat.last and began.isoformat()},
        false_alarms=heartbeat.false_alarms,
        rate=heartbeat.rate,
        value=heartbeat.value,
    )
