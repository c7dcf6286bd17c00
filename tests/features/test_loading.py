from __future__ import annotations

import json
import subprocess
import sys

from trivet.features import loading
from trivet.features.loading import load


def test_modules_that_name_one_another_are_linked():
    one = {"text": "def even(n):\n    return n == 0 or odd(n - 1)", "links": {"odd": [1, "odd"]}}
    other = {"text": "def odd(n):\n    return n != 0 and even(n - 1)", "links": {"even": [0, "even"]}}
    assert load("even", [one, other])(10)
    assert not load("even", [one, other])(7)


def test_a_module_is_linked_as_a_whole_by_an_empty_name():
    package = {"text": "", "links": {"deep": [2, ""]}}
    modules = [{"text": "def f():\n    return pack.deep.X", "links": {"pack": [1, ""]}}, package]
    assert load("f", [*modules, {"text": "X = 7", "links": {}}])() == 7


def test_nothing_is_left_behind_for_others_to_import():
    before = set(sys.modules)
    head = "from __future__ import annotations\nfrom dataclasses import dataclass\n\n"
    text = head + "@dataclass\nclass A:\n    x: int\n\n\ndef f():\n    return A(1)"
    assert load("f", [{"text": text, "links": {}}])().x == 1
    assert set(sys.modules) == before


def test_the_script_answers_in_a_clean_process():
    job = {"entry": "f", "modules": [{"text": "def f(x):\n    print('noise')\n    return {'y': x}", "links": {}}]}
    done = subprocess.run(
        [sys.executable, "-I", loading.__file__],
        input=json.dumps(job | {"columns": {"x": "float64"}}),
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout.splitlines()[-1]) == {"answer": {"y": "f"}}
