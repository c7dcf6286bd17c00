from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import trivet as tv
from tests.server.small_project import Small, make
from trivet.server.app import create_app


class Client:
    """Asks an application in this process; what it raises is raised here."""

    def __init__(self, app: Any, base: str) -> None:
        self.app, self.base = app, base

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.request("GET", path, **options)

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app)
            async with httpx.AsyncClient(transport=transport, base_url=self.base) as client:
                return await client.request(method, path, **options)

        return asyncio.run(ask())


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    return make(tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="session")
def project(small: Small) -> Iterator[tv.Project]:
    with tv.open(small.root) as opened:
        yield opened


@pytest.fixture(scope="session")
def client(project: tv.Project) -> Client:
    return Client(create_app(project), "http://127.0.0.1:8416")


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Client]:
    with tv.open(tmp_path) as opened:
        yield Client(create_app(opened), "http://localhost")
