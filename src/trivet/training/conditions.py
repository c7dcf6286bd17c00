"""What a gate asks of a model, as declarations: plain JSON that can be stored, compared and judged again.

This module leaves the judging to ``trivet.training.judging``. Invariant: a declaration that was accepted here can
be judged on any data; every misspelt measure or impossible number is refused when it is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias, TypeVar, get_args

import msgspec

from trivet.errors import Invalid

__all__ = [
    "AtLeast",
    "AtMost",
    "BetterThan",
    "Condition",
    "Gate",
    "NotWorseThan",
    "Slices",
    "at_least",
    "at_most",
    "better_than",
    "not_worse_than",
    "slices",
]


class AtLeast(msgspec.Struct, frozen=True, tag="at_least", tag_field="condition"):
    """The measure's value is ``threshold`` or more."""

    measure: str
    threshold: float


class AtMost(msgspec.Struct, frozen=True, tag="at_most", tag_field="condition"):
    """The measure's value is ``threshold`` or less."""

    measure: str
    threshold: float


class BetterThan(msgspec.Struct, frozen=True, tag="better_than", tag_field="condition"):
    """The measure improves on the baseline by more than ``by``."""

    measure: str
    by: float = 0.0


class NotWorseThan(msgspec.Struct, frozen=True, tag="not_worse_than", tag_field="condition"):
    """The measure falls behind the baseline by no more than ``margin``."""

    measure: str
    margin: float


class Slices(msgspec.Struct, frozen=True, tag="slices", tag_field="condition"):
    """The measure holds in every group of rows that share a value of a column, or of several together.

    Attributes:
        measure: its name.
        over: the groupings: each a tuple of columns whose values make the groups.
        at_least, at_most: what each group must reach; one of the two.
        min_rows, min_positives: groups with fewer rows, or with fewer rows of either class where the measure needs
            both, are judged together as one group.
        unjudged: the share of rows that may stand in groups too small to judge even together.
    """

    measure: str
    over: tuple[tuple[str, ...], ...]
    at_least: float | None = None
    at_most: float | None = None
    min_rows: int = 100
    min_positives: int = 30
    unjudged: float = 0.01


Condition: TypeAlias = AtLeast | AtMost | BetterThan | NotWorseThan | Slices
_C = TypeVar("_C", bound=Condition)


class Gate(msgspec.Struct, frozen=True):
    """Conditions that a model meets before it reaches anyone.

    Attributes:
        name: what the gate is called.
        conditions: all must pass.
        level: the confidence of each condition's bounds.
        resamples: how many resamples where bounds are bootstrapped.

    Raises:
        Invalid: no name, no condition, or an impossible level.
        NotFound: a condition names an unknown measure; the nearest is named.

    Example:
        >>> Gate("delay", [at_least("auc", 0.7), better_than("auc", by=0.02)]).to_json()["conditions"][0]
        {'condition': 'at_least', 'measure': 'auc', 'threshold': 0.7}
    """

    name: str
    conditions: Sequence[Condition]
    level: float = 0.95
    resamples: int = 1000

    def __post_init__(self) -> None:
        if not self.name or not self.conditions:
            raise Invalid('A gate has a name and at least one condition: Gate("delay", [at_least("auc", 0.7)]).')
        if not 0.5 <= self.level < 1:
            raise Invalid(f"The confidence level of gate {self.name!r} is {self.level}; take one from 0.5 to 0.999.")
        if self.resamples < 100:
            raise Invalid(f"Gate {self.name!r} asks for {self.resamples} resamples; bounds need 100, better 1000.")
        for condition in self.conditions:
            _check(condition)
        msgspec.structs.force_setattr(self, "conditions", tuple(self.conditions))

    def to_json(self) -> dict[str, Any]:
        """The declaration as JSON values."""
        spec: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(self))
        return spec

    @classmethod
    def from_json(cls, spec: Mapping[str, Any]) -> Gate:
        """The gate that ``to_json`` described.

        Raises:
            Invalid: ``spec`` describes no gate.
        """
        try:
            return msgspec.convert(dict(spec), _Declared).gate()
        except msgspec.ValidationError as exc:
            raise Invalid(f"This is not the declaration of a gate: {exc}.") from exc


class _Declared(msgspec.Struct):
    """A gate as it comes from JSON, before its own checks (whose errors should reach the caller as they are)."""

    name: str
    conditions: tuple[Condition, ...]
    level: float = 0.95
    resamples: int = 1000

    def gate(self) -> Gate:
        return Gate(self.name, self.conditions, self.level, self.resamples)


def at_least(measure: str, threshold: float) -> AtLeast:
    """The measure's value is ``threshold`` or more, whatever its direction.

    Example:
        >>> at_least("auc", 0.7)
        AtLeast(measure='auc', threshold=0.7)
    """
    return _check(AtLeast(measure, float(threshold)))


def at_most(measure: str, threshold: float) -> AtMost:
    """The measure's value is ``threshold`` or less: a ceiling for an error, or for an AUC too good to be true.

    Raises:
        NotFound: an unknown measure; the nearest is named.

    Example:
        >>> at_most("log_loss", 0.55)
        AtMost(measure='log_loss', threshold=0.55)
    """
    return _check(AtMost(measure, float(threshold)))


def better_than(measure: str, by: float = 0.0) -> BetterThan:
    """The measure improves on the baseline by more than ``by``, on the same rows.

    An improvement is an increase where greater is better (AUC) and a decrease where smaller is (log loss). Without
    a baseline the model is compared with the best constant answer.

    Raises:
        NotFound: an unknown measure; the nearest is named.

    Example:
        >>> better_than("auc", by=0.02)
        BetterThan(measure='auc', by=0.02)
    """
    return _check(BetterThan(measure, float(by)))


def not_worse_than(measure: str, margin: float) -> NotWorseThan:
    """The measure falls behind the baseline by no more than ``margin`` (a test of non-inferiority).

    Raises:
        NotFound: an unknown measure; the nearest is named.

    Example:
        >>> not_worse_than("auc", margin=0.01)
        NotWorseThan(measure='auc', margin=0.01)
    """
    return _check(NotWorseThan(measure, float(margin)))


def slices(
    measure: str,
    over: str | Iterable[str | Iterable[str]],
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    min_rows: int = 100,
    min_positives: int = 30,
    unjudged: float = 0.01,
) -> Slices:
    """The measure holds in every group: ``over=["origin", "carrier"]`` groups by each column in turn, and
    ``over=[("origin", "carrier")]`` by both together.

    The bounds of all groups hold at once (Bonferroni). Groups that are too small are judged together and named.

    Example:
        >>> slices("auc", ["origin"], at_least=0.6).over
        (('origin',),)
    """
    groupings = tuple(
        (item,) if isinstance(item, str) else tuple(item) for item in ([over] if isinstance(over, str) else over)
    )
    return _check(Slices(measure, groupings, at_least, at_most, min_rows, min_positives, unjudged))


def _check(condition: _C) -> _C:
    from trivet.training import measures

    if not isinstance(condition, get_args(Condition)):
        raise Invalid(
            f"{condition!r} is no condition. There are at_least, at_most, better_than, not_worse_than, slices."
        )
    measures.find(condition.measure)
    match condition:
        case AtLeast(threshold=value) | AtMost(threshold=value) | BetterThan(by=value) | NotWorseThan(margin=value):
            _finite(value)
        case Slices():
            _check_slices(condition)
    if isinstance(condition, NotWorseThan) and condition.margin < 0:
        raise Invalid(f"not_worse_than({condition.measure!r}, margin={condition.margin}): a margin is 0 or more.")
    return condition


def _check_slices(condition: Slices) -> None:
    if (condition.at_least is None) == (condition.at_most is None):
        raise Invalid(f"slices({condition.measure!r}) needs one of at_least= and at_most=, and not both.")
    _finite(condition.at_least if condition.at_least is not None else condition.at_most)
    if not condition.over or not all(condition.over):
        raise Invalid(f"slices({condition.measure!r}) needs the columns that make the groups: over=['origin'].")
    if condition.min_rows < 2 or condition.min_positives < 2:
        raise Invalid("slices() needs min_rows and min_positives of 2 or more: one row has no spread.")
    if not 0 <= condition.unjudged <= 1:
        raise Invalid(f"slices(unjudged={condition.unjudged}): the share of rows left unjudged is between 0 and 1.")


def _finite(value: float | None) -> None:
    if value is None or not abs(value) < float("inf"):
        raise Invalid(f"A threshold is a finite number, not {value!r}.")
