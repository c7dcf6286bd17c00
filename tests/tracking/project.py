"""How tests and their subprocesses open a project: a context without ``trivet.project``."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from trivet import plugins
from trivet.clock import system_clock
from trivet.config import load_settings
from trivet.pipelines.context import Context

HOST = "here"


def open_context(root: Path, ledger: str = "sqlite:///.trivet/ledger.db") -> Context:
    (root / ".trivet").mkdir(exist_ok=True)
    (root / "train.py").touch()
    return Context(
        root=root,
        settings=load_settings(root, {}),
        ledger=plugins.open_url("ledger", ledger, root),
        blobs=plugins.open_url("blobs", "file:.trivet/blobs", root),
        clock=system_clock,
        user="ada",
        host=HOST,
    )


def run_script(root: Path, text: str) -> subprocess.CompletedProcess[str]:
    """Run ``text`` as ``train.py`` of the project in ``root``, with this checkout on the path."""
    (root / "train.py").write_text(text, "utf-8")
    command = [sys.executable, "train.py", "--depth", "3 or 4"]
    return subprocess.run(
        command, cwd=root, env=process_environment(), capture_output=True, text=True, timeout=120, check=False
    )


def process_environment() -> dict[str, str]:
    """The environment of a process that imports this checkout."""
    here = Path(__file__).parents[2]
    return os.environ | {"PYTHONPATH": f"{here / 'src'}{os.pathsep}{here}"}


OPENED = """
import os, signal, sys, time
import os
import subprocess
import sys
from pathlib import Path
from tests.tracking.project import open_context
from trivet.tracking.runs import start
context = open_context(Path.cwd())
"""
