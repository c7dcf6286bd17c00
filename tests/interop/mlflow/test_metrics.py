from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import trivet as tv
from tests.interop.mlflow.conftest import Caller

VALUES = st.sampled_from([0.0, 1.0, 2.5, math.nan, math.inf, -math.inf])
POINTS = st.lists(st.tuples(st.sampled_from("ab"), st.integers(-1, 2), st.integers(0, 2), VALUES), max_size=12)


def plain(value: Any) -> float:
    return float({"NaN": "nan", "Infinity": "inf", "-Infinity": "-inf"}.get(value, value))


def order(value: float) -> tuple[int, float]:
    return (0, 0.0) if math.isnan(value) else (1, value)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    with tv.open(tmp_path_factory.mktemp("metrics")) as project:
        yield Caller(project)


@settings(max_examples=40, deadline=None)
@given(batches=st.lists(POINTS, max_size=4))
def test_every_different_point_is_kept_and_the_latest_is_mlflows(shared: Caller, batches: Any) -> None:
    caller, id_ = shared, shared.run()
    for batch in batches:
        metrics = [
            {"key": name, "step": step, "timestamp": at, "value": str(value).replace("inf", "Infinity").replace("nan", "NaN")}
            for name, step, at, value in batch
        ]  # fmt: skip
        caller.ask("POST", "runs/log-batch", run_id=id_, metrics=metrics)
    told = [point for batch in batches for point in batch]
    for name in "ab":
        kept = {(step, at, order(value)) for one, step, at, value in told if one == name}
        history = caller.ask("GET", "metrics/get-history", run_id=id_, metric_key=name).get("metrics", [])
        found = [(one["step"], one["timestamp"], order(plain(one["value"]))) for one in history]
        assert sorted(found) == sorted(kept)
        latest = {
            one["key"]: (one["step"], one["timestamp"], order(plain(one["value"])))
            for one in caller.ask("GET", "runs/get", run_id=id_)["run"]["data"].get("metrics", [])
        }
        assert latest.get(name) == max(kept, default=None)


def test_history_in_pages_and_thinned(caller: Caller) -> None:
    id_ = caller.run()
    metrics = [{"key": "m", "value": i, "timestamp": i, "step": i} for i in range(100)]
    caller.ask("POST", "runs/log-batch", run_id=id_, metrics=metrics)
    first = caller.ask("GET", "metrics/get-history", run_id=id_, metric_key="m", max_results=60)
    rest = caller.ask(
        "GET", "metrics/get-history", run_id=id_, metric_key="m", max_results=60, page_token=first["next_page_token"]
    )
    assert [one["step"] for one in first["metrics"] + rest["metrics"]] == list(range(100))
    assert "next_page_token" not in rest
    thin = caller.ask("GET", "metrics/get-history-bulk-interval", run_ids=[id_], metric_key="m", max_results=5)[
        "metrics"
    ]
    assert (thin[0]["step"], thin[-1]["step"], len(thin)) == (0, 99, 5)


def test_limits_of_a_batch(caller: Caller) -> None:
    id_ = caller.run()
    metrics = [{"key": "m", "value": i, "timestamp": i, "step": i} for i in range(1001)]
    assert caller.refusal("POST", "runs/log-batch", run_id=id_, metrics=metrics)[2].startswith(
        "A batch logging request can contain at most 1000 metrics. Got 1001 metrics."
    )
    tags = [{"key": f"t{i}", "value": ""} for i in range(101)]
    assert "at most 100 tags" in caller.refusal("POST", "runs/log-batch", run_id=id_, tags=tags)[2]
    large = [{"key": "t", "value": "x" * 1_000_001}]
    assert "must be at most 1000000 bytes" in caller.refusal("POST", "runs/log-batch", run_id=id_, tags=large)[2]
