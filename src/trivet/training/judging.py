"""From a condition and a model's answers to a finding with its verdict.

A verdict follows from the bounds, never from the estimate alone: pass when both bounds lie on the right side of
the threshold, fail when both lie on the wrong one, insufficient evidence between. Passing a gate needs every
condition to pass, so no correction for their number is due there: the chance that a model passes although some
condition does not hold is at most that of that condition alone (Berger, Technometrics 24 (1982) 295). Groups of
rows are different, because one unlucky group among many would fail a good model: their bounds hold all at once, by
Bonferroni's inequality, which asks nothing about how the groups depend on one another.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import numpy as np
import polars as pl

from trivet.errors import Invalid, NotFound
from trivet.training.answers import Answers
from trivet.training.bootstrap import Bounds, bounds, difference
from trivet.training.conditions import AtLeast, AtMost, BetterThan, Condition, Gate, NotWorseThan, Slices
from trivet.training.gate_report import Finding, Verdict, worst
from trivet.training.measures import Array, Measure, find

__all__ = ["judge_condition"]

_MOST_GROUPS = 1000
_INDEX = "trivet row"  # beside the columns that a user may have


@dataclass(frozen=True)
class _Group:
    """Rows that are judged together: by name, by index, and the small groups they came from."""

    name: str
    rows: np.ndarray[tuple[int], np.dtype[np.int64]]
    members: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Asked:
    """What a value must satisfy. ``classes``: the measure is about two classes, whose rows are counted."""

    measure: Measure
    comparison: Literal[">=", "<=", ">"]
    threshold: float
    classes: bool

    def finding(self, name: str, found: Bounds, y: Array, members: tuple[str, ...] = ()) -> Finding:
        """What was found on the rows with labels ``y``."""
        return Finding(
            condition=name,
            comparison=self.comparison,
            threshold=self.threshold,
            verdict=self._verdict(found),
            measure=self.measure.name,
            estimate=_rounded(found.estimate),
            low=_rounded(found.low),
            high=_rounded(found.high),
            level=float(f"{found.level:.9g}"),
            method=found.method,
            rows=found.rows,
            positives=int(y.sum()) if self.classes else None,
            members=members,
        )

    def _verdict(self, found: Bounds) -> Verdict:
        match self.comparison:
            case ">=":
                passed, failed = found.low >= self.threshold, found.high < self.threshold
            case ">":
                passed, failed = found.low > self.threshold, found.high <= self.threshold
            case "<=":
                passed, failed = found.high <= self.threshold, found.low > self.threshold
        return "pass" if passed else "fail" if failed else "insufficient evidence"


def judge_condition(
    condition: Condition, gate: Gate, answers: Answers, baseline: Answers | None, *, seed: int
) -> Finding:
    """What ``condition`` of ``gate`` finds in a model's answers, compared with a baseline's where it asks so.

    Raises:
        Invalid: the measure does not fit the kind of model, or baseline and model have different classes.
        NotFound: a column to slice over does not exist.
    """
    measure = find(condition.measure)
    y, p = _answers(answers, measure)
    classes = answers.kind == "binary" and measure.needs == "probability"
    match condition:
        case AtLeast(threshold=threshold) | AtMost(threshold=threshold):
            asked = _Asked(measure, ">=" if isinstance(condition, AtLeast) else "<=", threshold, classes)
            found = bounds(measure, y, p, level=gate.level, resamples=gate.resamples, seed=seed)
            return asked.finding(measure.name, found, y)
        case BetterThan(by=by):
            found, other = _improvement(measure, gate, answers, baseline, seed=seed)
            return _Asked(measure, ">", by, classes).finding(f"{measure.name} better than {other}", found, y)
        case NotWorseThan(margin=margin):
            found, other = _improvement(measure, gate, answers, baseline, seed=seed)
            return _Asked(measure, ">=", -margin, classes).finding(f"{measure.name} not worse than {other}", found, y)
        case Slices():
            return _slices(condition, _asked_of_slices(condition, measure, classes=classes), gate, answers, seed=seed)


def _answers(answers: Answers, measure: Measure) -> tuple[Array, Array]:
    if measure.name == "log_loss" and answers.kind == "multiclass":
        return answers.log_losses
    return answers.of(measure.needs)


def _improvement(
    measure: Measure, gate: Gate, answers: Answers, baseline: Answers | None, *, seed: int
) -> tuple[Bounds, str]:
    """By how much the model is better, in the measure's own direction, and than what."""
    y, p = _answers(answers, measure)
    if baseline is None:
        other, name = answers.constant(measure.needs), "a constant"
    elif baseline.classes != answers.classes:
        raise Invalid(f"The model knows {answers.classes} and the baseline {baseline.classes}: nothing to compare.")
    else:
        other, name = _answers(baseline, measure)[1], "the baseline"
    first, second = (p, other) if measure.greater_is_better else (other, p)
    return difference(measure, y, first, second, level=gate.level, resamples=gate.resamples, seed=seed), name


def _rounded(value: float) -> float | None:
    """Nine digits: the last bits of a sum differ between machines and are no part of the evidence."""
    return float(f"{value:.9g}") if math.isfinite(value) else None


def _asked_of_slices(condition: Slices, measure: Measure, *, classes: bool) -> _Asked:
    if condition.at_least is not None:
        return _Asked(measure, ">=", condition.at_least, classes)
    return _Asked(measure, "<=", condition.at_most or 0.0, classes)  # the declaration has one of the two


def _slices(condition: Slices, asked: _Asked, gate: Gate, answers: Answers, *, seed: int) -> Finding:
    y, p = _answers(answers, asked.measure)
    judged: list[_Group] = []
    left: list[_Group] = []
    for columns in condition.over:
        large, small = _sort_out(columns, answers, y, condition, classes=asked.classes)
        judged, left = judged + large, left + small
    level = 1 - (1 - gate.level) / max(len(judged), 1)
    found = []
    for group in judged:
        here = y[group.rows]
        value = bounds(asked.measure, here, p[group.rows], level=level, resamples=gate.resamples, seed=seed)
        found.append(asked.finding(group.name, value, here, group.members))
    for group in left:
        nothing = Bounds(math.nan, -math.inf, math.inf, level, "none", len(group.rows))
        found.append(asked.finding(group.name, nothing, y[group.rows], group.members))
    unjudged = max((len(group.rows) for group in left), default=0)
    return _together(condition, asked, found, y, unjudged=unjudged)


def _together(condition: Slices, asked: _Asked, found: list[Finding], y: Array, *, unjudged: int) -> Finding:
    """One finding for all groups: its numbers are those of the worst group, its verdict that of all."""
    judged = [finding for finding in found if finding.method != "none"]
    verdicts = [finding.verdict for finding in judged]
    if unjudged > condition.unjudged * len(y) or not judged:
        verdicts.append("insufficient evidence")
    sign = 1 if asked.comparison == ">=" else -1
    order: tuple[Verdict, ...] = ("fail", "insufficient evidence", "pass")
    ranked = sorted(
        judged, key=lambda each: (order.index(each.verdict), sign * (each.estimate or 0.0), each.condition)
    ) + [finding for finding in found if finding.method == "none"]
    name = f"{asked.measure.name} by {', '.join(' and '.join(columns) for columns in condition.over)}"
    return msgspec.structs.replace(
        ranked[0] if ranked else asked.finding(name, Bounds(math.nan, -math.inf, math.inf, 0.0, "none", 0), y),
        condition=name,
        verdict=worst(verdicts),
        method=f"{ranked[0].method}, Bonferroni over {len(judged)} groups" if judged else "none",
        rows=len(y),
        positives=int(y.sum()) if asked.classes else None,
        members=(),
        groups=tuple(ranked),
        unjudged=unjudged,
    )


def _groups(frame: pl.DataFrame, columns: tuple[str, ...]) -> Iterator[_Group]:
    """The groups of rows that share the values of ``columns``, by name."""
    for column in columns:
        if column not in frame.columns:
            raise NotFound("column", column, frame.columns, hint="Slices are taken over columns of the test data.")
    grouped = frame.select(columns).with_row_index(_INDEX).group_by(columns).agg(pl.col(_INDEX))
    if grouped.height > _MOST_GROUPS:
        raise Invalid(
            f"{' and '.join(columns)} would make {grouped.height:,} groups, more than {_MOST_GROUPS:,}. "
            "Slice over columns of few values; cut numbers into ranges first."
        )
    named = {_name(columns, values): np.sort(np.asarray(rows)) for *values, rows in grouped.iter_rows()}
    yield from (_Group(name, named[name]) for name in sorted(named))


def _name(columns: tuple[str, ...], values: list[Any]) -> str:
    shown = ("null" if value is None else str(value) for value in values)
    return ", ".join(f"{column}={value}" for column, value in zip(columns, shown, strict=True))


def _sort_out(
    columns: tuple[str, ...], answers: Answers, y: Array, condition: Slices, *, classes: bool
) -> tuple[list[_Group], list[_Group]]:
    """Groups large enough to judge, the small ones together as one of them; and what is too small even so."""

    def large(group: _Group) -> bool:
        positives = int(y[group.rows].sum())
        enough = not classes or min(positives, len(group.rows) - positives) >= condition.min_positives
        return len(group.rows) >= condition.min_rows and enough

    alone: list[_Group] = []
    small: list[_Group] = []
    for group in _groups(answers.frame, columns):
        (alone if large(group) else small).append(group)
    if not small:
        return alone, []
    rows = np.concatenate([group.rows for group in small])
    pooled = _Group(f"{' and '.join(columns)}: small groups", rows, tuple(group.name for group in small))
    return ([*alone, pooled], []) if large(pooled) else (alone, [pooled])
