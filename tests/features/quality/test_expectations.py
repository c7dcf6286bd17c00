"""The definition: JSON and back, Python and back, and what cannot be asked of a source or a view."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import msgspec
import pytest

import trivet as tv
from trivet.errors import Invalid, NotFound
from trivet.features.quality import expectation
from trivet.features.quality.expectation import expect, expect_fresh, expect_rows
from trivet.features.quality.expectations import Expectations, ExpectationsKind
from trivet.ledger import Artifact

FLIGHTS = tv.Source("flights", "flights.parquet", event_time="dep_utc")
CONGESTION = tv.FeatureView("congestion", entity=tv.Entity("origin"), source=FLIGHTS, features={"n": tv.count("1h")})
EVERY = [
    expect("d").between(-120, 3000),
    expect("d").between(0.5, None, severity="warn"),
    expect("d").between(None, Decimal("0.1000000000000000000001")),
    expect("t").between(datetime(2026, 1, 1, tzinfo=UTC), None),
    expect("t").between(None, date(2026, 1, 1)),
    expect("c").one_of(["it's", 'a "b"', "é"], at_most=0.01),
    expect("c").not_null(at_most=0.02),
    expect("a", "b").unique(),
    expect(where="a > 1 or b is null", at_most=0.5),
    expect_fresh("2h"),
    expect_rows(800, 900, per="1d", severity="warn"),
]
NAMES = {
    "expect": expectation.expect,
    "expect_fresh": expectation.expect_fresh,
    "expect_rows": expectation.expect_rows,
    "Expectations": Expectations,
}


def test_a_definition_comes_back_from_json():
    rules = Expectations(FLIGHTS, EVERY)
    again = Expectations.from_spec(msgspec.json.decode(msgspec.json.encode(rules.to_spec())))
    assert again == rules
    assert again.expected == rules.expected
    assert hash(again) == hash(rules)
    assert list(map(str, again)) == list(map(str, EVERY))


def test_a_definition_comes_back_from_the_python_that_it_prints():
    rules = Expectations(FLIGHTS, EVERY)
    tv_like = type("tv", (), NAMES)
    scope = {"tv": tv_like, "flights": FLIGHTS, "datetime": datetime, "date": date, "Decimal": Decimal}
    assert eval(rules.to_python(), scope) == rules


def test_an_edited_definition_is_made_of_the_one_before():
    rules = Expectations(FLIGHTS, EVERY[:2])
    more = Expectations(FLIGHTS, [*rules, expect("e").not_null(), EVERY[0]])
    assert len(more) == 3


def test_the_kind_stores_a_declaration():
    kind, rules = ExpectationsKind(), Expectations(CONGESTION, [expect("n").between(0, None)])
    assert kind.accepts(rules)
    saved = kind.save(rules, None)
    artifact = Artifact.of("expectations", saved.spec, saved.files, created=datetime.now(UTC))
    assert kind.load(artifact, None) == rules
    assert rules.subject == "view.congestion"


@pytest.mark.parametrize(
    ("of", "expected", "error", "words"),
    [
        ("flights", [], Invalid, "neither"),
        (FLIGHTS, [expect("d")], Invalid, "Say what"),
        (FLIGHTS, ["d > 1"], Invalid, "no expectation"),
        (tv.Source("s", "s.csv"), [expect_fresh("1h")], Invalid, "Declare event_time="),
        (tv.Source("s", "s.csv"), [expect_rows(1, per="1d")], Invalid, "Declare event_time="),
        (CONGESTION, [expect("m").not_null()], NotFound, "'m'"),
        (CONGESTION, [expect_fresh("1h")], Invalid, "Expect it of source 'flights'"),
    ],
)
def test_what_cannot_be_expected_is_refused_in_a_sentence(of, expected, error, words):
    with pytest.raises(error, match=words):
        Expectations(of, expected)
