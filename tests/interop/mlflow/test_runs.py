from __future__ import annotations

from typing import Any

import pytest

from tests.interop.mlflow.conftest import Caller
from trivet.interop.mlflow.identity import run_here


def told(caller: Caller, id_: str) -> dict[str, Any]:
    return dict(caller.ask("GET", "runs/get", run_id=id_, run_uuid=id_)["run"])


def data(caller: Caller, id_: str, what: str) -> dict[str, Any]:
    return {one["key"]: one["value"] for one in told(caller, id_)["data"].get(what, [])}


def test_a_run_of_a_client_is_a_run_of_the_project(caller: Caller) -> None:
    id_ = caller.run(run_name="trees", start_time=1_000, user_id="ada", tags=[{"key": "k", "value": "v"}])
    caller.ask("POST", "runs/log-parameter", run_id=id_, key="depth", value="3")
    caller.ask("POST", "runs/log-metric", run_uuid=id_, key="auc", value=0.7, timestamp=2_000, step=1)
    child = caller.run(tags=[{"key": "mlflow.parentRunId", "value": id_}])
    caller.ask("POST", "runs/update", run_id=id_, status="FINISHED", end_time=5_000)
    record = caller.project.get(f"run:{run_here(id_)}")
    assert (record.name, record.status, record.user, record.parameters) == ("trees", "finished", "ada", {"depth": "3"})
    assert record.metrics == {"auc": 0.7}
    assert caller.project.get(f"run:{run_here(child)}").parent == record.id
    info = told(caller, id_)["info"]
    assert (info["status"], info["start_time"], info["end_time"], info["run_name"]) == ("FINISHED", 1000, 5000, "trees")


def test_a_run_of_the_project_is_a_run_for_clients(caller: Caller) -> None:
    with caller.project.run("native") as run:
        run.params(depth=3, grid=[1, 2])
        run.log(auc=0.5)
        run.file(b"hello", "notes/a.txt")
    found = caller.ask("POST", "runs/search", experiment_ids=["0"], filter="metrics.auc = 0.5")["runs"][0]
    assert {one["key"]: one["value"] for one in found["data"]["params"]} == {"depth": "3", "grid": "[1, 2]"}
    root = found["info"]["artifact_uri"].removeprefix("mlflow-artifacts:/")
    assert caller.fetch(f"{root}/notes/a.txt").content == b"hello"


def test_it_ends_and_takes_more_and_runs_again(caller: Caller) -> None:
    id_ = caller.run()
    caller.ask("POST", "runs/update", run_id=id_, status="FAILED", end_time=5)
    caller.ask("POST", "runs/log-metric", run_id=id_, key="late", value="NaN", timestamp=1)
    assert data(caller, id_, "metrics") == {"late": "NaN"}
    caller.ask("POST", "runs/update", run_id=id_, status="RUNNING")
    assert told(caller, id_)["info"]["status"] == "RUNNING"
    assert "end_time" not in told(caller, id_)["info"]
    found = caller.ask("POST", "runs/search", experiment_ids=["0"], filter="status = 'RUNNING'")
    assert [one["info"]["run_id"] for one in found["runs"]] == [id_]
    caller.ask("POST", "runs/update", run_id=id_, status="FINISHED", run_name="again")
    assert (told(caller, id_)["info"]["status"], data(caller, id_, "tags")) == ("FINISHED", {"mlflow.runName": "again"})


def test_parameters_never_change_and_a_batch_is_whole(caller: Caller) -> None:
    id_ = caller.run()
    caller.ask("POST", "runs/log-batch", run_id=id_, params=[{"key": "a", "value": "1"}])
    status, code, text = caller.refusal("POST", "runs/log-parameter", run_id=id_, key="a", value="2")
    assert (status, code) == (400, "INVALID_PARAMETER_VALUE")
    assert text == (
        "Changing param values is not allowed. Param with key='a' was already logged with value='1' for "
        f"run ID='{id_}'. Attempted logging new value '2'."
    )
    metrics = [{"key": "m", "value": 1.0, "timestamp": 1, "step": 0}]
    params = [{"key": "b", "value": "1"}, {"key": "a", "value": "3"}]
    refusal = caller.refusal("POST", "runs/log-batch", run_id=id_, params=params, metrics=metrics)
    assert refusal[2].startswith("Changing param values is not allowed. Params were already logged=")
    assert (data(caller, id_, "params"), data(caller, id_, "metrics")) == ({"a": "1"}, {})


def test_the_bin(caller: Caller) -> None:
    id_ = caller.run()
    for _ in range(2):
        caller.ask("POST", "runs/delete", run_id=id_)
    status, _, text = caller.refusal("POST", "runs/set-tag", run_id=id_, key="a", value="b")
    assert (status, text) == (400, f"The run {id_} must be in the 'active' state. Current state is deleted.")
    assert caller.ask("POST", "runs/search", experiment_ids=["0"]) == {}
    gone = caller.ask("POST", "runs/search", experiment_ids=["0"], run_view_type="DELETED_ONLY")["runs"]
    assert [one["info"]["run_id"] for one in gone] == [id_]
    caller.ask("POST", "runs/restore", run_id=id_)
    assert len(caller.ask("POST", "runs/search", experiment_ids=["0"])["runs"]) == 1


def test_pages_hold_every_run_once(caller: Caller) -> None:
    made = [caller.run(start_time=i // 2) for i in range(7)]
    seen, token = [], None
    for _ in range(10):
        more = {"page_token": token} if token else {}
        answer = caller.ask("POST", "runs/search", experiment_ids=["0"], max_results=3, **more)
        seen += [one["info"]["run_id"] for one in answer["runs"]]
        token = answer.get("next_page_token")
        if not token:
            break
    assert sorted(seen) == sorted(made)


@pytest.mark.parametrize(
    ("path", "fields", "code", "text"),
    [
        ("runs/log-metric", {"key": "a", "timestamp": 1}, "INVALID_PARAMETER_VALUE", "Missing value for required"),
        ("runs/log-metric", {"key": "a", "value": "x", "timestamp": 1}, "INVALID_PARAMETER_VALUE", 'Invalid value "x" for'),
        ("runs/log-metric", {"key": "a%", "value": 1, "timestamp": 1}, "INVALID_PARAMETER_VALUE", "Invalid value"),
        ("runs/log-metric", {"key": "a", "value": 1, "timestamp": -1}, "INVALID_PARAMETER_VALUE", "Invalid value -1"),
        ("runs/log-metric", {"key": "a", "value": 1, "timestamp": 1 << 62}, "INVALID_PARAMETER_VALUE", "Invalid value"),
        ("runs/log-metric", {"key": "../a", "value": 1, "timestamp": 1}, "INVALID_PARAMETER_VALUE", "Invalid value"),
        ("runs/set-tag", {"key": "x" * 251, "value": ""}, "INVALID_PARAMETER_VALUE", "'key' exceeds the maximum length"),
        ("runs/set-tag", {"key": "trivet.mlflow.status", "value": "x"}, "INVALID_PARAMETER_VALUE", "Invalid value"),
        ("runs/set-tag", {"value": "x"}, "INVALID_PARAMETER_VALUE", "Missing value for required parameter 'key'"),
        ("runs/delete-tag", {"key": "nothing"}, "RESOURCE_DOES_NOT_EXIST", "No tag with name: nothing in run with id"),
        ("runs/update", {"status": "DONE"}, "INVALID_PARAMETER_VALUE", "Invalid value"),
        ("runs/log-model", {"model_json": "{}"}, "INVALID_PARAMETER_VALUE", "Model json is missing mandatory fields"),
        ("runs/outputs", {"models": [{"model_id": "m-0"}]}, "RESOURCE_DOES_NOT_EXIST", "Logged model with ID 'm-0' not found."),
        ("runs/log-inputs", {"datasets": [{}]}, "INVALID_PARAMETER_VALUE", "Missing value"),
    ],
)  # fmt: skip
def test_refusals(caller: Caller, path: str, fields: dict[str, Any], code: str, text: str) -> None:
    _, said, message = caller.refusal("POST", path, run_id=caller.run(), **fields)
    assert said == code
    assert message.startswith(text)


def test_ids_that_are_none(caller: Caller) -> None:
    assert caller.refusal("GET", "runs/get", run_id="0" * 32) == (
        404, "RESOURCE_DOES_NOT_EXIST", f"Run with id={'0' * 32} not found"
    )  # fmt: skip
    assert caller.refusal("GET", "runs/get", run_id="a/b")[:2] == (400, "INVALID_PARAMETER_VALUE")
    assert caller.refusal("POST", "runs/set-tag", run_id=31, key="a", value="b")[2].startswith(
        "Invalid value 31 for parameter 'run_id' supplied"
    )


def test_what_is_read_is_an_input_and_a_question(caller: Caller) -> None:
    id_ = caller.run()
    dataset = {"name": "d", "digest": "1", "source_type": "http", "source": "{}", "schema": "s"}
    tags = [{"key": "mlflow.data.context", "value": "train"}]
    for _ in range(2):
        caller.ask("POST", "runs/log-inputs", run_id=id_, datasets=[{"dataset": dataset, "tags": tags}])
    found = told(caller, id_)["inputs"]["dataset_inputs"]
    assert found == [{"dataset": dataset, "tags": tags}]
    caller.run()
    for text in ("datasets.name = 'd'", "dataset.context LIKE 'tr%'", "datasets.digest IN ('1', '2')"):
        assert len(caller.ask("POST", "runs/search", experiment_ids=["0"], filter=text)["runs"]) == 1
    assert caller.ask("POST", "runs/search", experiment_ids=["0"], filter="datasets.name != 'd'") == {}
    assert list(caller.project.get(f"run:{run_here(id_)}").inputs) == ["d"]
