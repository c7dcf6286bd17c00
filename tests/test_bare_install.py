"""``pip install trivet`` alone gives a small, working, quick thing: no numeric library, a command line that answers."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HEAVY = [
    "alembic", "deltalake", "duckdb", "jinja2", "lmdb", "numpy", "obstore", "pandas", "polars", "prometheus_client",
    "psycopg", "pyarrow", "scipy", "sklearn", "skops", "starlette", "uvicorn",
]  # fmt: skip
LATER = ["asyncio", "click", "rich", "sqlalchemy", "sqlite3"]
"""Installed with Trivet, and still not loaded by ``import trivet``."""
MOST_PACKAGES, MOST_MEGABYTES = 12, 40


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with Trivet, built as a wheel, and nothing that it does not ask for."""
    uv = shutil.which("uv", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    if uv is None:
        pytest.fail("this test needs uv: pip install uv")
    folder = tmp_path_factory.mktemp("bare") / "venv"
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, folder], check=True)
    install = [uv, "pip", "install", "--quiet", "-c", ROOT / "constraints.txt", ROOT]
    # uv brings its own certificates; behind a proxy with others, only the system's lead to an index.
    for certificates in ({}, {"UV_SYSTEM_CERTS": "1"}):
        variables = environment() | {"VIRTUAL_ENV": str(folder)} | certificates
        done = subprocess.run(install, check=False, env=variables, capture_output=True, text=True)
        if done.returncode == 0:
            return folder
    pytest.fail(done.stderr)


def environment() -> dict[str, str]:
    """Without this checkout on the path of Python."""
    return {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "TRIVET_"))}


def run(bare: Path, *command: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [bare / "bin" / command[0], *command[1:]],
        check=False, cwd=folder, env=environment(), capture_output=True, text=True,
    )  # fmt: skip


def test_the_import_loads_nothing_heavy(bare: Path, tmp_path: Path) -> None:
    script = "import sys, json, trivet; print(json.dumps([trivet.__version__, trivet.__file__, sorted(sys.modules)]))"
    done = run(bare, "python", "-c", script, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    version, file, modules = json.loads(done.stdout)
    assert version == "0.1.0"
    assert Path(file).is_relative_to(bare)
    assert [name for name in [*HEAVY, *LATER] if name in modules] == []


def test_nothing_heavy_is_installed(bare: Path, tmp_path: Path) -> None:
    script = (
        "import importlib.util, json, sys; print(json.dumps([n for n in sys.argv[1:] if importlib.util.find_spec(n)]))"
    )
    done = run(bare, "python", "-c", script, *HEAVY, folder=tmp_path)
    assert json.loads(done.stdout) == []


def test_it_is_small(bare: Path, capsys: pytest.CaptureFixture[str]) -> None:
    packages = next(bare.glob("lib/python*/site-packages"))
    count = len(list(packages.glob("*.dist-info")))
    megabytes = sum(path.stat().st_size for path in packages.rglob("*") if path.is_file()) / 1e6
    with capsys.disabled():
        print(f"\nbare install: {count} packages, {megabytes:.1f} MB")
    assert count <= MOST_PACKAGES
    assert megabytes <= MOST_MEGABYTES


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_the_command_line_answers(bare: Path, tmp_path: Path, option: str) -> None:
    done = run(bare, "trivet", option, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert ("0.1.0" if option == "--version" else "Usage") in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_every_module_that_needs_no_extra_can_be_imported(bare: Path, tmp_path: Path) -> None:
    """The ground floor, the contracts and the public API do not lean on what is not there."""
    script = (
        "import importlib, trivet\n"
        "for name in ('errors', 'types', 'digest', 'clock', 'config', 'plugins', 'ledger', 'ledger.records',\n"
        "             'ledger.contract', 'pipelines.context', 'features.online.contract'):\n"
        "    importlib.import_module('trivet.' + name)\n"
    )
    done = run(bare, "python", "-c", script, folder=tmp_path)
    assert done.returncode == 0, done.stderr


def test_the_wheel_says_that_it_is_typed(bare: Path) -> None:
    packages = next(bare.glob("lib/python*/site-packages"))
    assert (packages / "trivet" / "py.typed").is_file()
