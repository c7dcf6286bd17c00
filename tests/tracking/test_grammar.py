"""The language of searches: what is written is what is meant, printed as it is read, and never more than text."""

from __future__ import annotations

import math
import operator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trivet.errors import Invalid
from trivet.ledger import Run
from trivet.ledger.conditions import ATTRIBUTES, And, Compare, Field, In, Known, Linked, Not, Or, holds
from trivet.tracking.grammar import parse, parse_order, write, write_order
from trivet.types import to_micros

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
AUC, DEPTH, TEAM = Field("metric", "auc"), Field("parameter", "depth"), Field("tag", "team")
STARTED, NAME = Field("attribute", "started"), Field("attribute", "name")
HALF = Compare(AUC, ">", 0.5)
A = "a" * 64

names = st.text(min_size=1, max_size=12) | st.sampled_from(["auc", "loss.min", "val/auc", "a`b", "max", 'say "x"', "é"])
texts = st.text(max_size=15) | st.sampled_from(["it's", "' or 1=1 --", '";drop table runs', "a\nb", "%_%"])
numbers = st.integers(-(10**20), 10**20) | st.floats(allow_nan=False)
instants = st.integers(-(2**50), 2**50)  # microseconds, written as milliseconds
ops = st.sampled_from(["=", "!=", "<", "<=", ">", ">="])
patterns = st.sampled_from(["like", "ilike"])
metrics = st.builds(Field, st.just("metric"), names, st.sampled_from(["last", "min", "max", "step", "count"]))
parameters, tags = st.builds(Field, st.just("parameter"), names), st.builds(Field, st.just("tag"), names)
words = st.sampled_from(["id", "kind", "name", "parent", "user", "host", "key", "experiment"])
attributes = st.builds(Field, st.just("attribute"), words)
moments = st.builds(Field, st.just("attribute"), st.sampled_from(["started", "ended", "deleted", "seconds"]))
leaves = st.one_of(
    st.builds(Compare, metrics | parameters, ops, numbers),
    st.builds(Compare, moments, ops, instants),
    st.builds(Compare, parameters | tags | attributes, ops | patterns, texts),
    st.builds(In, metrics, st.lists(numbers, max_size=4).map(tuple)),
    st.builds(In, moments, st.lists(instants, max_size=4).map(tuple)),
    st.builds(In, tags | attributes, st.lists(texts, max_size=4).map(tuple)),
    st.builds(Known, st.one_of(metrics, parameters, tags, attributes, moments)),
    st.builds(Linked, st.sampled_from(["input", "output", "ancestor", "descendant"]), st.just(A)),
    st.sampled_from([And(()), Or(())]),
)
conditions = st.recursive(
    leaves,
    lambda part: st.one_of(
        st.builds(And, st.lists(part, min_size=2, max_size=4).map(tuple)),
        st.builds(Or, st.lists(part, min_size=2, max_size=4).map(tuple)),
        st.builds(Not, part),
    ),
    max_leaves=8,
)
fields = st.one_of(metrics, parameters, tags, attributes, moments)


@settings(max_examples=250, deadline=None)
@given(conditions)
def test_what_is_written_is_read_as_the_same(condition):
    assert parse(write(condition)) == condition


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(fields, st.booleans()), max_size=4))
def test_orders_are_read_as_they_are_written(asked):
    from trivet.ledger import Order

    order = tuple(Order(field, descending) for field, descending in asked)
    assert parse_order(write_order(order)) == order


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60) | st.lists(st.sampled_from("( ) and or not in like is null = > , ' ` name metrics.a 3 -7d".split())).map(" ".join))  # fmt: skip  # noqa: E501, SIM905
def test_any_text_is_a_condition_or_a_sentence(text):
    try:
        written = write(parse(text, now=NOW))
    except Invalid as exc:
        written, message = "", exc.message.split("\n")
        assert [len(message), message[2].strip().strip("^")] == [3, ""]  # the sentence, the query, the mark
    assert write(parse(written)) == (written or "true")


COMPARE = {
    "=": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
values = st.sampled_from([-1.5, 0.0, 0.5, 3.0])


@st.composite
def questions(draw, depth=0):
    """A text, and what it means as a plain function of metrics, parameters and tags: written apart from the parser."""
    kind = draw(st.integers(0, 8 if depth < 3 else 4))
    if kind <= 1:
        name, op, value = draw(st.sampled_from(["a", "b"])), draw(ops), draw(values)
        return f"metrics.{name} {op} {value}", lambda run: name in run.metrics and COMPARE[op](run.metrics[name], value)
    if kind == 2:
        value, sign = draw(st.sampled_from(["x", "it's", ""])), draw(st.sampled_from(["=", "!="]))
        quoted = value.replace("'", "''")
        return f"tags.t {sign} '{quoted}'", lambda run: "t" in run.tags and COMPARE[sign](run.tags["t"], value)
    if kind == 3:
        chosen = draw(st.lists(st.integers(0, 3), max_size=3))
        return f"params.p in ({', '.join(map(str, chosen))})", lambda run: run.parameters.get("p") in chosen
    if kind == 4:
        no = draw(st.booleans())
        return f"metrics.a is {'not ' * no}null", lambda run: ("a" in run.metrics) == no
    if kind == 5:
        text, meant = draw(questions(depth + 1))
        return f"NOT ({text})", lambda run: not meant(run)
    left, first = draw(questions(depth + 1))
    right, second = draw(questions(depth + 1))
    if kind == 6:
        return f"({left}) or {right}", lambda run: first(run) or second(run)
    if kind == 7 and " or " not in left + right:
        return f"{left} and {right}", lambda run: first(run) and second(run)
    return f"({left}) AND ({right})", lambda run: first(run) and second(run)


runs = st.builds(
    lambda metrics, p, tags: Run("01RUN", "task", "fit", "finished", NOW, metrics=metrics, parameters=p, tags=tags),
    st.dictionaries(st.sampled_from(["a", "b"]), values | st.just(math.nan), max_size=2),
    st.dictionaries(st.just("p"), st.integers(0, 4), max_size=1),
    st.dictionaries(st.just("t"), st.sampled_from(["x", "it's", "", "y"]), max_size=1),
)


@settings(max_examples=300, deadline=None)
@given(questions(), runs)
def test_it_means_what_a_plain_function_says(question, run):
    text, meant = question
    assert holds(parse(text), run) == meant(run), text


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("", And(())),
        ("metrics.auc > .5", HALF),
        ("metric.`auc` > 0.5", HALF),
        ('METRICS."auc">0.5'.replace("METRICS", "metrics"), HALF),
        ("attributes.name == 'fit'", Compare(NAME, "=", "fit")),
        ("run_name <> 'fit'", Compare(NAME, "!=", "fit")),
        ("status = 'FINISHED'", Compare(Field("attribute", "status"), "=", "finished")),
        ("tags.mlflow.runName LIKE 'a%'", Compare(Field("tag", "mlflow.runName"), "like", "a%")),
        ("metrics.loss.min < 0.3", Compare(Field("metric", "loss", "min"), "<", 0.3)),
        ("metrics.`loss.min`.max < 0.3", Compare(Field("metric", "loss.min", "max"), "<", 0.3)),
        ("metrics.max < 1", Compare(Field("metric", "max"), "<", 1)),
        ("params.shuffle = true", Compare(Field("parameter", "shuffle"), "=", "true")),
        ("params.depth in (3, '4')", In(DEPTH, (3, "4"))),
        ("tags.team not in ('a')", And((Known(TEAM), Not(In(TEAM, ("a",)))))),
        ("name not like 'a%'", And((Known(NAME), Not(Compare(NAME, "like", "a%"))))),
        ("tags.team is null", Not(Known(TEAM))),
        ("started > -7d", Compare(STARTED, ">", to_micros(NOW - timedelta(days=7)))),
        ("started <= now", Compare(STARTED, "<=", to_micros(NOW))),
        ("started > '2026-11-01'", Compare(STARTED, ">", to_micros(datetime(2026, 11, 1, tzinfo=UTC)))),
        ("started > 2026-11-01", Compare(STARTED, ">", to_micros(datetime(2026, 11, 1, tzinfo=UTC)))),
        ("start_time > 1700000000000", Compare(STARTED, ">", 1_700_000_000_000_000)),
        ("duration > 2h", Compare(Field("attribute", "seconds"), ">", 7200.0)),
        (f"uses({A})", Linked("input", A)),
        (f"not made_from( '{A}' )", Not(Linked("ancestor", A))),
        (f"leads_to({A}) and made({A})", And((Linked("descendant", A), Linked("output", A)))),
        ("not not metrics.auc > 0.5", Not(Not(HALF))),
    ],
)
def test_forms(text, condition):
    assert parse(text, now=NOW) == condition


def test_and_binds_closer_than_or_and_not_closer_than_both():
    a, b, c = (f"tags.{name} = '1'" for name in "abc")
    one, two, three = (parse(each) for each in (a, b, c))
    assert parse(f"{a} or {b} and {c}") == Or((one, And((two, three))))
    assert parse(f"not {a} and {b}") == And((Not(one), two))
    assert parse(f"not ({a} or {b})") == Not(Or((one, two)))
    assert parse(f"({a} and {b}) and {c}") == And((And((one, two)), three))


@pytest.mark.parametrize(
    ("text", "message", "mark"),
    [
        ("nmae = 'fit'", "Did you mean 'name'", "^^^^"),
        ("acu > 3", "There are: id, kind, name", "^^^"),
        ("metrcs.auc > 3", r"Did you mean metrics\.auc", "^" * 10),
        ("status = done", "Text stands in quotes: 'done'", "         ^^^^"),
        ("metrics.auc >", "a value is missing", "             ^"),
        ("metrics.auc > '0.7'", "is a number and is not compared with the text", "              ^^^^^"),
        ("name = 3", "Write '3'", "       ^"),
        ("metrics.auc like 'a%'", "Only text is matched", "                 ^^^^"),
        ("(name = 'a'", r"a '\)' is missing", "           ^"),
        ("name = 'a", "never closed", "       ^"),
        ("name = 'a'; drop table runs", "goes on with 'and' or 'or'", "          ^"),
        ("name = 'a' name = 'b'", "goes on with 'and' or 'or'", "           ^^^^"),
        ("started = '2026-11-01'", "A day is no moment", "          ^^^^^^^^^^^^"),
        ("started > 1700000000000", "Milliseconds belong to start_time", "          ^^^^^^^^^^^^^"),
        ("started > '2026-13-01'", "is no time", "          ^^^^^^^^^^^^"),
        ("metrics.`a`.mean > 1", "has no 'mean'. It has: last, min", "^^^^^^^^^^^^^^^^"),
        ("params.a.", "stands one of", "         ^"),
        ("metrics. > 1", "stands a name", "^^^^^^^^"),
        ("tags.a in 'x'", "stands a list", "          ^^^"),
        ("uses(delay)", "only a whole digest", "^^^^^^^^^^^"),
        ("name is 'a'", "'null' or 'not null'", "        ^^^"),
        ("seconds > soon", "a number of seconds", "          ^^^^"),
        ("(" * 100 + "name = 'a'" + ")" * 100, "nested too deep", None),
        ("not " * 100 + "name = 'a'", "nested too deep", None),
    ],
)
def test_a_mistake_is_pointed_at(text, message, mark):
    with pytest.raises(Invalid, match=message) as caught:
        parse(text, now=NOW)
    if mark:
        assert caught.value.message.splitlines()[-2:] == [f"  {text}", f"  {mark}"]


def test_a_mistake_in_a_long_query_is_shown_with_what_is_near():
    with pytest.raises(Invalid) as caught:
        parse(" and ".join(["name = 'a'"] * 40) + " and nmae = 'b' and " + " and ".join(["name = 'a'"] * 40))
    line, mark = caught.value.message.splitlines()[1:]
    assert line[mark.index("^") : mark.rindex("^") + 1] == "nmae"
    assert len(line) < 160
    with pytest.raises(Invalid, match="too long"):
        parse("a" * 300_000)


def test_references_and_experiments_are_looked_up():
    seen = []

    def artifacts(reference):
        seen.append(reference)
        return [A, "b" * 64] if reference == "run:01X" else []

    assert parse("uses(run:01X)", artifacts=artifacts) == Or((Linked("input", A), Linked("input", "b" * 64)))
    assert parse("uses('model/late flights@champion')", artifacts=artifacts) == Or(())
    assert seen == ["run:01X", "model/late flights@champion"]
    by_name = parse("experiment = 'flights'", experiment={"flights": "01E"}.__getitem__)
    assert by_name == Compare(Field("attribute", "experiment"), "=", "01E")


def test_every_attribute_can_be_asked_for_and_sorted_by():
    for name in ATTRIBUTES:
        assert parse(f"{name} is null") == Not(Known(Field("attribute", name)))
        assert parse_order(f"{name} desc")[0].field == Field("attribute", name)
    with pytest.raises(Invalid, match="an order goes on"):
        parse_order("name upwards")
    with pytest.raises(Invalid, match="a field is missing"):
        parse_order("name, ,")
