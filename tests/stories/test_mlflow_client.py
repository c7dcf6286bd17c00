"""The unmodified MLflow client, in an environment of its own, gets the same answers from Trivet as from MLflow's server."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from benchmarks._environment import environment, plain_variables
from tests.servers import free_port

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

ROOT = Path(__file__).resolve().parents[2]
NEEDED = ["mlflow==3.17.2", "scikit-learn>=1.6", "pandas>=2.2,<3"]


@contextmanager
def served(command: list[str], folder: Path, port: int, variables: dict[str, str]) -> Iterator[str]:
    log = (folder / "server.log").open("wb")
    process = subprocess.Popen(command, cwd=folder, env=variables, stdout=log, stderr=log, start_new_session=True)
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1).close()
                break
            except OSError:
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        import os
        import signal

        os.killpg(process.pid, signal.SIGTERM)  # MLflow's server is many processes
        process.wait(30)
        log.close()


def session(python: Path, uri: str, out: Path) -> dict[str, Any]:
    script = Path(__file__).parent / "mlflow" / "session.py"
    done = subprocess.run(
        [python, script, uri, out], env=plain_variables(), capture_output=True, text=True, check=False, timeout=900
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return dict(json.loads(out.read_text("utf-8")))


@pytest.fixture(scope="module")
def python() -> Path:
    return environment("mlflow-client", *NEEDED) / "bin" / "python"


def test_the_same_session_has_the_same_answers(python: Path, tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ours.mkdir()
    theirs.mkdir()
    (ours / "trivet.toml").touch()
    port = free_port()
    command = [sys.executable, "-m", "trivet", "server", "--port", str(port)]
    variables = plain_variables() | {"PYTHONPATH": str(ROOT / "src")}
    with served(command, ours, port, variables) as uri:
        answers = session(python, uri, ours / "told.json")
    port = free_port()
    command = [
        str(python.parent / "mlflow"), "server", "--port", str(port), "--workers", "1",
        "--backend-store-uri", f"sqlite:///{theirs}/m.db", "--artifacts-destination", str(theirs / "artifacts"),
    ]  # fmt: skip
    with served(command, theirs, port, plain_variables()) as uri:
        expected = session(python, uri, theirs / "told.json")
    assert answers == expected
    assert answers["load models:/delay@champion"] is True
