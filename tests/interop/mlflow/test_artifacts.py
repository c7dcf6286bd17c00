from __future__ import annotations

import asyncio
import hashlib
from typing import Any

import pytest

from tests.interop.mlflow.conftest import Caller
from trivet.interop.mlflow.identity import run_here


def root(caller: Caller, id_: str) -> str:
    return str(caller.ask("GET", "runs/get", run_id=id_)["run"]["info"]["artifact_uri"]).removeprefix(
        "mlflow-artifacts:/"
    )


def test_files_come_and_go(caller: Caller) -> None:
    id_ = caller.run()
    at = root(caller, id_)
    for path, content in {"a.txt": b"one", "deep/er/b c.json": b"{}", "deep/ü.bin": bytes(range(256))}.items():
        assert caller.put(f"{at}/{path}", content).json() == {}
    caller.put(f"{at}/a.txt", b"two")
    assert caller.listed(at) == [
        {"path": "a.txt", "is_dir": False, "file_size": 3},
        {"path": "deep", "is_dir": True},
    ]
    assert caller.listed(f"{at}/deep")[0] == {"path": "er", "is_dir": True}
    assert caller.listed(f"{at}/a.txt") == []
    answer = caller.fetch(f"{at}/deep/ü.bin")
    assert answer.content == bytes(range(256))
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-length"] == "256"
    assert answer.headers["content-disposition"] == "attachment; filename*=UTF-8''%C3%BC.bin"
    assert caller.fetch(f"{at}/deep/er/b c.json").headers["content-type"].startswith("application/json")
    found = caller.ask("GET", "artifacts/list", run_id=id_, path="deep/er")
    assert found == {
        "root_uri": f"mlflow-artifacts:/{at}",
        "files": [{"path": "deep/er/b c.json", "is_dir": False, "file_size": 2}],
    }
    caller.request("DELETE", f"/api/2.0/mlflow-artifacts/artifacts/{at}/deep")
    assert [one["path"] for one in caller.listed(at)] == ["a.txt"]
    assert caller.fetch(f"{at}/deep/ü.bin").json()["error_code"] == "RESOURCE_DOES_NOT_EXIST"


def test_they_are_outputs_in_lineage(caller: Caller) -> None:
    id_ = caller.run()
    caller.put(f"{root(caller, id_)}/roc.png", b"png")
    record = caller.project.get(f"run:{run_here(id_)}")
    (digest,) = record.outputs.values()
    assert (
        caller.project.context.blobs.read(caller.project.context.ledger.artifact(digest).files["roc.png"].digest)
        == b"png"
    )


@pytest.mark.parametrize(
    "path",
    ["../x", "a/../../x", "a//b", "./a", "a\\b", "%2e%2e/x", "a/%2e%2e/b", "a\x01b", "x" * 1001, "a/..", "..%5cx"],
)
def test_paths_that_climb_are_refused(caller: Caller, path: str) -> None:
    at = root(caller, caller.run())
    from urllib.parse import quote

    for shown in (path, quote(path, safe="/"), quote(quote(path, safe="/"), safe="/")):
        target = f"/api/2.0/mlflow-artifacts/artifacts/{at}/{shown}"
        status = _raw(caller, "PUT", target, b"x")
        assert status in {200, 400, 404}
    names = {file for file in caller.project.root.rglob("x*") if file.is_file() and ".trivet" not in file.parts}
    names |= {file for file in caller.project.root.parent.glob("x*") if file.is_file()}
    assert names == set()
    assert all(".." not in slot.split("/") for slot in caller.project.get(f"run:{run_here(at.split('/')[1])}").outputs)


def test_other_places_are_refused(caller: Caller) -> None:
    for path in ("etc/passwd", "0/nothing/artifacts/x", f"0/{'0' * 32}/artifacts/x", "content/abc/x", "0"):
        assert caller.put(path, b"x").status_code in {400, 404}, path
        assert caller.fetch(path).status_code in {400, 404}, path


def test_a_great_file_comes_and_goes_in_pieces(caller: Caller) -> None:
    id_ = caller.run()
    at = root(caller, id_)
    pieces, held = 40, hashlib.sha256()

    async def body() -> Any:
        for i in range(pieces):
            piece = bytes([i]) * 300_000
            held.update(piece)
            yield piece

    assert caller.put(f"{at}/great.bin", body()).status_code == 200  # type: ignore[arg-type]
    answer = caller.fetch(f"{at}/great.bin")
    assert len(answer.content) == pieces * 300_000
    assert hashlib.sha256(answer.content).hexdigest() == held.hexdigest()


def test_a_file_cut_off_is_not_there(caller: Caller) -> None:
    at = root(caller, caller.run())
    messages = [{"type": "http.request", "body": b"half", "more_body": True}, {"type": "http.disconnect"}]
    asyncio.run(_talk(caller, "PUT", f"/api/2.0/mlflow-artifacts/artifacts/{at}/cut.bin", messages))
    assert caller.listed(at) == []


def _raw(caller: Caller, verb: str, target: str, body: bytes) -> int:
    from urllib.parse import unquote

    messages = [{"type": "http.request", "body": body, "more_body": False}]
    return asyncio.run(_talk(caller, verb, unquote(target), messages))


async def _talk(caller: Caller, verb: str, path: str, messages: list[dict[str, Any]]) -> int:
    statuses: list[int] = []

    async def receive() -> dict[str, Any]:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        statuses.append(message.get("status", 0))

    scope = {
        "type": "http", "method": verb, "path": path, "raw_path": path.encode(), "query_string": b"", "headers": [],
        "server": ("127.0.0.1", 80), "scheme": "http", "root_path": "", "http_version": "1.1", "app": caller.app,
    }  # fmt: skip
    await caller.app(scope, receive, send)  # type: ignore[arg-type]
    return statuses[0]
