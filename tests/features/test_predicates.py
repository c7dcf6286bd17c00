"""One meaning, three evaluators: the loop over rows, Polars, and DuckDB running the same text."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import duckdb
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trivet.errors import Invalid
from trivet.features.engines.filters import expression, satisfied
from trivet.features.predicates import (
    Column,
    Compare,
    Either,
    Every,
    IsNull,
    IsTrue,
    Not,
    OneOf,
    Value,
    both,
    holds,
    parse,
)

NEW_YEAR = datetime(2013, 1, 1, tzinfo=UTC)
SCHEMA = {
    "i": pl.Int64,
    "j": pl.Int8,
    "u": pl.UInt64,
    "x": pl.Float64,
    "y": pl.Float64,
    "d": pl.Decimal(12, 2),
    "s": pl.String,
    "odd name": pl.String,
    "f": pl.Boolean,
    "t": pl.Datetime("us", "UTC"),
    "day": pl.Date,
}
NULL = st.none()
INT = st.one_of(st.integers(-3, 3), st.sampled_from([2**53 + 1, -(2**63), 2**63 - 1]))
FLOAT = st.one_of(
    st.integers(-3, 3).map(float),
    st.sampled_from([-0.0, 0.1, 0.5, math.nan, math.inf, -math.inf, 1e300, float(2**53)]),
)
MONEY = st.integers(-300, 300).map(lambda cents: Decimal(cents).scaleb(-2))
TEXT = st.sampled_from(["", "a", "A", "ab", "b", "it's", "Zoë", "é", "𝔘", "\ue000"])
MOMENT = st.integers(0, 5).map(lambda n: NEW_YEAR + timedelta(microseconds=n))
DAY = st.integers(0, 3).map(lambda n: date(2013, 1, 1) + timedelta(days=n))
VALUES = {
    "i": INT,
    "j": st.integers(-3, 3),
    "u": st.one_of(st.integers(0, 3), st.just(2**64 - 1)),
    "x": FLOAT,
    "y": FLOAT,
    "d": MONEY,
    "s": TEXT,
    "odd name": TEXT,
    "f": st.booleans(),
    "t": MOMENT,
    "day": DAY,
}
ROWS = st.lists(st.fixed_dictionaries({n: st.one_of(v, v, NULL) for n, v in VALUES.items()}), max_size=12)
NUMBER = st.one_of(
    st.integers(-4, 4),
    st.sampled_from([2**53 + 1, 2**63, 2**64, -(2**70)]),
    st.sampled_from(["0.5", "-2.5", "0.1", "2.345", "0.10000000000000000001", "1E-9"]).map(Decimal),
)
KINDS = [
    (["i", "j", "u", "x", "y", "d"], NUMBER),
    (["s", "odd name"], TEXT),
    (["f"], st.booleans()),
    (["t"], MOMENT),
    (["day"], DAY),
]
OPERATORS = st.sampled_from(["=", "!=", "<", "<=", ">", ">="])


def of_kind(names, literals):
    column = st.sampled_from(names).map(Column)
    literal = literals.map(Value)
    lists = st.lists(literals, min_size=1, max_size=4).map(lambda found: tuple(Value(v) for v in sorted(set(found))))
    return st.one_of(
        st.builds(Compare, column, OPERATORS, literal),
        st.builds(Compare, column, OPERATORS, column),
        st.builds(OneOf, column, lists),
        st.builds(IsNull, column),
    )


LEAVES = st.one_of(st.just(IsTrue(Column("f"))), *(of_kind(*kind) for kind in KINDS))
TREES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: Every(tuple(parts))),
        st.lists(inner, min_size=2, max_size=3).map(lambda parts: Either(tuple(parts))),
    ),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None, database=None)
@given(TREES)
def test_the_canonical_text_is_read_back(tree):
    predicate = parse(str(tree))
    assert str(parse(str(predicate))) == str(predicate)
    assert set(predicate.columns) == set(tree.columns)


@settings(max_examples=300, deadline=None, database=None)
@given(TREES, ROWS)
def test_tables_answer_as_rows_do(tree, rows):
    frame = pl.DataFrame(rows, SCHEMA)
    expected = [holds(tree, row) for row in rows]
    assert frame.select(found=expression(tree, frame.schema))["found"].to_list() == expected
    assert satisfied(tree, frame).tolist() == [each is True for each in expected]
    assert [holds(parse(str(tree)), row) for row in rows] == expected


def in_sql(text, frame):
    connection = duckdb.connect(config={"threads": 1})
    connection.execute("SET TimeZone = 'UTC'")
    connection.register("source", frame.with_row_index("row").to_arrow())
    found = connection.sql(f"select {text} from source order by row").fetchall()
    connection.close()
    return [None if each is None else bool(each) for (each,) in found]


def brings_to_doubles(tree):
    """DuckDB compares a number with a fraction as it does decimals or doubles: both may round, ours is exact."""
    small = {"0.5", "-2.5", "0.1", *map(str, range(-4, 5))}
    match tree:
        case Compare(left, _, Column() as right):
            return (
                left.name != right.name
                and {left.name, right.name} & {"x", "y"}
                and {left.name, right.name} & {"i", "u"}
            )
        case Compare(_, _, Value() as value):
            return (
                not isinstance(value.value, bool) and isinstance(value.value, int | Decimal) and str(value) not in small
            )
        case OneOf(_, values):
            return any(
                isinstance(v.value, int | Decimal) and not isinstance(v.value, bool) and str(v) not in small
                for v in values
            )
        case Not(part):
            return brings_to_doubles(part)
        case Every(parts) | Either(parts):
            return any(map(brings_to_doubles, parts))
        case _:
            return False


@settings(max_examples=150, deadline=None, database=None)
@given(TREES.filter(lambda tree: not brings_to_doubles(tree)), ROWS)
def test_duckdb_says_the_same_of_the_same_text(tree, rows):
    frame = pl.DataFrame(rows, SCHEMA)
    assert in_sql(str(tree), frame) == [holds(tree, row) for row in rows]
    assert in_sql(str(parse(str(tree))), frame) == [holds(tree, row) for row in rows]


def test_literals_meet_whole_numbers_exactly():
    frame = pl.DataFrame({"i": [2**53, 2**53 + 1, None], "j": pl.Series([-128, 127, None], dtype=pl.Int8)})

    def ask(text):
        return frame.select(found=expression(parse(text), frame.schema))["found"].to_list()

    assert ask("i = 9007199254740993") == [False, True, None]
    assert ask("i > 9007199254740992.5") == [False, True, None]
    assert ask("j < 1000") == [True, True, None]
    assert ask("j >= -128.5") == [True, True, None]
    assert ask("j in (-128, 500, 0.5)") == [True, False, None]
    assert ask("j = 0.5") == [False, False, None]


def test_infinities_and_nan_are_in_a_total_order():
    frame = pl.DataFrame({"x": [math.nan, math.inf, -0.0, None], "y": [math.nan, math.nan, 0.0, math.nan]})
    for text, expected in {
        "x = y": [True, False, True, None],
        "x < y": [False, True, False, None],
        "x > 1e300": [True, True, False, None],
        "x = 0": [False, False, True, None],
    }.items():
        assert frame.select(found=expression(parse(text), frame.schema))["found"].to_list() == expected
        assert [holds(parse(text), row) for row in frame.to_dicts()] == expected


@pytest.mark.parametrize(
    ("written", "canonical"),
    [
        ("15 < delay AND NOT carrier IN ('UA','AA','UA')", "delay > 15 and carrier not in ('AA', 'UA')"),
        ("x between 1.50 and 2.0", "x >= 1.5 and x <= 2"),
        ("NOT x BETWEEN 1 AND 2 OR NOT NOT f", "not (x >= 1 and x <= 2) or f"),
        ("x not between +1 and 2", "not (x >= 1 and x <= 2)"),
        ("not x <> -1e3", "x = -1000"),
        ("((a == 1)) and (b = 2 and (c = 3))", "a = 1 and b = 2 and c = 3"),
        ("a = 1 or b = 2 and (c = 3 or d = 4)", "a = 1 or b = 2 and (c = 3 or d = 4)"),
        ("a = 1 and a = 1", "a = 1"),
        ("not (x is null)", "x is not null"),
        ('"odd ""name""" = \'it\'\'s\'', '"odd ""name""" = \'it\'\'s\''),
        ('"and" is null', '"and" is null'),
        ("t >= timestamp '2013-01-01T01:00:00+01:00'", "t >= TIMESTAMP '2013-01-01T00:00:00Z'"),
        ("timestamp < DATE '2013-01-01'", "timestamp < DATE '2013-01-01'"),
        ("straße = true", "straße = true"),
    ],
)
def test_what_means_the_same_is_written_the_same(written, canonical):
    assert str(parse(written)) == canonical
    assert str(parse(canonical)) == canonical


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is no condition"),
        ("x >", "ends, where a column or a literal is expected"),
        ("x = null", "Write 'is null'"),
        ("x in (1, null)", "Write 'is null'"),
        ("1 < 2", "compares 1 with 2 and no column"),
        ("true", "where a comparison after true is expected"),
        ("x & y", "Write 'and'"),
        ("x = 'a", "a text that does not end at character 5"),
        ("x in (1, 'a')", "numbers and text in one list"),
        ("x in (y)", "Lists hold literals"),
        ("x in ()", "has '\\)' at character 7"),
        ("(x > 1", "ends, where '\\)' is expected"),
        ("x > 1)", "has '\\)' at character 6"),
        ("x not 3", "where 'in' or 'between' is expected"),
        ("x > 1e999999999", "fits into no column"),
        ("t > TIMESTAMP '2013-01-01'", "has no time zone"),
        ("t > DATE '2013-13-01'", "is not a day"),
        ("x > 1; drop table x", "has ';'"),
        ("f(x) > 1", "has '\\(' at character 2"),
        ("(" * 60 + "x" + ")" * 60, "parentheses inside one another"),
    ],
)
def test_what_is_no_condition_gets_a_sentence(text, sentence):
    with pytest.raises(Invalid, match=sentence):
        parse(text)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("s > 15", "takes column 's' with 15, one of numbers, but the column holds text"),
        ("x = 'a'", "takes column 'x' with 'a', one of text, but the column holds numbers"),
        ("x in ('a')", "takes column 'x' with 'a', one of text, but the column holds numbers"),
        ("x = s", "with column 's', which holds text, but the column holds numbers"),
        ("f > 0", "holds truth values"),
        ("day < TIMESTAMP '2013-01-01T00:00:00Z'", "holds dates"),
        ("not (x > 1 and s)", "takes column 's' by itself, but the column holds text"),
    ],
)
def test_kinds_that_do_not_compare_get_a_sentence(text, sentence):
    row = {"s": "a", "x": 2.0, "f": True, "day": date(2013, 1, 1)}
    with pytest.raises(Invalid, match=sentence):
        holds(parse(text), row)
    with pytest.raises(Invalid, match=sentence):
        expression(parse(text), pl.DataFrame([row]).schema)


def test_what_never_compares_may_still_be_missing():
    frame = pl.DataFrame({"bytes": [b"a", None], "nothing": [None, None], "naive": [datetime(2013, 1, 1), None]})
    assert satisfied(parse("bytes is null"), frame).tolist() == [False, True]
    assert satisfied(parse("nothing > 3 or nothing is null"), frame).tolist() == [True, True]
    for text, row in (("bytes = 'a'", {"bytes": b"a"}), ("naive > DATE '2013-01-01'", {"naive": datetime(2013, 1, 1)})):
        with pytest.raises(Invalid, match="compare"):
            satisfied(parse(text), frame)
        with pytest.raises(Invalid, match="compares with nothing"):
            holds(parse(text), row)


def test_kinds_of_storage_do_not_matter():
    rows = pl.DataFrame({"s": ["b", "a"], "t": [NEW_YEAR, NEW_YEAR + timedelta(seconds=1)], "x": [0.1, 0.2]})
    stored = rows.with_columns(
        pl.col("s").cast(pl.Enum(["b", "a"])), pl.col("t").dt.convert_time_zone("Asia/Tokyo").dt.cast_time_unit("ns")
    )
    text = "s < 'b' and t > TIMESTAMP '2013-01-01T00:00:00Z'"
    assert satisfied(parse(text), stored).tolist() == satisfied(parse(text), rows).tolist() == [False, True]
    assert satisfied(parse("x > 0.1"), rows.cast({"x": pl.Float32})).tolist() == [True, True]  # 0.1f is above 0.1


def test_long_conditions_are_no_deep_ones():
    text = " or ".join(f"(i = {n} and x > {n})" for n in range(3000))
    wide = f"s in ({', '.join(repr(str(n)) for n in range(20_000))})"
    frame = pl.DataFrame({"i": [7, 8], "x": [8.0, 8.0], "s": ["19999", "20000"]})
    assert satisfied(parse(text), frame).tolist() == [True, False]
    assert satisfied(parse(wide), frame).tolist() == [True, False]


def test_joined_conditions_are_flat():
    assert str(both(parse("a = 1 or b = 2"), parse("c = 3"))) == "(a = 1 or b = 2) and c = 3"
