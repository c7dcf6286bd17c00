"""A project in a temporary folder, on the memory and the SQLite ledger, with code to be captured."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests import servers
from tests.tracking.project import open_context
from trivet.pipelines.context import Context


@pytest.fixture(scope="session")
def locks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the index said about the installed packages, asked once and not for every project."""
    return tmp_path_factory.mktemp("locks")


@pytest.fixture
def root(tmp_path: Path, locks: Path) -> Path:
    (tmp_path / ".trivet").mkdir()
    (tmp_path / ".trivet" / "locks").symlink_to(locks)
    return tmp_path


@pytest.fixture(params=["memory:", "sqlite:///.trivet/ledger.db"], ids=["memory", "sqlite"])
def context(request: pytest.FixtureRequest, root: Path) -> Iterator[Context]:
    made = open_context(root, request.param)
    yield made
    made.ledger.close()


@pytest.fixture
def memory(root: Path) -> Context:
    return open_context(root, "memory:")


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    with servers.postgresql() as url:
        yield url


@pytest.fixture
def postgresql_url(postgresql_server: str) -> str:
    """An empty database."""
    with psycopg.connect(postgresql_server, autocommit=True) as connection:
        connection.execute("DROP SCHEMA public CASCADE")
        connection.execute("CREATE SCHEMA public")
    return postgresql_server
