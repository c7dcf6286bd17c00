"""The meaning of filters against MLflow's own, probed on the real server; and that nothing but a refusal comes of nonsense."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trivet.interop.mlflow.filters import NEVER, condition_of, order_of
from trivet.interop.mlflow.wire import MLflowError
from trivet.ledger.conditions import holds
from trivet.ledger.records import Run
from trivet.types import as_utc

RUN = Run(
    id="01ARZ3NDEKTSV4RRFFQ69G5FAV",
    kind="experiment",
    name="trees",
    status="finished",
    started=as_utc("1970-01-01T00:00:01.000500Z"),
    ended=as_utc("1970-01-01T00:00:02Z"),
    user="ada",
    parameters={"depth": "3", "empty": "", "a.b": "x y"},
    metrics={"auc": 0.7, "nan": float("nan"), "val/loss": 1.0},
    tags={"team": "A_b%c", "mlflow.runName": "trees", "quote": "it's"},
)
TRUE = [
    "metrics.auc > 0.5",
    "metric.auc >= 0.7",
    "metrics.auc = 7e-1",
    "metrics.nan != 0.5",
    "metrics.`val/loss` = 1",
    'metrics."val/loss" < 2',
    "metrics.auc <> 1",
    "params.depth = '3'",
    'params.depth = "3"',
    "param.depth != '4'",
    "parameters.empty = ''",
    "params.`a.b` = 'x y'",
    "params.a.b LIKE 'x%'",
    "params.none IS NULL",
    "params.depth IS NOT NULL",
    "tags.team LIKE 'A%'",
    "tags.team ILIKE 'a_b%C'",
    "tag.mlflow.runName = 'trees'",
    "attributes.status = 'FINISHED'",
    "attr.status LIKE 'FIN%'",
    "status != 'FAILED'",
    "run.run_name = 'trees'",
    "`run_name` ILIKE 'TR%'",
    "Run name = 'trees' AND run_name = 'trees'",
    "user_id = 'ada'",
    "start_time = 1000",
    "created >= 1000",
    "attributes.start_time < 1001",
    "start_time <= 1000",
    "end_time > 1999",
    "end_time != 2001",
    "run_id = '01563e3ab5d3d6764c61efb99302bd5b'",
    "attributes.run_id IN ('x', '01563e3ab5d3d6764c61efb99302bd5b')",
    "run_id NOT IN ('x')",
    "run_id != 'x'",
    "artifact_uri = 'mlflow-artifacts:/0/01563e3ab5d3d6764c61efb99302bd5b/artifacts'",
    "metrics.auc>0.5 and params.depth='3' AND tags.team != 'x'",
    "",
    "params.depth = '3' params.empty = ''",
]
FALSE = [
    "metrics.auc != 0.7",
    "metrics.nan = 0",
    "metrics.nan > 0",
    "metrics.none != 1",
    "params.none != 'x'",
    "params.depth = '3.0'",
    "params.depth = '03'",
    "tags.team LIKE 'a%'",
    "tags.none != 'x'",
    "status = 'RUNNING'",
    "status = 'SCHEDULED'",
    "start_time > 1000",
    "start_time != 1000",
    "run_id = 'x'",
    "run_id NOT IN ('01563e3ab5d3d6764c61efb99302bd5b')",
    "status = 'finished'",
    "start_time = 1000.5",
    "tags.quote = 'it''s'",
    "datasets.name = 'x'",
]
REFUSED = [
    "metrics.auc > 0.5 OR metrics.auc < 0.1",
    "(metrics.auc > 0.5)",
    "NOT metrics.auc > 0.5",
    "metrics.auc",
    "metrics.auc >",
    "metrics.auc = '0.7'",
    "metrics.auc LIKE 'x'",
    "params.depth = 3",
    "params.depth > '3'",
    "params.depth IN ('3')",
    "tags.team < 'x'",
    "lifecycle_stage = 'active'",
    "duration > 1",
    "foo.bar = 'x'",
    "status IN ('FINISHED')",
    "run_name IN ('x')",
    "start_time = 'x'",
    "start_time LIKE 'x'",
    "metrics.auc IS NULL",
    "status IS NULL",
    "run_id IN ()",
    "run_id IN ('x'",
    "run_id IN (1)",
    "datasets.schema = 'x'",
    "1 = 1",
    "'a' = 'a'",
    "= 3",
    "params.x = 'a",
    "   ",
    "run_id LIKE '0%'",
    "metrics.auc > nan",
    "params.x = 'a'; DROP TABLE runs",
    "params.x = 'a' -- c",
    "start_time > 1e300",
]


def is_true(text: str) -> bool:
    condition = condition_of(text, lambda _key, _fits: NEVER)
    return condition is None or holds(condition, RUN)


@pytest.mark.parametrize("text", TRUE)
def test_true(text: str) -> None:
    assert is_true(text)


@pytest.mark.parametrize("text", FALSE)
def test_false(text: str) -> None:
    assert not is_true(text)


@pytest.mark.parametrize("text", REFUSED)
def test_refused(text: str) -> None:
    with pytest.raises(MLflowError) as caught:
        is_true(text)
    assert caught.value.code == "INVALID_PARAMETER_VALUE"


WORDS = st.sampled_from(
    [
        "metrics.a",
        "params.`x y`",
        'tags."q',
        "status",
        "run_id",
        "=",
        "!=",
        ">",
        "IN",
        "NOT",
        "IS",
        "NULL",
        "LIKE",
        "AND",
        "OR",
        "(",
        ")",
        ",",
        "'x'",
        "'",
        "1",
        "-1e5",
        "nan",
        ".",
        "``",
        "datasets.name",
        "start_time",
        ";",
        "\\",
        "\0",
        "🛫",
        "run name",
    ]
)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.lists(WORDS, max_size=8).map(" ".join), st.text(max_size=30)))
def test_nonsense_is_refused_or_has_a_meaning(text: str) -> None:
    for ask in (lambda: is_true(text), lambda: order_of([text])):
        with contextlib.suppress(MLflowError):  # anything else is a fault of ours
            ask()


TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="'"), max_size=8)


@settings(max_examples=150, deadline=None)
@given(value=TEXTS, held=TEXTS, op=st.sampled_from(["=", "!="]), group=st.sampled_from(["params", "tags"]))
def test_texts_are_equal_or_not_as_text(value: str, held: str, op: str, group: str) -> None:
    run = Run("", "", "", "running", as_utc("1970-01-01T00:00:00Z"), parameters={"k": held}, tags={"k": held})
    condition = condition_of(f"{group}.k {op} '{value}'", lambda _key, _fits: NEVER)
    assert condition is not None
    assert holds(condition, run) == ((held == value) == (op == "="))


def test_orders() -> None:
    fields = [(one.field.group, one.field.name, one.descending) for one in order_of(["metrics.`a b` DESC", "run_name"])]
    assert fields == [
        ("metric", "a b", True),
        ("attribute", "name", False),
        ("attribute", "started", True),
        ("attribute", "id", False),
    ]
    for text in ("metrics.a sideways", "metrics.a ASC b", "nothing", "datasets.name", ""):
        with pytest.raises(MLflowError):
            order_of([text])
    with pytest.raises(MLflowError):
        order_of(["metrics.a", "metric.a DESC"])
