"""Alarms: what is wrong since when, kept in the ledger from the moment it is raised until it is cleared.

An alarm is an artifact of kind ``alarm`` whose identity is its subject, its kind and when the trouble began. It is
open while the name ``alarm/...`` carries the label ``open``; runs of kind ``monitor`` say who raised and cleared it,
and the history of the name is its diary. Invariant: raising an open alarm again changes nothing, in one process
or in several, and a process that dies on the way leaves an alarm that the next check completes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from trivet.clock import new_id
from trivet.digest import digest
from trivet.errors import NotFound
from trivet.ledger import Artifact, Metric, Run
from trivet.pipelines.context import Context
from trivet.types import Digest, Json, as_utc

__all__ = ["Alarm", "OpenAlarm", "clear_alarm", "open_alarms", "raise_alarm", "settle_alarms"]

KIND = "alarm"
OPEN = "open"


class Alarm(msgspec.Struct, frozen=True):
    """Something is wrong.

    Attributes:
        kind: what: ``silence.prediction``, ``drift``, ``performance``...
        subject: whose: a deployment, a feature view...
        since: when the trouble began, as far as the evidence says; not when it was noticed.
        message: the sentence that people read.
        evidence: JSON that the message rests on. It must not depend on when the check was made.
        false_alarms: how often such an alarm is raised in vain, where that is known.
        rate, value: predictions expected in an hour and what one is worth, to estimate what the trouble costs.
    """

    kind: str
    subject: str
    since: datetime
    message: str
    evidence: dict[str, Any] = {}
    false_alarms: float | None = None
    rate: float | None = None
    value: float | None = None

    @property
    def name(self) -> str:
        """The ledger's name of this trouble: of one kind and subject only one alarm is open at a time."""
        readable = re.sub(r"[^A-Za-z0-9_.-]+", "-", f"{self.kind}-{self.subject}")[:80].strip("-.")
        exact = hashlib.sha256(f"{self.kind}\0{self.subject}".encode()).hexdigest()[:8]
        return f"{KIND}/{readable}-{exact}"

    def value_lost(self, now: datetime) -> float | None:
        """Rate x time x value: what the trouble has cost until ``now``, or None where no value is declared.

        Example:
            >>> began = as_utc("2026-01-01T00:00:00Z")
            >>> alarm = Alarm("silence.prediction", "delay@3", began, "", rate=10.0, value=0.5)
            >>> alarm.value_lost(as_utc("2026-01-02T00:00:00Z"))
            120.0
        """
        if self.rate is None or self.value is None:
            return None
        hours = max(0.0, (as_utc(now) - self.since) / timedelta(hours=1))
        return self.rate * hours * self.value

    def to_json(self) -> dict[str, Any]:
        """The alarm as JSON values: the spec of its artifact."""
        spec: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(self))
        return spec


class OpenAlarm(msgspec.Struct, frozen=True):
    """An alarm that is open, with the digest of its artifact and when and by whom it was raised."""

    alarm: Alarm
    digest: Digest
    raised: datetime
    by: str


def raise_alarm(context: Context, alarm: Alarm) -> OpenAlarm:
    """Record ``alarm`` and open it. If one of its kind and subject is open, that one stays and is answered."""
    standing = _open(context, alarm.name)
    if standing is not None:
        return standing
    now = context.clock()
    artifact = Artifact.of(KIND, alarm.to_json(), content=digest(KIND, alarm.to_json()), created=now)
    lost = alarm.value_lost(now)
    run = _run(context, alarm, "raise", outputs={"alarm": artifact.digest})
    numbers = [] if lost is None else [Metric(run.id, "value_lost", 0, lost, now)]
    context.ledger.write(artifact, run, *numbers)
    pointer = context.ledger.point(alarm.name, OPEN, artifact.digest, by=context.user, why=alarm.message)
    return OpenAlarm(alarm, artifact.digest, pointer.at, pointer.by)


def clear_alarm(context: Context, alarm: Alarm, *, why: str = "") -> Run:
    """Close the open alarm of this kind and subject, and record who did and why.

    Raises:
        NotFound: no such alarm is open; those that are open are named.
        Conflict: someone else changed it at the same moment.
    """
    standing = _open(context, alarm.name)
    if standing is None:
        available = [f"{each.alarm.kind} of {each.alarm.subject}" for each in open_alarms(context)]
        raise NotFound("open alarm", f"{alarm.kind} of {alarm.subject}", available)
    lost = standing.alarm.value_lost(context.clock())
    run = _run(context, alarm, "clear", inputs={"alarm": standing.digest}, parameters={"why": why})
    numbers = [] if lost is None else [Metric(run.id, "value_lost", 0, lost, context.clock())]
    context.ledger.write(run, *numbers)
    context.ledger.point(alarm.name, OPEN, None, by=context.user, why=why, expect=standing.digest)
    return run


def open_alarms(context: Context) -> list[OpenAlarm]:
    """The alarms that are open, the longest trouble first."""
    found = [_read(context, pointer) for pointer in context.ledger.pointers(name=f"{KIND}/*") if pointer.label == OPEN]
    return sorted((each for each in found if each), key=lambda each: (each.alarm.since, each.alarm.name))


def settle_alarms(context: Context, alarms: Iterable[Alarm], *, checked: Sequence[tuple[str, str]]) -> list[OpenAlarm]:
    """Raise what a check found and clear what it looked for and no longer found; answer what is open now.

    Args:
        context: the project.
        alarms: what the check found.
        checked: the (kind, subject) pairs that the check looked at; alarms of others are left alone.
    """
    found = {alarm.name: alarm for alarm in alarms}
    for alarm in found.values():
        raise_alarm(context, alarm)
    looked = set(checked)
    for each in open_alarms(context):
        if each.alarm.name not in found and (each.alarm.kind, each.alarm.subject) in looked:
            clear_alarm(context, each.alarm, why="the check no longer finds it")
    return open_alarms(context)


def _open(context: Context, name: str) -> OpenAlarm | None:
    for pointer in context.ledger.pointers(name=name):
        if pointer.label == OPEN and (found := _read(context, pointer)):
            return found
    return None


def _read(context: Context, pointer: Any) -> OpenAlarm | None:
    if pointer.digest is None:
        return None
    artifact = context.ledger.artifact(pointer.digest)
    return OpenAlarm(msgspec.convert(artifact.spec, Alarm), artifact.digest, pointer.at, pointer.by)


def _run(
    context: Context,
    alarm: Alarm,
    verb: str,
    *,
    inputs: Mapping[str, Digest] = {},
    outputs: Mapping[str, Digest] = {},
    parameters: Mapping[str, Json] = {},
) -> Run:
    """A finished run of kind ``monitor``: what was done about the alarm."""
    now = context.clock()
    return Run(
        id=new_id(context.clock),
        kind="monitor",
        name=f"{verb} {alarm.kind}",
        status="finished",
        started=now,
        ended=now,
        user=context.user,
        host=context.host,
        inputs=dict(inputs),
        outputs=dict(outputs),
        parameters={"subject": alarm.subject, **parameters},
    )
