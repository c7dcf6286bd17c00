"""Everything known about one deployment's health, in one JSON document: for a page, the command line and ``/metrics``.

This module only brings together what ``performance``, ``drift``, ``labels``, ``heartbeats`` and ``alarms`` found.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any, Literal

import msgspec
import polars as pl

from trivet.errors import Invalid
from trivet.monitoring.alarms import Alarm
from trivet.monitoring.drift import ColumnDrift, Profile, as_frame, drift
from trivet.monitoring.heartbeats import Heartbeat, check, silence
from trivet.monitoring.labels import LabelReport, join
from trivet.monitoring.performance import Period, Reference, performance
from trivet.types import Digest, Duration, as_duration, as_utc, duration_text

__all__ = ["MonitorReport", "Subject", "monitor"]


class Subject(msgspec.Struct, frozen=True):
    """What is watched: a deployed model version."""

    model: str
    version: str
    digest: Digest | None = None
    deployment: str | None = None

    @property
    def name(self) -> str:
        """``delay@3``."""
        return f"{self.model}@{self.version}"


class MonitorReport(msgspec.Struct, frozen=True):
    """The health of one deployment at one moment. ``print(report)`` tells it in a few lines.

    Attributes:
        subject: the deployment.
        at: when this was found.
        predictions: how many predictions were looked at.
        labels: how labels met them.
        performance: the periods, in order.
        drift: the columns, in the profile's order; empty without a profile or predictions.
        heartbeats: the expectations and their last signs of life.
        alarms: what is wrong.
    """

    subject: Subject
    at: datetime
    predictions: int
    labels: LabelReport
    performance: tuple[Period, ...]
    drift: tuple[ColumnDrift, ...]
    heartbeats: tuple[Heartbeat, ...]
    alarms: tuple[Alarm, ...]

    @property
    def healthy(self) -> bool:
        """Whether nothing is wrong as far as anyone can tell."""
        return not self.alarms

    def to_json(self) -> dict[str, Any]:
        """The report as JSON values."""
        spec: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(self))
        return spec

    @classmethod
    def from_json(cls, spec: Mapping[str, Any]) -> MonitorReport:
        """The report that ``to_json`` described.

        Raises:
            Invalid: ``spec`` describes no report.
        """
        try:
            return msgspec.convert(dict(spec), cls)
        except msgspec.ValidationError as exc:
            raise Invalid(f"This is not the report of a monitor: {exc}.") from exc

    def __str__(self) -> str:
        state = "healthy" if self.healthy else f"{len(self.alarms)} alarm{'s' if len(self.alarms) > 1 else ''}"
        lines = [f"{self.subject.name} at {self.at:%Y-%m-%d %H:%M} UTC: {state}, {self.predictions:,} predictions"]
        lines += [f"  ALARM  {alarm.message}{_lost(alarm, self.at)}" for alarm in self.alarms]
        lines += [f"  {heartbeat.kind:<16} {_pulse(heartbeat, self.at)}" for heartbeat in self.heartbeats]
        lines += [f"  labels           {_labels(self.labels)}"]
        lines += [f"  {period.start:%Y-%m-%d %H:%M} {_period(period)}" for period in self.performance[-5:]]
        drifted = [each for each in self.drift if each.verdict == "drift"]
        unknown = sum(each.verdict == "not enough data" for each in self.drift)
        stable = len(self.drift) - len(drifted) - unknown
        lines += [f"  drift            {len(drifted)} of {len(self.drift)} columns, {stable} stable, {unknown} unknown"]
        alarming = {column for alarm in self.alarms if alarm.kind == "drift" for column in alarm.evidence}
        notes = {each.column: "" if each.column in alarming else " (not in every window: no alarm)" for each in drifted}
        return "\n".join(lines + [f"    {each.column}: {each.reason}{notes[each.column]}" for each in drifted])


def monitor(
    subject: Subject,
    predictions: pl.DataFrame,
    labels: pl.DataFrame,
    *,
    now: datetime,
    profile: Profile | None = None,
    heartbeats: Sequence[Heartbeat] = (),
    every: str = "day",
    maturity: Duration = "0s",
    kind: Literal["classification", "regression"] = "classification",
    reference: Reference | None = None,
    window: Duration | None = None,
    windows: int = 1,
) -> MonitorReport:
    """Look at one deployment: its predictions, the labels that came, what it was trained on and its signs of life.

    Args:
        subject: the deployment; ``predictions`` are its own.
        predictions: rows as prediction records keep them (``id``, ``at``, ``score``, ``features``, ``request``...).
        labels: rows with ``prediction``, ``label``, ``at``.
        now: the present.
        profile: of the training set; drift is looked for in the columns it has.
        heartbeats: what should keep happening.
        every: the length of the periods of performance.
        maturity: how old a prediction is when its label should be known.
        kind: what the model predicts.
        reference: the base rate in training.
        window: drift is looked for in predictions of this length of time before ``now``; in all where left out.
        windows: a column that drifted is an alarm if it did in each of so many consecutive windows; where ``window`` is
            left out, all predictions are cut into so many of equal size. What the report shows is not affected.

    Raises:
        Invalid: as the parts: repeated ids, times without a zone, labels that are none.
        NotFound: a column is missing.
    """
    now = as_utc(now)
    joined = join(predictions, labels)
    recent = joined.frame if window is None else joined.frame.filter(pl.col("at") > _ago(now, window))
    columns = drift(profile, as_frame(recent, profile)) if profile is not None and recent.height else []
    drifted = [each for each in columns if each.verdict == "drift"]
    if profile is not None and drifted and windows > 1:
        parts = _consecutive(joined.frame, now, window, windows)
        lasting = set.intersection(*(_drifting(profile, part) for part in parts))
        drifted, recent = [each for each in drifted if each.column in lasting], pl.concat(parts)
    alarms = [*check(heartbeats, now), *_drift_alarms(subject, drifted, len(columns), recent, windows)]
    return MonitorReport(
        subject=subject,
        at=now,
        predictions=predictions.height,
        labels=joined.report,
        performance=tuple(
            performance(joined.frame, every=every, maturity=maturity, now=now, kind=kind, reference=reference)
        ),
        drift=tuple(columns),
        heartbeats=tuple(heartbeats),
        alarms=tuple(alarms),
    )


def _ago(now: datetime, window: Duration) -> pl.Expr:
    return pl.lit(now) - pl.duration(microseconds=as_duration(window))


def _consecutive(frame: pl.DataFrame, now: datetime, window: Duration | None, count: int) -> list[pl.DataFrame]:
    """``count`` windows that share no row: of the length ``window`` before ``now``, or equal parts of the frame."""
    if window is None:
        ordered = frame.sort("at", maintain_order=True)
        ends = [frame.height * number // count for number in range(count + 1)]
        return [ordered[start:end] for start, end in pairwise(ends)]
    length = as_duration(window)
    back = (pl.lit(now) - pl.col("at")).dt.total_microseconds() // length
    return [frame.filter(pl.max_horizontal(back, 0) == number) for number in range(count)]


def _drifting(profile: Profile, part: pl.DataFrame) -> set[str]:
    return {each.column for each in drift(profile, as_frame(part, profile)) if each.verdict == "drift"}


def _drift_alarms(
    subject: Subject, drifted: Sequence[ColumnDrift], of: int, recent: pl.DataFrame, windows: int
) -> list[Alarm]:
    if not drifted:
        return []
    named = "; ".join(f"{each.column}: {each.reason}" for each in drifted[:3])
    more = f" and {len(drifted) - 3} more" if len(drifted) > 3 else ""
    first, last = recent["at"].sort().dt.strftime("%Y-%m-%d").gather([0, -1])
    period = f"{first} to {last}" + (f", in each of {windows} windows" if windows > 1 else "")
    return [
        Alarm(
            kind="drift",
            subject=subject.name,
            since=recent["at"].min(),  # type: ignore[arg-type]
            message=f"{len(drifted)} of {of} columns of {subject.name} drifted ({period}): {named}{more}.",
            evidence={each.column: {"score": each.score, "threshold": each.threshold} for each in drifted},
            false_alarms=0.01,
        )
    ]


def _lost(alarm: Alarm, now: datetime) -> str:
    lost = alarm.value_lost(now)
    return "" if lost is None else f" About {lost:,.0f} lost."


def _pulse(heartbeat: Heartbeat, now: datetime) -> str:
    seconds = silence(heartbeat, now) // 1_000_000 * 1_000_000
    last = "never seen" if heartbeat.last is None else f"last {duration_text(seconds)} ago"
    return f"{last}, allowed {duration_text(heartbeat.expected)}"


def _labels(labels: LabelReport) -> str:
    share = f" ({labels.joined / labels.predictions:.0%})" if labels.predictions else ""
    return f"{labels.joined:,} of {labels.predictions:,} predictions{share}"


def _period(period: Period) -> str:
    shown = [
        f"{name} {found.estimate:.3f} ({found.low:.3f} … {found.high:.3f})" for name, found in period.metrics.items()
    ]
    shift = [period.shift] if period.shift == "shift" else []
    return ", ".join([f"{period.labelled:,} of {period.rows:,} labelled", *shown[:2], *shift])
