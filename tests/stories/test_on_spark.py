"""The tests that need PySpark, in an environment of their own: Trivet's would be three times as large with it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from benchmarks._environment import environment, plain_variables
from tests.servers import program

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

ROOT = Path(__file__).resolve().parents[2]
NEEDED = ["pandas>=2.2,<3", "pyspark[connect]>=4,<5", "pytest>=8.3", "pytest-timeout>=2.3", "hypothesis>=6.115"]


@pytest.mark.parametrize("file", ["test_spark.py", "test_spark_connect.py"])  # a process that had both does not end
def test_the_engine_of_spark_answers_the_bits_of_the_local_one(file):
    program("java")
    python = environment("spark", *trivet_and(NEEDED)) / "bin" / "python"
    variables = plain_variables() | {"PYTHONPATH": str(ROOT / "src")}
    command = [
        python,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--timeout",
        "900",
        f"tests/stories/spark/{file}",
    ]
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout[-6000:]}\n{done.stderr[-3000:]}"
    assert " passed" in done.stdout


def trivet_and(others):
    """What Trivet's own features need, as the project says, and ``others``; Trivet itself is taken from here."""
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return [*project["dependencies"], *project["optional-dependencies"]["features"], *others]
