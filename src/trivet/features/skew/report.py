"""What an audit found: for each feature how many served values differ from those of training, how far, and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import msgspec

from trivet.statistics import wilson
from trivet.types import duration_text

__all__ = ["CAUSES", "Example", "FeatureSkew", "SkewReport", "beyond"]

CAUSES = {
    "stale": "the online store was behind: it had the value of an earlier moment",
    "expired": "it is too old on one side only",
    "version": "it is the value of another version of the view",
    "type": "the same value has another type",
    "rounding": "the last digits differ",
    "unmaterialized": "the online store had nothing of the view",
    "missing": "the online store had no row of this key",
    "input": "it is computed of a value that differs",
    "unknown": "nothing on record explains it",
}
"""Why a served value is not the one of training, in words."""


class Example(msgspec.Struct, frozen=True, kw_only=True):
    """One value that differs.

    Attributes:
        prediction: the id of the prediction.
        at: the moment that it is about.
        entities: whom.
        online: what was served.
        offline: what a training set has.
        status: what the record says of the served value.
        cause: a key of ``CAUSES``.
        age: how far the online store was behind, in microseconds, where that is the cause.
    """

    prediction: str
    at: datetime
    entities: dict[str, Any]
    online: Any
    offline: Any
    status: str
    cause: str
    age: int | None = None

    @property
    def why(self) -> str:
        """The cause in words."""
        return CAUSES[self.cause]

    def __str__(self) -> str:
        whom = ", ".join(f"{key}={value}" for key, value in self.entities.items())
        behind = f" by {duration_text(self.age // 1_000_000 * 1_000_000)}" if self.age else ""
        return (
            f"prediction:{self.prediction} of {whom} at {self.at:%Y-%m-%d %H:%M:%S} UTC: served {self.online!r} "
            f"({self.status}), offline {self.offline!r}: {self.why}{behind}"
        )


class FeatureSkew(msgspec.Struct, frozen=True, kw_only=True):
    """What was found of one feature.

    Attributes:
        feature: ``view:feature``.
        rows: how many values were compared.
        mismatches: how many are not the same and not excused by what follows.
        stale: values of an earlier moment, behind by no more than the declared delay.
        revised: values that were right when they were served: the data that the store was filled from give them, and
            the source has changed since (rows came late, were corrected, or were set aside).
        low, high: 95 % bounds of the share of mismatches among all that was served (Wilson).
        only_online, only_offline: mismatches with a value on one side and null on the other.
        absolute_error, relative_error: means over mismatches of numbers, see ``compare.distances``.
        oldest: how far the store was behind at most, in microseconds, among all values of an earlier moment.
        causes: mismatches by cause.
        examples: the first few.
    """

    feature: str
    rows: int
    mismatches: int = 0
    stale: int = 0
    revised: int = 0
    low: float = 0.0
    high: float = 1.0
    only_online: int = 0
    only_offline: int = 0
    absolute_error: float | None = None
    relative_error: float | None = None
    oldest: int | None = None
    causes: dict[str, int] = {}
    examples: list[Example] = []

    @property
    def share(self) -> float:
        """``mismatches / rows``; 0 where nothing was compared."""
        return self.mismatches / self.rows if self.rows else 0.0

    @property
    def reason(self) -> str:
        """The most frequent cause in words, with how many more; empty without mismatches."""
        if not self.causes:
            return ""
        ordered = sorted(self.causes, key=lambda cause: -self.causes[cause])
        most = CAUSES[ordered[0]]
        others = ", ".join(f"{cause} ({self.causes[cause]:,})" for cause in ordered[1:])
        return f"{most}{f'; also {others}' if others else ''}"

    def __str__(self) -> str:
        same = self.rows - self.mismatches - self.stale - self.revised
        told = [f"{same:,} of {self.rows:,} the same"]
        told += [f"{self.stale:,} behind by at most {duration_text(self.oldest or 0)}"] if self.stale else []
        told += [f"{self.revised:,} revised since"] if self.revised else []
        if self.mismatches:
            told.append(f"{self.mismatches:,} DIFFERENT ({self.low:.1%} to {self.high:.1%}): {self.reason}")
        return f"{self.feature}: {', '.join(told)}"


class SkewReport(msgspec.Struct, frozen=True, kw_only=True):
    """The findings of one audit. ``print(report)`` tells them.

    Attributes:
        deployment: whose predictions were drawn.
        model: ``delay@3``.
        at: when this was found.
        rows: how many predictions were drawn.
        since: received from then on.
        tolerance: up to which relative distance numbers are the same; 0 for bit for bit.
        delay: how far the online store may be behind, in microseconds.
        features: the findings, in the order of the model's inputs.
        notes: what could not be looked at.
        artifact: where it is recorded, if it is.
    """

    deployment: str
    model: str
    at: datetime
    rows: int
    since: datetime | None = None
    tolerance: float = 0.0
    delay: int = 0
    features: list[FeatureSkew] = []
    notes: list[str] = []
    artifact: str | None = None

    @property
    def ok(self) -> bool:
        """Whether nothing differs."""
        return not self.mismatches

    @property
    def mismatches(self) -> int:
        """How many values differ."""
        return sum(each.mismatches for each in self.features)

    @property
    def cells(self) -> int:
        """How many values were compared."""
        return sum(each.rows for each in self.features)

    def to_json(self) -> dict[str, Any]:
        """The report as JSON."""
        data: dict[str, Any] = msgspec.to_builtins(self)
        return {"ok": self.ok, "cells": self.cells, "mismatches": self.mismatches, **data}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SkewReport:
        """The report that ``to_json`` described."""
        return msgspec.convert(dict(data), cls)

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        found = "no skew" if self.ok else f"{self.mismatches:,} DIFFERENT"
        yield (
            f"{self.model} at {self.at:%Y-%m-%d %H:%M} UTC: {self.rows:,} served predictions computed again, "
            f"{self.cells:,} values: {found}"
        )
        for each in self.features:
            yield f"  {each}"
            for example in each.examples[:2]:
                yield f"    {example}"
        for note in self.notes:
            yield f"  note: {note}"


def beyond(report: SkewReport, bound: float, *, level: float = 0.95) -> list[FeatureSkew]:
    """The features whose share of mismatches is certainly above ``bound``.

    All of them are asked at once, so each at ``1 - (1 - level) / features`` (Bonferroni): the chance of naming any
    feature whose share is not above is at most ``1 - level``.

    Example:
        >>> some = [FeatureSkew(feature="a:x", rows=100, mismatches=1), FeatureSkew(feature="a:y", rows=100, mismatches=9)]
        >>> now = datetime(2026, 1, 1)
        >>> found = SkewReport(deployment="", model="m@1", at=now, rows=100, features=some)
        >>> [each.feature for each in beyond(found, 0.01)]
        ['a:y']
    """
    tried = max(len(report.features), 1)
    return [
        each
        for each in report.features
        if each.rows and wilson(each.mismatches, each.rows, level=1 - (1 - level) / tried).low > bound
    ]
