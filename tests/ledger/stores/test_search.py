"""``holds`` is the oracle of the SQL: any condition over any runs, in any order, page by page."""

from __future__ import annotations

import math
from contextlib import contextmanager
from datetime import timedelta

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from trivet.errors import Invalid
from trivet.ledger import Metric, Order, RunQuery, cursor_of
from trivet.ledger.conditions import ATTRIBUTES, And, Compare, Field, In, Known, Linked, Not, Or
from trivet.ledger.stores import search
from trivet.ledger.stores.memory import MemoryStore
from trivet.ledger.stores.sql import open_store
from trivet.testing.records import NOW, a_run

TEXTS = ["", "a", "A", "b", "é", "É", "3", "3.0", "1e1", "a%b", "x" * 201, "x" * 200 + "y", "nul\0", "\ud83d", "[a]*?"]
NUMBERS = [0, 3, 3.5, 10, math.inf, -math.inf, math.nan, 2**53 + 1, 2**70, -(2**63)]
few = st.sampled_from(["a", "b", "n" * 300])
texts = st.sampled_from(TEXTS)
numbers = st.sampled_from(NUMBERS)
plain = st.sampled_from(["", "a", "A", "b", "é", "É", "3", "[a]*?"])
times = st.integers(-3, 3).map(lambda seconds: NOW + timedelta(seconds=seconds / 4))
digests = st.sampled_from(["1", "2", "3"])

runs = st.builds(
    a_run,
    st.sampled_from([f"run-{number}" for number in range(6)]),
    name=plain,
    kind=plain,
    started=times,
    ended=st.none() | times,
    parent=st.none() | plain,
    user=plain,
    experiment=plain,
    deleted=st.sampled_from([None, None, None, NOW]),
    inputs=st.dictionaries(few, digests, max_size=2),
    outputs=st.dictionaries(few, digests, max_size=2),
    metrics=st.dictionaries(few, numbers, max_size=2),
    parameters=st.dictionaries(few, texts | numbers | st.sampled_from([None, True, [1], {"a": "é"}]), max_size=3),
    tags=st.dictionaries(few, texts, max_size=3),
)
points = st.builds(Metric, st.sampled_from(["run-0", "run-1"]), few, st.integers(-1, 2), numbers.map(float), times)
records = st.lists(runs, min_size=1, max_size=7).flatmap(
    lambda some: st.tuples(
        st.just(some), st.lists(points.filter(lambda one: one.run in {r.id for r in some}), max_size=6)
    )
)

fields = (
    st.builds(Field, st.just("attribute"), st.sampled_from(ATTRIBUTES))
    | st.builds(Field, st.sampled_from(["parameter", "tag"]), few)
    | st.builds(Field, st.just("metric"), few, st.sampled_from(["last", "last", "min", "max", "step", "count"]))
)
moments = st.integers(-3, 3).map(lambda quarters: int(NOW.timestamp() * 1e6) + quarters * 250_000)
values = texts | numbers | moments | moments.map(float)
patterns = st.sampled_from(["%", "_", "a%", "%A", "É", "%x", "[a]%?", "x_%", "", "3%"])


@st.composite
def leaves(draw):
    field = draw(fields)
    if draw(st.booleans()) and not field.is_number:
        return Compare(field, draw(st.sampled_from(["like", "ilike"])), draw(patterns))
    fitting = values.filter(
        lambda v: not (field.is_text and not isinstance(v, str)) and not (field.is_number and isinstance(v, str))
    )
    match draw(st.integers(0, 3)):
        case 0:
            return Known(field)
        case 1:
            return In(field, tuple(draw(st.lists(fitting, max_size=3))))
        case _:
            return Compare(field, draw(st.sampled_from(["=", "!=", "<", "<=", ">", ">="])), draw(fitting))


links = st.builds(Linked, st.sampled_from(["input", "output", "ancestor", "descendant"]), digests)
conditions = st.recursive(
    leaves() | links,
    lambda inner: (
        st.builds(Not, inner)
        | st.builds(And, st.lists(inner, max_size=3).map(tuple))
        | st.builds(Or, st.lists(inner, max_size=3).map(tuple))
    ),
    max_leaves=5,
)
queries = st.builds(
    RunQuery,
    where=st.none() | conditions,
    order=st.lists(st.builds(Order, fields, st.booleans()), max_size=2).map(tuple),
    deleted=st.sampled_from(["no", "no", "only", "both"]),
    limit=st.integers(1, 3),
    kind=st.none() | plain,
    experiment=st.none() | plain,
    input=st.none() | st.none() | digests,
)


def emptied(store):
    with store._engine.begin() as connection:
        for table in ("metrics", "summaries", "parameters", "tags", "edges", "runs"):
            connection.exec_driver_sql(f"DELETE FROM trivet_{table}")
    return store


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request, tmp_path):
    url = "sqlite:///ledger.db?synchronous=normal"
    store = open_store(url if request.param == "sqlite" else request.getfixturevalue("postgresql_url"), tmp_path)
    yield store
    store.close()


@contextmanager
def gathering(few_are):
    before, search.FEW = search.FEW, few_are
    try:
        yield
    finally:
        search.FEW = before


def pages(store, query):
    """The ids of all runs of a query, page by page."""
    found = []
    while page := store.runs(query):
        assert len(page) <= query.limit
        found += [run.id for run in page]
        kept = {one.name: one for one in store.metrics(page[-1].id, summary=True)}
        query = msgspec.structs.replace(query, after=cursor_of(page[-1], query, kept))
    return found


SETTINGS = settings(
    max_examples=150,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@SETTINGS
@given(records=records, queries=st.lists(queries, min_size=1, max_size=3), few_are=st.sampled_from([-1, 1, 2_000]))
def test_sql_answers_what_holds(store, records, queries, few_are):
    memory, store = MemoryStore(), emptied(store)
    for run in records[0]:
        memory.write(run)
        store.write(run)
    memory.write(*records[1])
    store.write(*records[1])
    with gathering(few_are):  # so that each way is gone, whatever there is
        for query in queries:
            everything = msgspec.structs.replace(query, limit=100)
            expected = [run.id for run in memory.runs(everything)]
            assert [run.id for run in store.runs(everything)] == expected
            assert pages(store, query) == expected
            assert pages(memory, query) == expected
            assert store.count(query) == memory.count(query) == len(expected)
    for id_ in {run.id for run in records[0]}:
        assert repr(store.metrics(id_, summary=True)) == repr(memory.metrics(id_, summary=True))


@given(conditions)
def test_a_condition_may_be_sent(condition):
    sent = msgspec.to_builtins(condition)
    assert repr(msgspec.convert(sent, And | Or | Not | Compare | In | Known | Linked)) == repr(condition)


def test_every_page_once_while_runs_are_added(store):
    auc = Field("metric", "auc")
    store.write(
        *(a_run(f"{number:03}", metrics={"auc": number % 7 / 7} if number % 3 else {}) for number in range(100))
    )
    query, seen = RunQuery(order=(Order(auc, descending=True),), limit=9), []
    while page := store.runs(query):
        seen += [run.id for run in page]
        query = msgspec.structs.replace(query, after=cursor_of(page[-1], query))
        store.write(*(a_run(f"{len(seen)}-{number}", metrics={"auc": number / 3}) for number in range(4)))
    assert sorted(one for one in seen if "-" not in one) == [f"{number:03}" for number in range(100)]
    assert len(set(seen)) == len(seen)


AUC, TEAM = Field("metric", "auc"), Field("tag", "team")


@pytest.mark.parametrize(
    "ask",
    [
        lambda: Compare(AUC, "=", "high"),
        lambda: Compare(AUC, "like", "0.%"),
        lambda: Compare(TEAM, "=", 3),
        lambda: Compare(TEAM, "<>", "a"),
        lambda: In(TEAM, ("a",) * 10_001),
        lambda: Field("attribute", "nmae"),
        lambda: Field("tag", "team", "max"),
    ],
)
def test_what_cannot_be_asked(ask):
    with pytest.raises(Invalid):
        ask()


PLANS = [
    (RunQuery(where=Compare(Field("metric", "auc"), ">", 0.5)), "trivet_summaries_by_last"),
    (RunQuery(where=Compare(Field("parameter", "depth"), "=", 3)), "trivet_parameters_by_number"),
    (RunQuery(where=In(Field("parameter", "loss"), ("l1", "l2"))), "trivet_parameters_by_text"),
    (RunQuery(where=Compare(Field("tag", "team"), "=", "a")), "trivet_tags_by_text"),
    (RunQuery(order=(Order(Field("metric", "auc"), descending=True),)), "trivet_summaries_by_last"),
    (RunQuery(order=(Order(Field("parameter", "depth")),)), "trivet_parameters_by_number"),
    (RunQuery(order=(Order(Field("tag", "team")),)), "trivet_tags_by_text"),
    (RunQuery(order=(Order(Field("attribute", "started"), descending=True),)), "trivet_runs_by_start"),
    (RunQuery(experiment="x"), "trivet_runs_by_experiment"),
    (RunQuery(), "sqlite_autoindex_trivet_runs_1"),
]


@pytest.mark.parametrize(("query", "index"), PLANS)
def test_questions_go_through_an_index(tmp_path, query, index):
    store = open_store("sqlite:///ledger.db", tmp_path)
    with store._engine.connect() as connection:
        statement = next(search.Search(query, "sqlite").statements(connection)).limit(100)
        text = str(statement.compile(connection, compile_kwargs={"literal_binds": True}))
        plan = [row[-1] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}")]
    assert index in plan[0], plan
    store.close()
