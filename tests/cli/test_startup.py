"""Commands start quickly because they load little: asserted on what is loaded, not on time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest

from trivet.cli import main

SOURCE = Path(__file__).parents[2] / "src"
HEAVY = {
    "numpy", "pandas", "polars", "pyarrow", "sklearn", "scipy", "skops", "deltalake", "starlette", "uvicorn", "jinja2",
    "lmdb",
}  # fmt: skip
QUICK = [["--help"], ["--version"], ["runs"], ["runs", "--help"], ["run", "--help"], ["models"]]
SCRIPT = """
import json, sys
from trivet.cli import main
try:
    main(sys.argv[1:], prog_name="trivet")
finally:
    print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})), file=sys.stderr)
"""


@pytest.mark.parametrize("words", QUICK, ids=" ".join)
def test_nothing_heavy_is_loaded(tmp_path, words):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *words], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(SOURCE)},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert sorted(HEAVY & set(json.loads(done.stderr.splitlines()[-1]))) == []


def test_help_names_every_command_and_each_has_its_own(trivet):
    from trivet.cli import COMMANDS

    shown = trivet("--help").stdout
    for name, text in COMMANDS.items():
        assert f"{name} " in shown
        assert trivet(name, "--help").exit_code == 0
        assert text in shown


@pytest.mark.parametrize("noun", ["features", "tables", "series", "quality"])
def test_each_verb_of_a_noun_has_help_and_json(trivet, noun):
    group = main.get_command(click.Context(main), noun)
    assert isinstance(group, click.Group)
    for verb, command in group.commands.items():
        told = trivet(noun, verb, "--help").stdout
        assert command.help, verb
        assert "--json" in told
        assert "--project" in told
