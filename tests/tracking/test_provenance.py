import subprocess
import sys
import types

import pytest

from tests.tracking.project import OPENED, open_context, run_script
from trivet.errors import Invalid
from trivet.pipelines import values
from trivet.pipelines.code import restore_code
from trivet.tracking import provenance
from trivet.tracking.runs import start


@pytest.fixture
def notebook(monkeypatch):
    """IPython as far as we know it: a shell whose namespace holds the cells."""
    shell = types.SimpleNamespace(user_ns={"In": ["", "import trivet as tv", "", "run = project.run('x')"]})
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    return shell


def main(monkeypatch, **attributes):
    module = types.ModuleType("__main__")
    for name, value in {"__spec__": None, **attributes}.items():
        setattr(module, name, value)
    monkeypatch.setitem(sys.modules, "__main__", module)


def test_a_script_is_named_from_the_project(monkeypatch, tmp_path):
    (tmp_path / "train.py").touch()
    main(monkeypatch, __file__=str(tmp_path / "train.py"))
    assert provenance.entry(tmp_path) == "script:train.py"
    assert provenance.loose_source(tmp_path) is None


def test_a_script_elsewhere_is_kept_beside_the_code(monkeypatch, tmp_path):
    project = tmp_path / "project"
    project.mkdir()
    (tmp_path / "train.py").write_text("x = 1")
    main(monkeypatch, __file__=str(tmp_path / "train.py"))
    assert provenance.entry(project) == f"script:{tmp_path}/train.py"
    assert provenance.loose_source(project) == ("train.py", b"x = 1")


def test_modules_programs_and_text_from_a_pipe(monkeypatch, tmp_path):
    main(monkeypatch, __spec__=types.SimpleNamespace(name="package.train.__main__"), __file__="/x/__main__.py")
    assert provenance.entry(tmp_path) == "module:package.train"
    main(monkeypatch, __file__=sys.prefix + "/bin/activate")
    assert provenance.entry(tmp_path) == "program:activate"
    assert provenance.loose_source(tmp_path) is None
    main(monkeypatch, __file__="<stdin>")
    assert provenance.entry(tmp_path) == "interactive:"
    assert provenance.loose_source(tmp_path) is None


def test_the_cells_of_a_notebook_are_kept(memory, notebook):
    with start(memory, "x") as run:
        pass
    record = memory.ledger.run(run.id)
    assert record.recipe.entry == "notebook:"
    path = values.load(memory.ledger.artifact(record.inputs["script"]), memory.blobs)
    assert path.name == "cells.py"
    assert path.read_text() == "# In [1]\nimport trivet as tv\n\n# In [3]\nrun = project.run('x')\n"
    assert provenance.arguments() == ""


def test_a_script_can_be_found_again_with_its_arguments(root, tmp_path):
    text = OPENED + "with start(context, 'x') as run: run.log(auc=0.5)\n"
    done = run_script(root, text)
    assert (done.returncode, done.stderr) == (0, "")
    context = open_context(root)
    (run,) = context.ledger.runs()
    assert run.recipe.entry == "script:train.py"
    assert run.tags["trivet.arguments"] == "--depth '3 or 4'"
    restore_code(context.ledger.artifact(run.recipe.code), context.blobs, tmp_path / "again")
    assert text in [path.read_text() for path in (tmp_path / "again").rglob("train.py")]
    assert context.ledger.artifact(run.recipe.environment).kind == "environment"
    assert set(run.recipe.active) == {"libraries", "cpu", "python", "platform", "hash_seed"}
    context.ledger.close()


def test_children_share_the_capture_of_their_parent(memory, monkeypatch):
    captured = []
    real = provenance.capture_code
    monkeypatch.setattr(provenance, "capture_code", lambda *given: captured.append(1) or real(*given))
    with start(memory, "outer") as outer, start(memory, "inner") as inner:
        pass
    assert captured == [1]
    assert outer.record.recipe.code == inner.record.recipe.code


def test_a_failed_capture_is_said_and_stops_nothing(memory, monkeypatch, caplog):
    def fails(*given):
        raise Invalid("The project's folder is gone.")

    monkeypatch.setattr(provenance, "capture_code", fails)
    with start(memory, "x") as run:
        run.log(auc=0.5)
    record = memory.ledger.run(run.id)
    assert (record.status, record.recipe) == ("finished", None)
    assert record.tags["trivet.capture"] == "The project's folder is gone."
    assert "could not be recorded: The project's folder is gone." in caplog.text


def test_what_was_not_committed_is_kept(memory, root):
    subprocess.run(["git", "init", "-q", root], check=True)
    (root / "train.py").write_text("rate = 3\n")
    with start(memory, "outer") as outer, start(memory, "inner") as inner:
        pass
    patch = memory.ledger.artifact(outer.record.tags["git.patch"])
    assert b"+rate = 3\n" in memory.blobs.read(patch.files["changes.patch"].digest)
    assert inner.record.tags["git.patch"] == patch.digest
