import json
import subprocess
import sys
from pathlib import Path

import pytest

from trivet.errors import Invalid, NotFound
from trivet.pipelines import graph
from trivet.pipelines.entry import importing, local_folders, locate, resolve
from trivet.pipelines.task import task


def top_level(x):
    return x


@task
def decorated(x):
    return x


renamed = task(lambda x: x)
aliased = task(top_level)


def test_an_installed_function_needs_no_folder():
    assert locate(json.loads).text == "json:loads"
    assert locate(json.loads).folder is None


def test_a_local_function_knows_its_folder():
    entry = locate(graph.bind)
    assert entry.text == "trivet.pipelines.graph:bind"
    assert entry.folder == Path(graph.__file__).resolve().parents[2]
    assert entry.folder in local_folders()


def test_a_task_is_found_under_its_own_name():
    assert decorated.entry.text.endswith(":decorated")
    assert resolve(decorated.entry.text) is decorated


def test_a_task_is_found_under_another_name():
    assert aliased.entry.text.endswith(":aliased")


def test_a_lambda_is_refused():
    with pytest.raises(Invalid, match=r"is a lambda or is defined inside a function"):
        _ = renamed.entry


def test_a_nested_function_is_refused_when_recorded_and_not_when_called():
    @task
    def nested(x):
        return x + 1

    assert nested(1) == 2
    with pytest.raises(Invalid, match=r"'nested' of .* Write it with def at the top level"):
        _ = nested.entry


def test_a_name_that_leads_elsewhere_is_refused():
    def fake(): ...

    fake.__qualname__ = "top_level"
    with pytest.raises(Invalid, match="does not lead back"):
        locate(fake)


def test_a_missing_name_offers_the_nearest():
    with pytest.raises(NotFound, match="Did you mean 'load' or 'loads'"):
        resolve("json:load5")


def test_it_is_known_what_is_being_imported(tmp_path, monkeypatch):
    (tmp_path / "asks_who_imports.py").write_text(
        "from trivet.pipelines.entry import importing\nseen = importing()\ndef f(): ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    resolve("asks_who_imports:f")
    assert sys.modules["asks_who_imports"].seen == "asks_who_imports"
    assert importing() is None


MAIN = """
from trivet.pipelines.entry import locate
def f(): ...
print(locate(f).text, locate(f).folder)
"""


@pytest.mark.parametrize("as_module", [False, True])
def test_a_script_is_known_by_its_file(tmp_path, as_module):
    (tmp_path / "a_script.py").write_text(MAIN)
    command = [sys.executable, "-m", "a_script"] if as_module else [sys.executable, "a_script.py"]
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert said.split() == ["a_script:f", str(tmp_path.resolve())]


def test_a_package_run_as_a_module_is_known_by_its_main(tmp_path):
    (tmp_path / "a_package").mkdir()
    (tmp_path / "a_package" / "__init__.py").touch()
    (tmp_path / "a_package" / "__main__.py").write_text(MAIN)
    said = subprocess.run([sys.executable, "-m", "a_package"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["a_package.__main__:f", str(tmp_path.resolve())]


def test_an_interactive_session_is_refused():
    code = "from trivet.pipelines.entry import locate\ndef f(): ...\nlocate(f)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "is defined in an interactive session" in said.stderr
