from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from tests.interop.mlflow.conftest import Caller


def names(caller: Caller, **fields: object) -> list[str]:
    return [one["name"] for one in caller.ask("POST", "experiments/search", **fields).get("experiments", [])]


def test_made_found_tagged_and_renamed(caller: Caller) -> None:
    id_ = caller.ask("POST", "experiments/create", name="a/b: 'ö' 🛫", tags=[{"key": "k", "value": "v"}])[
        "experiment_id"
    ]
    found = caller.ask("GET", "experiments/get-by-name", experiment_name="a/b: 'ö' 🛫")["experiment"]
    assert found["experiment_id"] == id_
    assert id_.isdecimal()
    assert found["artifact_location"] == f"mlflow-artifacts:/{id_}"
    caller.ask("POST", "experiments/set-experiment-tag", experiment_id=id_, key="x", value="y")
    caller.ask("POST", "experiments/delete-experiment-tag", experiment_id=id_, key="k")
    caller.ask("POST", "experiments/update", experiment_id=id_, new_name="c")
    found = caller.ask("GET", "experiments/get", experiment_id=id_)["experiment"]
    assert (found["name"], found["tags"]) == ("c", [{"key": "x", "value": "y"}])
    assert caller.refusal("GET", "experiments/get-by-name", experiment_name="a/b: 'ö' 🛫")[:2] == (
        404,
        "RESOURCE_DOES_NOT_EXIST",
    )


def test_the_default_experiment_is_there_and_stays(caller: Caller) -> None:
    found = caller.ask("GET", "experiments/get", experiment_id="0")["experiment"]
    assert (found["name"], found["lifecycle_stage"]) == ("Default", "active")
    assert caller.refusal("POST", "experiments/delete", experiment_id="0")[:2] == (400, "INVALID_PARAMETER_VALUE")
    assert caller.refusal("POST", "experiments/create", name="Default")[1] == "RESOURCE_ALREADY_EXISTS"


def test_deletion_frees_the_name_and_takes_the_runs_along(caller: Caller) -> None:
    id_ = caller.ask("POST", "experiments/create", name="a")["experiment_id"]
    run = caller.run(experiment_id=id_)
    before = caller.run(experiment_id=id_)
    caller.ask("POST", "runs/delete", run_id=before)
    caller.ask("POST", "experiments/delete", experiment_id=id_)
    assert caller.ask("GET", "runs/get", run_id=run)["run"]["info"]["lifecycle_stage"] == "deleted"
    assert names(caller, view_type="DELETED_ONLY") == ["a"]
    other = caller.ask("POST", "experiments/create", name="a")["experiment_id"]
    assert caller.refusal("POST", "experiments/restore", experiment_id=id_)[1] == "RESOURCE_ALREADY_EXISTS"
    caller.ask("POST", "experiments/update", experiment_id=other, new_name="b")
    caller.ask("POST", "experiments/restore", experiment_id=id_)
    assert caller.ask("GET", "runs/get", run_id=run)["run"]["info"]["lifecycle_stage"] == "active"
    assert caller.ask("GET", "runs/get", run_id=before)["run"]["info"]["lifecycle_stage"] == "deleted"


def test_one_name_asked_for_by_eight_is_one_experiment(caller: Caller) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: caller.send("POST", "experiments/create", name="race"), range(8)))
    assert sorted(one.status_code for one in answers) == [200] + [400] * 7
    assert names(caller, filter="name = 'race'") == ["race"]


def test_search(caller: Caller) -> None:
    for name in ("one", "two", "three"):
        caller.ask("POST", "experiments/create", name=name, tags=[{"key": "n", "value": name}])
    assert names(caller, filter="name LIKE 't%'", order_by=["name ASC"]) == ["three", "two"]
    assert names(caller, filter="tags.n = 'one'") == ["one"]
    assert names(caller, filter="tags.n IS NULL") == ["Default"]
    first = caller.ask("POST", "experiments/search", max_results=3)
    rest = caller.ask("POST", "experiments/search", max_results=3, page_token=first["next_page_token"])
    assert (len(first["experiments"]), len(rest["experiments"])) == (3, 1)
    assert caller.refusal("POST", "experiments/search", filter="tags.n > 'a'")[0] == 400
    assert caller.refusal("POST", "experiments/search", page_token="?")[0] == 400


def test_refusals(caller: Caller) -> None:
    for id_ in ("999", "9" * 80, str(1 << 130)):
        assert caller.refusal("GET", "experiments/get", experiment_id=id_)[:2] == (404, "RESOURCE_DOES_NOT_EXIST")
    assert caller.refusal("GET", "experiments/get", experiment_id="../x")[:2] == (400, "INVALID_PARAMETER_VALUE")
    status, code, text = caller.refusal("POST", "experiments/create")
    assert (status, code) == (400, "INVALID_PARAMETER_VALUE")
    assert text.startswith("Missing value for required parameter 'name'")
    assert caller.refusal("POST", "experiments/create", name="x" * 501)[0] == 400
