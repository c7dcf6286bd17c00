import json
import subprocess
import sys

from click.testing import CliRunner

from tests.tracking.project import process_environment
from trivet.cli import main

KILLED = """
import os, signal, sys, time
import trivet as tv
from trivet.tracking import journal
journal.EVERY = 60
run = tv.open(sys.argv[1]).run("victim")
run._journal._every = 60
run.log(loss=0.5)
assert run._journal._spool.sync()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_is_handed_in_once_and_told(tmp_path):
    (tmp_path / "trivet.toml").touch()
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], env=process_environment(), check=False)
    assert len(list((tmp_path / ".trivet" / "spool").iterdir())) == 1
    first = CliRunner().invoke(main, ["sync", "--json", "--project", str(tmp_path)])
    assert [one["points"] for one in json.loads(first.output)] == [1]
    second = CliRunner().invoke(main, ["sync", "--project", str(tmp_path)])
    assert second.output == "Nothing was left behind.\n"
    assert second.exit_code == 0
