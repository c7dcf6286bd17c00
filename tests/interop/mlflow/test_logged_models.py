from __future__ import annotations

from typing import Any

from tests.interop.mlflow.conftest import Caller
from trivet.interop.mlflow.identity import run_here


def make(caller: Caller, run: str = "", **fields: Any) -> dict[str, Any]:
    given = {"experiment_id": "0", "name": "m", **({"source_run_id": run} if run else {}), **fields}
    return dict(caller.ask("POST", "logged-models", **given)["model"]["info"])


def test_a_model_is_made_filled_and_finished(caller: Caller) -> None:
    run = caller.run()
    info = make(
        caller, run, params=[{"key": "p", "value": "1"}], tags=[{"key": "t", "value": "x"}], model_type="forest"
    )
    assert (info["status"], info["source_run_id"], info["model_type"]) == ("LOGGED_MODEL_PENDING", run, "forest")
    caller.ask("POST", "runs/outputs", run_id=run, models=[{"model_id": info["model_id"], "step": 2}])
    at = info["artifact_uri"].removeprefix("mlflow-artifacts:/")
    caller.put(f"{at}/MLmodel", b"flavors:")
    caller.put(f"{at}/data/x.skops", b"x")
    path = f"logged-models/{info['model_id']}"
    done = caller.ask("PATCH", path, status="LOGGED_MODEL_READY")["model"]
    assert done["info"]["status"] == "LOGGED_MODEL_READY"
    assert done["data"]["params"] == [{"key": "p", "value": "1"}]
    told = caller.ask("GET", "runs/get", run_id=run)["run"]
    assert told["outputs"] == {"model_outputs": [{"model_id": info["model_id"], "step": 2}]}
    (digest,) = caller.project.get(f"run:{run_here(run)}").outputs.values()
    artifact = caller.project.context.ledger.artifact(digest)
    assert (artifact.kind, sorted(artifact.files)) == ("mlflow_model", ["MLmodel", "data/x.skops"])
    assert caller.ask("GET", f"{path}/artifacts/directories", artifact_directory_path="data")["files"] == [
        {"path": "data/x.skops", "is_dir": False, "file_size": 1}
    ]
    assert caller.listed(at.removesuffix("/artifacts") + "/artifacts/data") == [
        {"path": "x.skops", "is_dir": False, "file_size": 1}
    ]


def test_tags_params_and_deletion(caller: Caller) -> None:
    path = f"logged-models/{make(caller)['model_id']}"
    caller.ask("PATCH", f"{path}/tags", tags=[{"key": "a/b", "value": "1"}, {"key": "c", "value": "2"}])
    caller.ask("DELETE", f"{path}/tags/a/b")
    caller.ask("POST", f"{path}/params", params=[{"key": "p", "value": "1"}])
    found = caller.ask("GET", path)["model"]
    assert found["info"]["tags"] == [{"key": "c", "value": "2"}]
    assert found["data"]["params"] == [{"key": "p", "value": "1"}]
    assert caller.refusal("DELETE", f"{path}/tags/nothing")[1] == "RESOURCE_DOES_NOT_EXIST"
    caller.ask("DELETE", path)
    assert caller.refusal("GET", path)[1:] == (
        "RESOURCE_DOES_NOT_EXIST",
        f"Logged model with ID '{path.partition('/')[2]}' not found.",
    )


def test_search(caller: Caller) -> None:
    run = caller.run()
    first = make(caller, run, tags=[{"key": "t", "value": "1"}])["model_id"]
    second = make(caller, name="other", params=[{"key": "p", "value": "x"}])["model_id"]
    point = {"key": "rmse", "value": 0.5, "timestamp": 1, "step": 1, "dataset_name": "d", "dataset_digest": "9"}
    caller.ask("POST", "runs/log-metric", run_id=run, model_id=first, **point)

    def found(text: str, **more: Any) -> list[str]:
        answer = caller.ask("POST", "logged-models/search", experiment_ids=["0"], filter=text, **more)
        return [one["info"]["model_id"] for one in answer.get("models", [])]

    assert found("") == [second, first]
    assert found("name = 'm'") == found("tags.t = '1'") == found("metrics.rmse < 1") == [first]
    assert found(f"source_run_id = '{run}' AND name LIKE 'm%'") == found(f"model_id = '{first}'") == [first]
    assert found("params.p = 'x'") == found("name != 'm'") == [second]
    assert found("status = 'LOGGED_MODEL_READY'") == []
    assert found("", order_by=[{"field_name": "metrics.rmse", "ascending": True}]) == [first, second]
    assert found("", datasets=[{"dataset_name": "d"}]) == [first]
    assert found("", datasets=[{"dataset_name": "d", "dataset_digest": "1"}]) == []
    metrics = caller.ask("GET", f"logged-models/{first}")["model"]["data"]["metrics"]
    assert metrics == [{**point, "run_id": run, "model_id": first}]


def test_refusals(caller: Caller) -> None:
    assert caller.refusal("POST", "logged-models", experiment_id="0", name="a/b")[1] == "INVALID_PARAMETER_VALUE"
    assert caller.refusal("POST", "logged-models", experiment_id="77")[1] == "RESOURCE_DOES_NOT_EXIST"
    path = f"logged-models/{make(caller)['model_id']}"
    assert caller.refusal("PATCH", path, status="DONE")[1] == "INVALID_PARAMETER_VALUE"
    assert caller.refusal("POST", "logged-models/search", filter="nothing = '1'")[1] == "INVALID_PARAMETER_VALUE"
