from __future__ import annotations

from typing import Any

import pytest

from tests.interop.mlflow.conftest import Caller


def version(caller: Caller, name: str = "delay", **fields: Any) -> dict[str, Any]:
    run = caller.run()
    at = f"0/{run}/artifacts/model"
    caller.put(f"{at}/MLmodel", run.encode())
    given = {"name": name, "source": f"mlflow-artifacts:/{at}", "run_id": run, **fields}
    return dict(caller.ask("POST", "model-versions/create", **given)["model_version"])


def test_versions_aliases_and_what_the_project_sees(caller: Caller) -> None:
    caller.ask("POST", "registered-models/create", name="delay", description="d", tags=[{"key": "a", "value": "b"}])
    first, second = version(caller), version(caller, description="better")
    assert (first["version"], second["version"], second["description"]) == ("1", "2", "better")
    caller.ask("POST", "registered-models/alias", name="delay", alias="champion", version="2")
    caller.ask("POST", "registered-models/alias", name="delay", alias="2026-best", version="1")
    assert [(one.version, one.aliases) for one in caller.project.registry.versions("delay")][1] == (2, ("champion",))
    told = caller.ask("GET", "registered-models/get", name="delay")["registered_model"]
    assert told["aliases"] == [{"alias": "2026-best", "version": "1"}, {"alias": "champion", "version": "2"}]
    assert [one["version"] for one in told["latest_versions"]] == ["2"]
    found = caller.ask("GET", "registered-models/alias", name="delay", alias="champion")["model_version"]
    assert (found["version"], found["aliases"]) == ("2", ["champion"])
    uri = caller.ask("GET", "model-versions/get-download-uri", name="delay", version="1")["artifact_uri"]
    assert uri == first["source"]
    caller.ask("DELETE", "registered-models/alias", name="delay", alias="champion")
    assert caller.refusal("GET", "registered-models/alias", name="delay", alias="champion") == (
        400, "INVALID_PARAMETER_VALUE", "Registered model alias champion not found."
    )  # fmt: skip


def test_one_source_registered_twice_is_two_versions(caller: Caller) -> None:
    caller.ask("POST", "registered-models/create", name="delay")
    first = version(caller)
    again = caller.ask("POST", "model-versions/create", name="delay", source=first["source"])["model_version"]
    assert again["version"] == "2"
    one, two = (caller.project.model(f"delay@{number}").artifact for number in (1, 2))
    assert one.files == two.files


def test_tags_stages_and_search(caller: Caller) -> None:
    for name in ("delay", "weather"):
        caller.ask("POST", "registered-models/create", name=name)
    caller.ask("POST", "registered-models/set-tag", name="delay", key="team", value="a")
    one, two = version(caller), version(caller)
    caller.ask("POST", "model-versions/set-tag", name="delay", version="1", key="k", value="v")
    caller.ask("POST", "model-versions/set-tag", name="delay", version="1", key="gone", value="v")
    caller.ask("DELETE", "model-versions/delete-tag", name="delay", version="1", key="gone")
    for number in ("1", "2"):
        caller.ask("POST", "model-versions/transition-stage", name="delay", version=number, stage="production",
                   archive_existing_versions=True)  # fmt: skip
    latest = caller.ask("POST", "registered-models/get-latest-versions", name="delay")["model_versions"]
    assert [(each["version"], each["current_stage"]) for each in latest] == [("2", "Production"), ("1", "Archived")]

    def models(text: str) -> list[str]:
        found = caller.ask("GET", "registered-models/search", filter=text).get("registered_models", [])
        return [each["name"] for each in found]

    def versions(text: str) -> list[str]:
        found = caller.ask("GET", "model-versions/search", filter=text, order_by=["version_number ASC"])
        return [each["version"] for each in found.get("model_versions", [])]

    assert models("") == models("tag.`mlflow.prompt.is_prompt` != 'true'") == ["delay", "weather"]
    assert models("tags.team != 'b'") == models("name IN ('delay', 'x')") == models("name ILIKE 'D%'") == ["delay"]
    assert versions("name = 'delay'") == ["1", "2"]
    assert (
        versions("tags.k = 'v'") == versions(f"run_id = '{one['run_id']}'") == versions("version_number < 2") == ["1"]
    )
    assert versions(f"source_path = '{two['source']}'") == ["2"]
    for text in ("alias = 'x'", "name > 'a'", "version_number LIKE '1'"):
        assert caller.refusal("GET", "model-versions/search", filter=text)[1] == "INVALID_PARAMETER_VALUE"


def test_rename_and_delete(caller: Caller) -> None:
    caller.ask("POST", "registered-models/create", name="delay", description="d")
    first, _ = version(caller), version(caller)
    caller.ask("POST", "registered-models/alias", name="delay", alias="champion", version="2")
    caller.ask("POST", "registered-models/rename", name="delay", new_name="late 🛫 flights")
    assert caller.refusal("GET", "registered-models/get", name="delay")[:2] == (404, "RESOURCE_DOES_NOT_EXIST")
    told = caller.ask("GET", "registered-models/get", name="late 🛫 flights")["registered_model"]
    assert (told["aliases"], told["description"]) == ([{"alias": "champion", "version": "2"}], "d")
    caller.ask("DELETE", "model-versions/delete", name="late 🛫 flights", version="2")
    found = caller.ask("GET", "registered-models/get", name="late 🛫 flights")["registered_model"]
    assert ("aliases" in found, [one["version"] for one in found["latest_versions"]]) == (False, ["1"])
    caller.ask("DELETE", "registered-models/delete", name="late 🛫 flights")
    assert caller.ask("GET", "registered-models/search") == {}
    caller.ask("POST", "registered-models/create", name="delay")
    again = caller.ask("POST", "model-versions/create", name="delay", source=first["source"])["model_version"]
    assert again["version"] == "3", "a number is given once"


def test_a_model_of_the_project_is_there_for_clients(caller: Caller) -> None:
    from trivet.ledger import Artifact

    context = caller.project.context
    artifact = Artifact.of("model", {"form": "x"}, {"model.bin": context.blobs.put(b"m")}, created=context.clock())
    context.ledger.write(artifact)
    caller.project.registry.register("native", artifact)
    caller.project.promote("native", 1)
    found = caller.ask("GET", "registered-models/alias", name="native", alias="champion")["model_version"]
    assert found["version"] == "1"
    uri = caller.ask("GET", "model-versions/get-download-uri", name="native", version="1")["artifact_uri"]
    at = uri.removeprefix("mlflow-artifacts:/")
    assert caller.listed(at) == [{"path": "model.bin", "is_dir": False, "file_size": 1}]
    assert caller.fetch(f"{at}/model.bin").content == b"m"


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("/etc/passwd", "INVALID_PARAMETER_VALUE"),
        ("file:///etc/passwd", "INVALID_PARAMETER_VALUE"),
        ("../x", "INVALID_PARAMETER_VALUE"),
        ("mlflow-artifacts:/0/../../x", "INVALID_PARAMETER_VALUE"),
        ("mlflow-artifacts:/0/%2e%2e/x", "INVALID_PARAMETER_VALUE"),
        ("models:/m-" + "0" * 32, "RESOURCE_DOES_NOT_EXIST"),
        ("models:/nothing/1", "RESOURCE_DOES_NOT_EXIST"),
    ],
)
def test_sources_of_this_machine_are_refused(caller: Caller, source: str, code: str) -> None:
    caller.ask("POST", "registered-models/create", name="delay")
    assert caller.refusal("POST", "model-versions/create", name="delay", source=source)[1] == code


def test_refusals(caller: Caller) -> None:
    caller.ask("POST", "registered-models/create", name="delay")
    version(caller)
    assert caller.refusal("POST", "registered-models/create", name="delay") == (
        400, "RESOURCE_ALREADY_EXISTS", "Registered Model (name=delay) already exists."
    )  # fmt: skip
    for name in ("a/b", "a:b", " ", ".."):
        assert caller.refusal("POST", "registered-models/create", name=name)[:2] == (400, "INVALID_PARAMETER_VALUE")
    for alias in ("latest", "v1", "a b"):
        assert caller.refusal("POST", "registered-models/alias", name="delay", alias=alias, version="1")[0] == 400
    assert caller.refusal("GET", "model-versions/get", name="delay", version="7") == (
        404, "RESOURCE_DOES_NOT_EXIST", "Model Version (name=delay, version=7) not found"
    )  # fmt: skip
    assert caller.refusal("GET", "model-versions/get", name="delay", version="x")[0] == 400
    assert caller.refusal("GET", "registered-models/get", name="none")[2] == "Registered Model with name=none not found"
