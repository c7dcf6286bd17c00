"""One expectation: what it says, and what it refuses to be."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from trivet.errors import Invalid, NotFound
from trivet.features.quality.expectation import OfRows, expect, expect_fresh, expect_rows

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: expect("d").between(-120, 3000), "d between -120 and 3000"),
        (lambda: expect("d").between(0.5, None), "d is at least 0.5"),
        (lambda: expect("d").between(None, Decimal("1.10")), "d is at most 1.10"),
        (lambda: expect("d").between(NOON, None), "d is at least TIMESTAMP '2026-01-01T12:00:00Z'"),
        (lambda: expect("d").between(date(2026, 1, 1), None), "d is at least DATE '2026-01-01'"),
        (lambda: expect("c").one_of(["UA", "AA", "UA"]), "c is one of 'AA', 'UA'"),
        (lambda: expect("c").one_of([True]), "c is one of true"),
        (lambda: expect("c").not_null(at_most=0.02), "c is not null, but for 2 % of the rows at most"),
        (lambda: expect("a", "b").unique(), "a, b are together unique"),
        (lambda: expect(where="a>1 AND b IS NULL"), "a > 1 and b is null"),
        (lambda: expect_fresh("90m"), "the newest row is at most 1h30m old"),
        (lambda: expect_rows(800), "at least 800 rows"),
        (lambda: expect_rows(1, 1), "at least 1 and at most 1 row"),
        (lambda: expect_rows(at_most=9, per="1d"), "at most 9 rows in each 1d"),
    ],
)
def test_an_expectation_is_a_sentence(made, said):
    assert str(made()) == said


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (expect, "Name columns"),
        (lambda: expect("a", where="a > 1"), "Name columns"),
        (lambda: expect("a", severity="warn"), "Give at_most= and severity="),
        (lambda: expect("a").between(None, None), "needs an end"),
        (lambda: expect("a").between(2, 1), "holds nothing"),
        (lambda: expect("a").between(1, "b"), "mixes kinds"),
        (lambda: expect("a").between(float("nan"), 1), "no end of a range"),
        (lambda: expect("a").between(datetime(2026, 1, 1), None), "no time zone"),
        (lambda: expect("a").between(0, 1e-310), "fits into no column"),
        (lambda: expect("a").between([1], None), "compares with nothing"),
        (lambda: expect("a", "b").between(1, 2), "one column at a time"),
        (lambda: expect("a").one_of("AA"), "as a list"),
        (lambda: expect("a").one_of([]), "as a list"),
        (lambda: expect("a").one_of(["x", 1]), "in one list"),
        (lambda: expect("a", "a").unique(), "not different"),
        (lambda: expect("a").not_null(at_most=2), "no share"),
        (lambda: expect("a").not_null(at_most=float("nan")), "no share"),
        (lambda: expect("a").not_null(at_most=True), "no share"),
        (lambda: expect(where="a >"), "a >"),
        (lambda: expect_fresh("0s"), "longer than nothing"),
        (expect_rows, "Give at_least="),
        (lambda: expect_rows(5, 4), "the smaller one first"),
        (lambda: expect_rows(-1), "as counts"),
        (lambda: expect_rows(1, per="0s"), "longer than nothing"),
    ],
)
def test_what_is_no_expectation_is_refused_in_a_sentence(made, words):
    with pytest.raises(Invalid, match=words):
        made()


def test_a_severity_that_does_not_exist_is_not_found():
    with pytest.raises(NotFound, match="Did you mean 'refuse'"):
        expect("a").not_null(severity="refused")


def test_rows_are_refused_only_without_a_share():
    assert expect("a").not_null().refuses_rows
    assert not expect("a").not_null(at_most=0.1).refuses_rows
    assert not expect("a").not_null(severity="warn").refuses_rows


def test_an_expectation_of_rows_that_does_not_say_its_columns_cannot_be_made():
    with pytest.raises(TypeError, match="abstract"):
        OfRows()
