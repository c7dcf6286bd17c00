from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import trivet as tv
from tests.interop.mlflow.conftest import Caller
from trivet.interop.mlflow import routes


@pytest.mark.parametrize(
    "path", ["/api/2.0/mlflow/nothing", "/api/3.0/mlflow/traces", "/api/2.0/mlflow-artifacts/mpu/create/x"]
)
@pytest.mark.parametrize("verb", ["GET", "POST"])
def test_what_is_not_there_says_so(caller: Caller, verb: str, path: str) -> None:
    answer = caller.request(verb, path)
    assert (answer.status_code, answer.json()["error_code"]) == (404, "ENDPOINT_NOT_FOUND")


def test_both_prefixes_the_version_and_the_abilities(caller: Caller) -> None:
    assert caller.request("GET", "/version").text == "3.17.2"
    assert caller.request("GET", "/ajax-api/2.0/mlflow/experiments/get?experiment_id=0").status_code == 200
    assert "multipart_upload_enabled" not in caller.request("GET", "/api/3.0/mlflow/server-info").json()


def test_bodies_that_are_none(caller: Caller) -> None:
    path = "/api/2.0/mlflow/runs/search"
    for body in (b"{", b"[1]", b"\xff", b"[" * 100_000, b'"x"', b"3"):
        assert caller.request("POST", path, content=body).status_code == 400, body[:20]
    assert caller.request("POST", path, content=b"").json() == {}
    twice = json.dumps(json.dumps({"experiment_ids": ["0"], "unknown": {"x": 1}}))
    assert caller.request("POST", path, content=twice.encode()).json() == {}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
WORDS = [
    "run_id",
    "run_uuid",
    "experiment_id",
    "key",
    "value",
    "timestamp",
    "step",
    "metrics",
    "params",
    "tags",
    "filter",
    "max_results",
    "order_by",
    "page_token",
    "experiment_ids",
    "name",
    "version",
    "source",
    "alias",
    "status",
    "models",
    "datasets",
    "new_name",
    "path",
    "metric_key",
    "experiment_name",
    "stage",
    "archive_existing_versions",
    "model_json",
]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with tv.open(tmp_path_factory.mktemp("nonsense")) as project:
        yield Caller(project)


@settings(max_examples=250, deadline=None)
@given(data=st.data())
def test_nonsense_is_never_the_servers_fault(shared: Caller, data: st.DataObject) -> None:
    known = [route for route in routes(shared.project.context) if getattr(route, "methods", None)]
    route = data.draw(st.sampled_from(known))
    path = route.path.replace("{path:path}", "0/x").replace("{rest:path}", "x").replace("{tag_key:path}", "k")  # type: ignore[attr-defined]
    path = path.replace("{model_id}", "m-" + "0" * 32)
    run = shared.run()
    fields = data.draw(st.dictionaries(st.sampled_from(WORDS), JSON, max_size=6))
    if data.draw(st.booleans()):
        fields |= {"run_id": run, "experiment_id": "0", "experiment_ids": ["0"], "key": "k", "value": "v", "name": "n"}
    for verb in sorted(route.methods - {"HEAD"}):  # type: ignore[attr-defined]
        words = (
            {"params": {key: str(one) for key, one in fields.items()}}
            if verb == "GET"
            else {"content": json.dumps(fields)}
        )
        answer = shared.request(verb, path, **words)
        assert answer.status_code < 500, (verb, path, fields, answer.text)
