from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

import trivet as tv
from trivet.interop.mlflow import routes


class Caller:
    """Asks the protocol in this process, in a client's words."""

    def __init__(self, project: tv.Project) -> None:
        self.project = project
        self.app = Starlette(routes=routes(project.context))

    def request(self, verb: str, path: str, **options: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
                return await client.request(verb, path, **options)

        return asyncio.run(ask())

    def ask(self, verb: str, path: str, /, **fields: Any) -> dict[str, Any]:
        answer = self.send(verb, path, **fields)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def send(self, verb: str, path: str, /, **fields: Any) -> httpx.Response:
        words = {"params": fields} if verb == "GET" else {"json": fields}
        return self.request(verb, f"/api/2.0/mlflow/{path}", **words)

    def refusal(self, verb: str, path: str, /, **fields: Any) -> tuple[int, str, str]:
        answer = self.send(verb, path, **fields)
        told = answer.json()
        return answer.status_code, told["error_code"], told["message"]

    def run(self, **fields: Any) -> str:
        return str(self.ask("POST", "runs/create", **{"experiment_id": "0", **fields})["run"]["info"]["run_id"])

    def put(self, path: str, content: bytes) -> httpx.Response:
        return self.request("PUT", f"/api/2.0/mlflow-artifacts/artifacts/{path}", content=content)

    def fetch(self, path: str) -> httpx.Response:
        return self.request("GET", f"/api/2.0/mlflow-artifacts/artifacts/{path}")

    def listed(self, path: str) -> list[dict[str, Any]]:
        answer = self.request("GET", "/api/2.0/mlflow-artifacts/artifacts", params={"path": path})
        return list(answer.json().get("files", []))


@pytest.fixture
def caller(tmp_path: Path) -> Iterator[Caller]:
    with tv.open(tmp_path) as project:
        yield Caller(project)
