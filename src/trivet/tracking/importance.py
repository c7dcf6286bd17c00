"""Which parameters go with a metric: a hint where to look, never a proof, and it says on how many runs it rests.

From 30 runs on it is permutation importance (Breiman: Random Forests, Machine Learning 45, 2001): a small forest
learns the metric from the parameters, and each parameter is shuffled to see how much worse the forest does on runs that a
tree has not seen. With fewer runs it is a rank correlation: Spearman's of a number, and of anything else the correlation
ratio of the ranks. Invariant: a parameter that is the same in all runs has no importance and is not named.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trivet.errors import Invalid
from trivet.ledger import Run
from trivet.ledger.conditions import parameter
from trivet.tracking.tables import html_table, text_table

__all__ = ["Importance", "Weight", "importance_of"]

FEWEST, FOR_A_FOREST = 3, 30


@dataclass(frozen=True)
class Weight:
    """A parameter: its share of the importance of all, and its rank correlation with the metric (None of text)."""

    name: str
    importance: float
    correlation: float | None


@dataclass(frozen=True)
class Importance:
    """How the parameters of ``runs`` runs go with ``metric``, most important first, by ``method``."""

    metric: str
    runs: int
    method: str
    weights: tuple[Weight, ...]

    def __str__(self) -> str:
        said = f"{self.metric}: {self.method} over {self.runs} runs"
        return f"{said}\n{text_table(*self._table())}" if self.weights else f"{said}: no parameter varies"

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return html_table(*self._table())

    def _table(self) -> tuple[list[str], list[list[object]]]:
        return ["parameter", "importance", "correlation"], [[w.name, w.importance, w.correlation] for w in self.weights]


def importance_of(runs: Sequence[Run], metric: str) -> Importance:
    """How the parameters of runs go with a metric.

    Raises:
        Invalid: fewer than 3 runs have the metric as a finite number.
    """
    known = [run for run in runs if math.isfinite(run.metrics.get(metric, math.nan))]
    if len(known) < FEWEST:
        raise Invalid(f"{len(known)} of {len(runs)} runs have the metric {metric!r}. It takes {FEWEST} at least.")
    target = [run.metrics[metric] for run in known]
    names = dict.fromkeys(name for run in known for name in run.parameters)
    columns = {name: [run.parameters.get(name) for run in known] for name in names}
    columns = {name: column for name, column in columns.items() if len({repr(value) for value in column}) > 1}
    coded = {name: _coded(column) for name, column in columns.items()}
    related = {name: _related(numbers, is_number, target) for name, (numbers, is_number) in coded.items()}
    method, raw = "rank correlation", {name: abs(value) for name, value in related.items()}
    if len(known) >= FOR_A_FOREST and columns and (found := _permuted(coded, target)) is not None:
        method, raw = "permutation importance of a random forest", found
    total = sum(raw.values()) or 1.0
    weights = [
        Weight(name, value / total, related[name] if coded[name][1] else None)
        for name, value in sorted(raw.items(), key=lambda item: (-item[1], item[0]))
    ]
    return Importance(metric, len(known), method, tuple(weights))


def _coded(column: Sequence[Any]) -> tuple[list[float], bool]:
    """A parameter as numbers, and whether it is one; texts are counted in their order."""
    found = [None if value is None else parameter(value) for value in column]
    numbers = [None if one is None else one.number for one in found]
    if all(number is not None for number in numbers):
        return [float(number or 0.0) for number in numbers], True
    texts = ["" if one is None else str(one.text) for one in found]
    place = {text: float(number) for number, text in enumerate(sorted(set(texts)))}
    return [place[text] for text in texts], False


def _related(numbers: Sequence[float], is_number: bool, target: Sequence[float]) -> float:
    ranks = _ranks(target)
    return _pearson(_ranks(numbers), ranks) if is_number else _ratio(numbers, ranks)


def _ranks(values: Sequence[float]) -> list[float]:
    """From 1; what is equal shares the mean of its ranks."""
    order = sorted(range(len(values)), key=lambda place: values[place])
    ranks = [0.0] * len(values)
    begin = 0
    while begin < len(order):
        end = begin
        while end < len(order) and values[order[end]] == values[order[begin]]:
            end += 1
        for place in order[begin:end]:
            ranks[place] = (begin + 1 + end) / 2
        begin = end
    return ranks


def _pearson(a: Sequence[float], b: Sequence[float]) -> float:
    mean_a, mean_b = sum(a) / len(a), sum(b) / len(b)
    both = sum((x - mean_a) * (y - mean_b) for x, y in zip(a, b, strict=True))
    spread = math.sqrt(sum((x - mean_a) ** 2 for x in a) * sum((y - mean_b) ** 2 for y in b))
    return both / spread if spread else 0.0


def _ratio(groups: Sequence[float], ranks: Sequence[float]) -> float:
    """The correlation ratio: the share of the spread that lies between groups, as a square root."""
    mean = sum(ranks) / len(ranks)
    of: dict[float, list[float]] = {}
    for group, rank in zip(groups, ranks, strict=True):
        of.setdefault(group, []).append(rank)
    between = sum(len(each) * (sum(each) / len(each) - mean) ** 2 for each in of.values())
    whole = sum((rank - mean) ** 2 for rank in ranks)
    return math.sqrt(between / whole) if whole else 0.0


def _permuted(coded: dict[str, tuple[list[float], bool]], target: Sequence[float]) -> dict[str, float] | None:
    """How much worse a forest does without each parameter; None where scikit-learn is not installed."""
    try:
        import numpy as np
        from sklearn.ensemble import RandomForestRegressor
        from sklearn.inspection import permutation_importance
    except ImportError:
        return None
    features = np.array([numbers for numbers, _ in coded.values()], dtype=float).T
    finite = np.clip(np.nan_to_num(features), -1e30, 1e30)
    truth = np.array(target, dtype=float)
    held = np.arange(len(truth)) % 3 == 0
    forest = RandomForestRegressor(n_estimators=60, min_samples_leaf=2, random_state=0).fit(finite[~held], truth[~held])
    found = permutation_importance(forest, finite[held], truth[held], n_repeats=10, random_state=0)
    return {name: max(0.0, float(value)) for name, value in zip(coded, found.importances_mean, strict=True)}
