"""What is expected of one source or feature view: a definition that is stored in versions, and goes to JSON and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import msgspec

from trivet.errors import Invalid, NotFound
from trivet.features.definitions import FeatureView, Source
from trivet.features.quality.expectation import (
    KINDS,
    Between,
    Columns,
    Declared,
    Expectation,
    Fresh,
    Holds,
    NotNull,
    OfRows,
    OneOf,
    Rows,
    Unique,
    literal,
)
from trivet.ledger import Artifact, Blobs
from trivet.pipelines.values.contract import Saved
from trivet.types import duration_text

__all__ = ["Expectations", "ExpectationsKind", "open_kind"]


class Expectations:
    """What is expected of one source or feature view; a definition, stored in versions by ``project.define``.

    Of a view the values are judged, as they are for all entities at the moment of the check.

    Args:
        of: the source or the view.
        expected: what ``tv.expect``, ``expect_fresh`` and ``expect_rows`` answer.

    Attributes:
        subject: ``source.flights`` or ``view.congestion``: whose they are.
        source: the source; None for a view.
        expected: the expectations, each once.

    Raises:
        Invalid: something is no expectation, or asks for times that a source has not.
        NotFound: a view has no such feature or key.

    Example:
        >>> from trivet.features.quality.expectation import expect, expect_fresh
        >>> flights = Source("flights", "flights.parquet", event_time="dep_utc")
        >>> rules = Expectations(flights, [expect("dep_delay").between(-120, 3000), expect_fresh("2h")])
        >>> print(rules)
        source.flights
          refuse  dep_delay between -120 and 3000
          refuse  the newest row is at most 2h old
        >>> Expectations.from_spec(rules.to_spec()) == rules
        True
    """

    __trivet_kind__ = "expectations"

    def __init__(self, of: Source | FeatureView, expected: Sequence[Expectation]) -> None:
        if not isinstance(of, Source | FeatureView):
            raise Invalid(f"Expectations are of a source or a feature view, and {of!r} is neither.")
        self.source = of if isinstance(of, Source) else None
        self.subject = f"{'source' if self.source else 'view'}.{of.name}"
        self.expected: tuple[Expectation, ...] = _checked(expected)
        if isinstance(of, Source):
            self._check_source(of)
        else:
            self._check_view(of)

    @property
    def name(self) -> str:
        """The name of the source or the view."""
        return self.subject.partition(".")[2]

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns that are looked at."""
        names = [name for each in self.expected if isinstance(each, OfRows) for name in each.columns]
        return tuple(dict.fromkeys(names))

    def __iter__(self) -> Iterator[Expectation]:
        return iter(self.expected)

    def __len__(self) -> int:
        return len(self.expected)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Expectations) and self.to_spec() == other.to_spec()

    def __hash__(self) -> int:
        return hash((self.subject, self.expected))

    def __str__(self) -> str:
        return "\n".join([self.subject, *(f"  {each.severity:<6}  {each}" for each in self.expected)])

    def __repr__(self) -> str:
        return f"<Expectations of {self.subject}: {len(self.expected)}>"

    def to_python(self) -> str:
        """The declaration as Python, to paste and edit; the source or view stands there by its name.

        Example:
            >>> from trivet.features.quality.expectation import expect
            >>> print(Expectations(Source("orders", "orders.csv"), [expect("id").unique()]).to_python())
            tv.Expectations(orders, [
                tv.expect('id').unique(),
            ])
        """
        lines = [f"    {_python(each)}," for each in self.expected]
        return "\n".join([f"tv.Expectations({self.name}, [", *lines, "])"])

    def to_spec(self) -> dict[str, Any]:
        """The declaration as JSON."""
        of = {"view": self.name} if self.source is None else {"source": self.source.to_spec()}
        return {**of, "expected": [msgspec.to_builtins(each) for each in self.expected]}

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> Expectations:
        """The declaration that ``to_spec`` wrote."""
        made = cls.__new__(cls)
        made.source = Source.from_spec(spec["source"]) if "source" in spec else None
        made.subject = f"source.{made.source.name}" if made.source else f"view.{spec['view']}"
        made.expected = msgspec.convert(tuple(spec["expected"]), tuple[KINDS, ...])
        return made

    def _check_source(self, source: Source) -> None:
        timed = [each for each in self.expected if isinstance(each, Fresh) or (isinstance(each, Rows) and each.per)]
        if timed and source.static:
            raise Invalid(
                f"Source {source.name!r} has no event_time, so '{timed[0]}' has no meaning. Declare event_time=."
            )

    def _check_view(self, view: FeatureView) -> None:
        known = [*view.entity.keys, *view.features]
        for column in self.columns:
            if column not in known:
                raise NotFound(f"feature or key of view {view.name!r} called", column, known)
        whole = [each for each in self.expected if isinstance(each, Fresh) or (isinstance(each, Rows) and each.per)]
        if whole:
            raise Invalid(
                f"'{whole[0]}' is about the rows of a source. Expect it of source {view.source.name!r}, and of view "
                f"{view.name!r} what its values are."
            )


class ExpectationsKind:
    """Expectations as artifacts: a declaration, no files."""

    name = "expectations"

    def accepts(self, value: object) -> bool:
        """Whether ``value`` is a set of expectations."""
        return isinstance(value, Expectations)

    def save(self, value: Expectations, blobs: Blobs) -> Saved:  # noqa: ARG002 - nothing but the declaration
        """The declaration."""
        return Saved(value.to_spec(), {})

    def load(self, artifact: Artifact, blobs: Blobs) -> Expectations:  # noqa: ARG002
        """The expectations again."""
        return Expectations.from_spec(artifact.spec)


def open_kind() -> ExpectationsKind:
    """The kind ``expectations``."""
    return ExpectationsKind()


def _checked(expected: Sequence[Any]) -> tuple[Expectation, ...]:
    for each in expected:
        if not isinstance(each, Declared):
            hint = " Say what: tv.expect('delay').not_null()." if isinstance(each, Columns) else ""
            raise Invalid(f"{each!r} is no expectation.{hint or ' tv.expect, tv.expect_fresh and the like make them.'}")
    return tuple(dict.fromkeys(expected))


def _python(each: Expectation) -> str:
    options = [f"at_most={each.at_most!r}"] if isinstance(each, OfRows) and each.at_most else []
    options += [f"severity={each.severity!r}"] if each.severity != "refuse" else []
    match each:
        case Between():
            ends = ["None" if end is None else _python_of(end) for end in (each.low, each.high)]
            return f"tv.expect({each.column!r}).between({', '.join([*ends, *options])})"
        case OneOf():
            return f"tv.expect({each.column!r}).one_of({', '.join([_python_list(each.values), *options])})"
        case NotNull():
            return f"tv.expect({each.column!r}).not_null({', '.join(options)})"
        case Unique():
            return f"tv.expect({', '.join(map(repr, each.columns))}).unique({', '.join(options)})"
        case Holds():
            return f"tv.expect({', '.join([f'where={each.where!r}', *options])})"
        case Fresh():
            return f"tv.expect_fresh({', '.join([repr(duration_text(each.within)), *options])})"
        case Rows():
            ends = [f"{name}={end}" for name in ("at_least", "at_most") if (end := getattr(each, name)) is not None]
            ends += [f"per={duration_text(each.per)!r}"] if each.per else []
            return f"tv.expect_rows({', '.join([*ends, *options])})"
        case _:
            raise TypeError(type(each))


def _python_list(texts: Sequence[str]) -> str:
    return f"[{', '.join(map(_python_of, texts))}]"


def _python_of(text: str) -> str:
    value = literal(text).value
    if isinstance(value, Decimal):
        return repr(float(value)) if Decimal(repr(float(value))) == value else f"Decimal({str(value)!r})"
    if isinstance(value, datetime):
        return f"datetime.fromisoformat({value.isoformat()!r})"
    return f"date.fromisoformat({value.isoformat()!r})" if isinstance(value, date) else repr(value)
