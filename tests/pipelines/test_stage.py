"""Programs that were run by hand, run again: what a script sees there, and what may be said of what came out."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from trivet.errors import Invalid, StepFailed
from trivet.pipelines import stage
from trivet.project import open as open_project

SOURCE = Path(__file__).parents[2] / "src"
TRAIN = """
import os, random, sys, time
from pathlib import Path
import trivet as tv
from rates import RATE

what, project = sys.argv[1], tv.open()
if what == "exit":
    sys.exit(0 if Path("really").exists() else 3)
for number in (1, 2):
    with project.run("fit", tags={"n": str(number)}) as run:
        run.params(number=number)
        for step in range(3):
            run.log(loss=RATE * number / (step + 1), step=step)
        if what == "given":
            run.input(Path("data/given.txt"))
            run.output("text", Path("data/given.txt").read_text())
        if what == "loaded":
            run.output("twice", [2 * x for x in project.load("json:NUMBERS")])
        if what == "random":
            run.log(draw=random.random())
        if what == "clock":
            run.output("clock", Path("beside.txt").read_text() if Path("beside.txt").exists() else "none")
        if what == "folder":
            run.output("here", os.path.relpath(".", project.root))
        run.output("sum", {"sum": RATE * number, "mode": os.environ.get("APP_MODE", "unset")})
        with project.run("fold") as child:
            child.log(auc=RATE / 10, worst=float("inf"))
"""


@pytest.fixture
def root(tmp_path):
    (tmp_path / ".trivet").mkdir()
    (tmp_path / "data").mkdir()
    (tmp_path / ".gitignore").write_text("data/\nbeside.txt\n")
    (tmp_path / "rates.py").write_text("RATE = 3\n")
    (tmp_path / "train.py").write_text(TRAIN)
    (tmp_path / "trivet.toml").write_text('[pipelines]\nvariables = "APP_*"\n')
    return tmp_path


@pytest.fixture
def project(root):
    with open_project(root) as opened:
        yield opened


def start(root, *arguments, script="train.py", folder=".", **variables):
    environment = {**os.environ, "PYTHONPATH": f"{SOURCE}{os.pathsep}{root}", "APP_MODE": "fast", **variables}
    command = [sys.executable, *([script] if script.endswith(".py") else ["-m", script]), *arguments]
    done = subprocess.run(command, cwd=root / folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def runs(project, name="fit"):
    return list(reversed(project.context.ledger.runs(_query(name))))


def _query(name):
    from trivet.ledger import RunQuery

    return RunQuery(kind="experiment", name=name)


def again(project, run, **options):
    return project.reproduce(f"run:{run.id}", environment="current", **options)


def test_the_second_run_of_a_script_in_its_own_code_variables_and_inputs(project, root):
    (root / "data" / "given.txt").write_text("seven")
    start(root, "given", APP_TOKEN="x")
    (root / "rates.py").write_text("RATE = 99\n")
    (root / "data" / "given.txt").unlink()
    run = runs(project)[1]
    assert run.tags["trivet.place.folder"] == "data/given.txt"
    assert run.recipe.variables["APP_MODE"] == "fast"
    assert "APP_TOKEN" not in run.recipe.variables
    before = len(project.context.ledger.runs())
    result = again(project, run)
    assert {slot: one.level for slot, one in result.outputs.items()} == dict.fromkeys(
        ("text", "sum", "metrics", "fold/metrics"), "bytes"
    )
    assert (result.level, result.causes) == ("bytes", ())
    attempt = project.context.ledger.runs()[0]
    assert (attempt.kind, attempt.inputs, attempt.tags["level"]) == ("reproduce", run.outputs, "bytes")
    assert len(project.context.ledger.runs()) == before + 1
    by_output = project.reproduce(project.artifact(run.outputs["sum"]).id, environment="current")
    assert (by_output.run.id, by_output.level) == (run.id, "bytes")


def test_what_is_read_of_the_project_is_an_input_and_is_there_again(project, root):
    saved = project.save([1, 2, 3])
    (root / "train.py").write_text(TRAIN.replace("NUMBERS", saved.digest[:12]))
    start(root, "loaded")
    run = runs(project)[0]
    assert list(run.inputs.values()) == [saved.digest]
    assert again(project, run).level == "bytes"


def test_code_that_is_not_deterministic_is_told_from_what_is_not_on_record(project, root):
    start(root, "random")
    result = again(project, runs(project)[0])
    assert result.level == "different"
    assert result.outputs["sum"].level == "bytes"
    assert result.first_difference.startswith("metrics: draw")
    assert "the code is not deterministic: two runs in the same place differ in metrics" in result.causes[-1]
    (root / "beside.txt").write_text("not given")
    start(root, "clock")
    result = again(project, runs(project)[2])
    assert result.first_difference.startswith("clock: ")
    assert "read something that is not on record" in result.causes[-1]
    assert again(project, runs(project)[2], diagnose=False).causes == ()


def test_a_module_in_another_folder_and_its_arguments(project, root):
    (root / "jobs").mkdir()
    (root / "jobs" / "__init__.py").touch()
    (root / "jobs" / "fit.py").write_text(TRAIN)
    start(root, "folder", script="jobs.fit", folder="data")
    run = runs(project)[0]
    assert run.recipe.entry == "module:jobs.fit"
    assert (run.tags["trivet.arguments"], run.tags["trivet.folder"]) == ("folder", "data")
    assert again(project, run).level == "bytes"


def test_a_script_outside_of_the_project_comes_from_its_copy(project, root, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside") / "loose.py"
    outside.write_text(TRAIN)
    start(root, "plain", script=str(outside))
    outside.unlink()
    assert again(project, runs(project)[0]).level == "bytes"


def test_a_large_file_comes_back_while_it_is_the_same(project, root):
    (root / "train.py").write_text(
        "import trivet as tv\nfrom pathlib import Path\n"
        "with tv.open().run('fit') as run:\n    run.output('size', Path('large.txt').stat().st_size)\n"
    )
    (root / "large.txt").write_bytes(b"0" * 5_000_001)
    start(root)
    run = runs(project)[0]
    assert again(project, run).level == "bytes"
    (root / "large.txt").write_bytes(b"1" * 5_000_001)
    with pytest.raises(StepFailed, match=r"could not be run again: FileNotFoundError.*Not there any more: large.txt"):
        again(project, run)


def test_what_a_program_may_not_do(project, root):
    start(root, "plain", "--token", "abc")
    run = runs(project)[0]
    assert run.tags["trivet.arguments"] == "plain --token '***'"
    with pytest.raises(Invalid, match="was given a secret as an argument"):
        again(project, run)


def test_an_interactive_session_left_nothing_to_start(project):
    with project.run("typed") as opened:
        opened.log(auc=0.5)
    with pytest.raises(Invalid, match="no script to start again"):
        again(project, opened.record)


def test_the_ledger_of_the_project_is_not_reached_by_its_folder_name(project, root):
    (root / "train.py").write_text(
        f"import trivet as tv\nwith tv.open({str(root)!r}).run('fit') as run:\n    run.log(auc=0.5)\n"
    )
    start(root)
    before = {run.id for run in project.context.ledger.runs()}
    assert again(project, runs(project)[0]).level == "bytes"
    assert {run.kind for run in project.context.ledger.runs() if run.id not in before} == {"reproduce"}


def test_notes_are_named_safely():
    assert stage.note_name("../x") == "2e2e2f78"
    with pytest.raises(Invalid, match="lies outside"):
        stage._relative("../x")
