"""The answer to "why are A and B different?": what each cause contributes to each measure, with what is known of it.

Plain data that prints as a table and goes into JSON and back. Found by ``trivet.tracking.why``.
"""

from __future__ import annotations

from typing import Any

import msgspec

from trivet.errors import Invalid, NotFound
from trivet.tracking.shapley import Share, Split
from trivet.tracking.tables import cell_text, text_table

__all__ = ["PREDICTIONS", "Attribution", "Cause", "Measure", "Mixed"]

PREDICTIONS = "predictions"
"""The measure that is no metric: how far predictions move, on average, from those of A."""
_WORTH_SAYING = 0.25  # of the largest contribution: a smaller interaction is not printed


class Cause(msgspec.Struct, frozen=True):
    """Something that differs. ``members`` are several where they only run together; ``differs`` is one line."""

    name: str
    members: tuple[str, ...]
    differs: str


class Measure(msgspec.Struct, frozen=True):
    """One measure: its value at both ends, as executed now and as recorded then, and how the difference divides."""

    name: str
    a: float
    b: float
    recorded_a: float | None
    recorded_b: float | None
    split: Split


class Mixed(msgspec.Struct, frozen=True):
    """One combination: the causes that were as in B, what was measured, or why it could not run."""

    swapped: tuple[str, ...]
    run: str
    metrics: dict[str, float]
    error: str = ""
    reused: bool = False


class Attribution(msgspec.Struct, frozen=True):
    """What each cause contributed.

    Attributes:
        a, b: what was asked about.
        run: the id of the run of kind ``why`` that found it; empty where nothing had to be executed.
        causes: those that differ and were swapped.
        measures: the predictions first, where there are two models, then metrics by name.
        mixtures: every combination that was tried.
        notes: what a reader has to know, in sentences.
        seconds: how long it took.
    """

    a: str
    b: str
    run: str
    causes: tuple[Cause, ...]
    measures: tuple[Measure, ...]
    mixtures: tuple[Mixed, ...] = ()
    notes: tuple[str, ...] = ()
    seconds: float = 0.0

    @property
    def exact(self) -> bool:
        """Whether every combination was measured, so that nothing is estimated."""
        return all(measure.split.exact for measure in self.measures)

    def measure(self, name: str) -> Measure:
        """One measure by name.

        Raises:
            NotFound: it was not measured at both ends.
        """
        for measure in self.measures:
            if measure.name == name:
                return measure
        raise NotFound("measure", name, (measure.name for measure in self.measures))

    def contributions(self, name: str) -> dict[str, float]:
        """What each cause contributed to a measure; the sum is the whole difference.

        Raises:
            NotFound: as ``measure``.
        """
        return {share.player: share.amount for share in self.measure(name).split.shares}

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        found: dict[str, Any] = msgspec.to_builtins(self)
        return found | {"exact": self.exact}

    @classmethod
    def from_json(cls, plain: Any) -> Attribution:
        """What ``to_json`` described.

        Raises:
            Invalid: it is something else.
        """
        try:
            return msgspec.convert(plain, cls)
        except msgspec.ValidationError as exc:
            raise Invalid(f"This is no attribution: {exc}.") from exc

    def __str__(self) -> str:
        lines = [f"{self.a}  ->  {self.b}", ""]
        if self.measures:
            lines += [text_table(*self.table()), "", self._how_far(), *self._together()]
        elif self.causes:
            lines += [f"{cause.name}: {cause.differs}" for cause in self.causes]
        return "\n".join([*lines, *self.notes])

    def __repr__(self) -> str:
        return str(self)

    def table(self) -> tuple[list[str], list[list[object]]]:
        """Columns and rows: a row for A, one for each cause, one for B."""
        columns = ["", *(measure.name for measure in self.measures), "what differs"]
        rows: list[list[object]] = [["A", *(cell_text(measure.a) for measure in self.measures), self.a]]
        for place, cause in enumerate(self.causes):
            shares = [measure.split.shares[place] for measure in self.measures]
            rows.append([cause.name, *map(_signed, shares), cause.differs])
        rows.append(["B", *(cell_text(measure.b) for measure in self.measures), self.b])
        return columns, rows

    def _together(self) -> list[str]:
        """A line for each pair of causes that do together what neither does without the other."""
        found: dict[str, list[str]] = {}
        for measure in self.measures:
            largest = max((abs(share.amount) for share in measure.split.shares), default=0.0)
            for pair in measure.split.pairs if measure.split.exact else ():
                if abs(pair.amount) > _WORTH_SAYING * largest:
                    said = f"{measure.name} {pair.amount:+.3g}"
                    found.setdefault(f"{pair.first} and {pair.second}", []).append(said)
        return [
            f"{pair} do more together than apart: {', '.join(said)}; it is divided." for pair, said in found.items()
        ]

    def _how_far(self) -> str:
        known, of = (min(getattr(each.split, name) for each in self.measures) for name in ("known", "of"))
        if known == of:
            return f"Exact: all {of} combinations were measured. Contributions add up to the difference."
        return (
            f"{known} of {of} combinations were measured before the time was up. The numbers in brackets are bounds, if no "
            "other combination lies outside of what was seen. Contributions add up to the difference."
        )


def _signed(share: Share) -> str:
    if share.low == share.high:
        return f"{share.amount:+.4g}"
    return f"{share.amount:+.4g} [{share.low:+.3g}, {share.high:+.3g}]"
