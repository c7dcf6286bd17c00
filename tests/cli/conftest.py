from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.server.small_project import Small, make
from trivet.cli import main


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    return make(tmp_path_factory.mktemp("small"))


@pytest.fixture(autouse=True)
def at_home(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Commands are given in the folder of the small project, or in an empty one where it is not asked for."""
    small = request.getfixturevalue("small").root if "small" in request.fixturenames else tmp_path
    monkeypatch.chdir(small)
    sys.modules.pop("pipeline", None)  # every command is a process of its own, outside of tests


@pytest.fixture
def trivet() -> Callable[..., Result]:
    """A command as a user types it."""
    return lambda *words: CliRunner().invoke(main, [str(word) for word in words], prog_name="trivet")


@pytest.fixture
def answer(trivet: Callable[..., Result]) -> Callable[..., Any]:
    """What a command answers in JSON: nothing else may stand on standard output, and nothing but JSON numbers in it."""

    def ask(*words: object, code: int = 0) -> Any:
        done = trivet(*words, "--json")
        assert done.exit_code == code, done.output
        return json.loads(done.stdout, parse_constant=pytest.fail)

    return ask
