"""The closure holds what an edit could change, and nothing that it could not."""

from __future__ import annotations

import random
import sys
import textwrap
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trivet.errors import NotFound
from trivet.pipelines.closure import code_closure, distributions

PROJECT = {
    "steps.py": '''
        """Steps."""
        import logging

        import proj.aliased as other
        from proj import exported, util
        from proj.base import Base
        from proj.decorated import decorated

        log = logging.getLogger(__name__)
        TABLE = {"a": 1, "b": {2, 3}}
        LIMIT = 3


        class Child(Base):
            size = 5

            def run(self):
                return self.helper() + self.size


        def fit(train, rounds=LIMIT):
            """Fit."""
            from proj.lazy import late

            log.info("fitting")  # a comment
            total = util.top(train) + late() + TABLE["a"] + Child().run()
            return total + other.named() + exported() + decorated() + rounds


        def unrelated(fit):
            return 1
    ''',
    "proj/__init__.py": "from .inner import exported\n\nUNUSED = 1\n",
    "proj/inner.py": "def exported():\n    return 1\n\n\ndef hidden():\n    return 2\n",
    "proj/util.py": """
        from .deep import CONSTANT


        def top(x):
            return middle(x)


        def middle(x):
            return x + CONSTANT + [CONSTANT for middle in x][0]
    """,
    "proj/deep.py": "CONSTANT = 1\nOTHER = 2\n",
    "proj/base.py": "class Base:\n    def helper(self):\n        return 1\n",
    "proj/lazy.py": "def late():\n    return 1\n",
    "proj/aliased.py": "def _original():\n    return 1\n\n\nnamed = _original\n",
    "proj/decorated.py": """
        def scaled(factor):
            def wrap(function):
                return lambda: factor * function()
            return wrap


        @scaled(2)
        def decorated():
            return 1
    """,
}


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
    return root


def closure(root: Path, entry: str = "steps:fit") -> dict[str, str]:
    return code_closure(entry, [root])


CHANGES = {
    "comment": ("steps.py", "# a comment", "# another", False),
    "docstring": ("steps.py", '"""Fit."""', '"""Fit a model."""', False),
    "module docstring": ("steps.py", '"""Steps."""', '"""Other."""', False),
    "whitespace": ("proj/util.py", "return middle(x)", "return   middle( x )\n", False),
    "unrelated function": ("steps.py", "return 1", "return 2", False),
    "unrelated function elsewhere": ("proj/inner.py", "return 2", "return 3", False),
    "unused constant": ("proj/deep.py", "OTHER = 2", "OTHER = 3", False),
    "unused constant of a package": ("proj/__init__.py", "UNUSED = 1", "UNUSED = 2", False),
    "own body": ("steps.py", 'TABLE["a"]', 'TABLE["b"]', True),
    "constant read by a transitive helper": ("proj/deep.py", "CONSTANT = 1", "CONSTANT = 2", True),
    "helper of a helper": ("proj/util.py", "x + CONSTANT", "x - CONSTANT", True),
    "method of a base class": ("proj/base.py", "return 1", "return 2", True),
    "class attribute": ("steps.py", "size = 5", "size = 6", True),
    "module imported inside the function": ("proj/lazy.py", "return 1", "return 2", True),
    "global dict": ("steps.py", '{"a": 1', '{"a": 2', True),
    "set in a global dict": ("steps.py", "{2, 3}", "{2, 4}", True),
    "default argument": ("steps.py", "rounds=LIMIT", "rounds=4", True),
    "constant in a default argument": ("steps.py", "LIMIT = 3", "LIMIT = 4", True),
    "argument of a helper's decorator": ("proj/decorated.py", "@scaled(2)", "@scaled(3)", True),
    "body of a helper's decorator": ("proj/decorated.py", "factor * function", "factor + function", True),
    "re-export": ("proj/inner.py", "return 1", "return 3", True),
    "where a re-export points": ("proj/__init__.py", "import exported", "import hidden as exported", True),
    "alias": ("proj/aliased.py", "return 1", "return 2", True),
    "literal type": ("proj/deep.py", "CONSTANT = 1", "CONSTANT = 1.0", True),
}


@pytest.mark.parametrize("name", CHANGES)
def test_an_edit_changes_the_closure_when_it_can_change_the_answer(tmp_path, name):
    file, old, new, expected = CHANGES[name]
    root = write(tmp_path, PROJECT)
    before = closure(root)
    text = (root / file).read_text()
    assert old in text
    (root / file).write_text(text.replace(old, new))
    assert (closure(root) != before) is expected


def test_names_are_qualified_and_local_names_are_not_reached(tmp_path):
    found = closure(write(tmp_path, PROJECT))
    assert {"steps:fit", "steps:Child", "proj.base:Base", "proj.deep:CONSTANT", "proj.inner:exported"} <= found.keys()
    assert not {"steps:unrelated", "proj.inner:hidden", "proj.deep:OTHER"} & found.keys()
    assert closure(tmp_path, "steps:unrelated").keys() == {"steps:unrelated"}


def test_whole_files_are_taken_for_nothing_static(tmp_path):
    assert not [name for name in closure(write(tmp_path, PROJECT)) if name.endswith(":*")]


DYNAMIC = {
    "star import": "from helper import *\ndef fit():\n    return work()\n",
    "getattr of a module": "import helper\ndef fit(name):\n    return getattr(helper, name)()\n",
    "a module handed on": "import helper\ndef fit(call):\n    return call(helper)\n",
    "eval": "import helper\ndef fit(name):\n    return eval(f'helper.{name}()')\n",
    "exec": "def fit(text):\n    exec(text)\n",
    "globals": "from helper import work\ndef fit():\n    return globals()['work']()\n",
    "importlib": "import importlib\ndef fit(name):\n    return importlib.import_module(name).work()\n",
    "import_module": "from importlib import import_module as get\ndef fit(name):\n    return get(name).work()\n",
    "__import__": "def fit(name):\n    return __import__(name).work()\n",
    "sys.modules": "import sys\nimport helper\ndef fit(name):\n    return sys.modules[name].work()\n",
    "unresolved name": "import helper\ndef fit():\n    return appearing_by_magic()\n",
    "subclasses": "import helper\nclass A: ...\ndef fit():\n    return A.__subclasses__()\n",
    "dict of a module": "import helper\ndef fit(name):\n    return helper.__dict__[name]()\n",
    "setattr at import": "import helper\nsetattr(helper, 'other', 3)\ndef fit():\n    return helper.work()\n",
    "patched at import": "import helper, second\nhelper.work = second.other\ndef fit():\n    return helper.work()\n",
    "patched by a function": (
        "import helper, second\ndef patch():\n    helper.work = second.other\n"
        "patch()\ndef fit():\n    return helper.work()\n"
    ),
}


@pytest.mark.parametrize("name", DYNAMIC)
def test_what_is_dynamic_over_invalidates(tmp_path, name):
    files = {
        "steps.py": DYNAMIC[name],
        "helper.py": "from second import other\ndef work():\n    return 1\ndef hidden():\n    return other()\n",
        "second.py": "def other():\n    return 2\n",
    }
    root = write(tmp_path, files)
    before = closure(root)
    (root / "second.py").write_text("def other():\n    return 3\n")
    assert closure(root) != before


REGISTRIES = {
    "decorator that stores": ("REG = {}\ndef add(f):\n    REG[f.__name__] = f\n    return f\n", "@add\n"),
    "method as decorator": ("class R(dict):\n    def of(self, f): ...\nREG = R()\nadd = REG.of\n", "@add\n"),
    "call with the registry": ("REG = []\ndef add(f, reg=REG):\n    reg.append(f)\n    return f\n", "@add\n"),
    "global statement": ("REG = 0\ndef add(f):\n    global REG\n    REG = f\n    return f\n", "@add\n"),
    "function attribute": ("def REG(): ...\ndef add(f):\n    REG.items = f\n    return f\n", "@add\n"),
    "alias": ("A = {}\nREG = A\ndef add(f):\n    A[f] = f\n    return f\n", "@add\n"),
}


@pytest.mark.parametrize("name", REGISTRIES)
def test_what_registers_itself_in_a_variable_belongs_to_it(tmp_path, name):
    registry, decorator = REGISTRIES[name]
    plugin = f"from registry import add\n{decorator}def plugin():\n    return 1\n\ndef idle():\n    return 1\n"
    steps = "import plugins\nimport registry\ndef fit():\n    return registry.REG\ndef other():\n    return 1\n"
    root = write(tmp_path, {"registry.py": registry, "plugins.py": plugin, "steps.py": steps})
    before, other = closure(root), closure(root, "steps:other")
    (root / "plugins.py").write_text(plugin.replace("return 1", "return 2", 1))
    assert closure(root) != before
    assert closure(root, "steps:other") == other
    changed = closure(root)
    (root / "plugins.py").write_text(plugin.replace("return 1", "return 2"))
    assert closure(root) == changed  # ``idle`` registers nothing


def test_a_registered_function_edit_does_not_touch_those_who_only_share_the_decorator(tmp_path):
    text = """
        REG = {}
        def add(f):
            REG[f.__name__] = f
            return f
        @add
        def a():
            return 1
        def b():
            return 1
    """
    root = write(tmp_path, {"steps.py": text})
    assert "steps:a" not in closure(root, "steps:b")
    assert "steps:REG" in closure(root, "steps:a")


def test_effects_of_imported_modules_count_even_if_nothing_of_them_is_used(tmp_path):
    root = write(
        tmp_path,
        {"steps.py": "import setup_\ndef fit():\n    return 1\n", "setup_.py": "import random\nrandom.seed(1)\n"},
    )
    before = closure(root)
    assert "setup_:<effects>" in before
    (root / "setup_.py").write_text("import random\nrandom.seed(2)\n")
    assert closure(root) != before


def test_scopes(tmp_path):
    text = """
        K = 1
        L = 2
        M = 3
        def shadow(K):
            return [L for L in K] + (lambda M: M)(1)
        def nested():
            def inner():
                return K
            return inner
        class Holder:
            K = K
            def method(self, value=K):
                return L
        def declares():
            global M
            M = 4
        def match(x):
            match x:
                case {"a": L, **M}:
                    return L, M
        def handler():
            try:
                import json as K
            except ImportError as L:
                return L
            return K
    """
    root = write(tmp_path, {"steps.py": text})
    assert closure(root, "steps:shadow").keys() == {"steps:shadow"}
    assert closure(root, "steps:nested").keys() == {"steps:nested", "steps:K"}
    assert closure(root, "steps:Holder").keys() == {"steps:Holder", "steps:K", "steps:L"}
    assert closure(root, "steps:match").keys() == {"steps:match"}
    assert closure(root, "steps:handler").keys() == {"steps:handler"}


def test_conditional_definitions_count_in_all_branches(tmp_path):
    text = """
        try:
            from helper import f
        except ImportError:
            def f():
                return 1
        def fit():
            return f()
    """
    root = write(tmp_path, {"steps.py": text, "helper.py": "def f():\n    return 2\n"})
    assert {"helper:f", "steps:f", "steps:fit"} <= closure(root).keys()


def test_relative_imports_from_packages_and_namespace_packages(tmp_path):
    files = {
        "space/pkg/__init__.py": "",
        "space/pkg/steps.py": """
            from . import util
            from .. import beside
            from .sub import deep as d
            def fit():
                return util.f() + beside.g() + d.h()
        """,
        "space/pkg/util.py": "def f():\n    return 1\n",
        "space/beside.py": "def g():\n    return 1\n",
        "space/pkg/sub/__init__.py": "",
        "space/pkg/sub/deep.py": "def h():\n    return 1\n",
    }
    found = closure(write(tmp_path, files), "space.pkg.steps:fit")
    assert found.keys() == {"space.pkg.steps:fit", "space.pkg.util:f", "space.beside:g", "space.pkg.sub.deep:h"}


def test_the_main_guard_never_runs_in_a_worker(tmp_path):
    root = write(tmp_path, {"steps.py": "def fit():\n    return 1\nif __name__ == '__main__':\n    fit(2)\n"})
    assert closure(root).keys() == {"steps:fit"}


def test_a_module_that_resolves_names_itself_is_taken_whole(tmp_path):
    files = {
        "steps.py": "import lazy\ndef fit():\n    return lazy.thing()\n",
        "lazy.py": "def __getattr__(name):\n    import real\n    return real.thing\n",
        "real.py": "def thing():\n    return 1\n",
    }
    assert {"lazy:*", "real:*"} <= closure(write(tmp_path, files)).keys()


def test_a_file_with_a_syntax_error_is_taken_whole(tmp_path):
    root = write(tmp_path, {"steps.py": "import broken\ndef fit():\n    return broken.f()\n", "broken.py": "def f(:\n"})
    assert "broken:*" in closure(root)


def test_src_layout(tmp_path):
    root = write(tmp_path, {"src/pkg/steps.py": "def fit():\n    return 1\n", "src/pkg/__init__.py": ""})
    assert closure(root, "pkg.steps:fit").keys() == {"pkg.steps:fit"}


def test_an_entry_of_a_library_has_an_empty_closure_and_a_wrong_name_is_a_sentence(tmp_path):
    root = write(tmp_path, PROJECT)
    assert code_closure("json:dumps", [root]) == {}
    with pytest.raises(NotFound, match=r"no function 'steps:fitt'. Did you mean 'steps:fit'"):
        closure(root, "steps:fitt")


def test_a_method_reaches_its_class(tmp_path):
    assert "proj.base:Base" in closure(write(tmp_path, PROJECT), "steps:Child.run")


def test_nothing_is_imported_or_executed(tmp_path):
    write(tmp_path, {"boom_module.py": "raise SystemExit('imported')\ndef fit():\n    return 1\n"})
    assert closure(tmp_path, "boom_module:fit")
    assert "boom_module" not in sys.modules


def test_the_normal_form_is_pinned(tmp_path):
    """Changed digests break every cache of every user."""
    root = write(
        tmp_path,
        {"steps.py": "def fit(x: int = 1, *a, **k) -> str:\n    return f'{x!r:>{k}}' + 'é' + b'b'.hex() + 1j\n"},
    )
    assert closure(root) == {"steps:fit": "3d1b6631c18654e9028f8e5a85a1b4cec046415deb0fc3400a6a51ca5ca00e27"}


def test_distributions_are_those_imported_and_what_they_require(tmp_path):
    files = {
        "steps.py": "import msgspec\nfrom helper import f\ndef fit():\n    return f()\n",
        "helper.py": "def f():\n    import sklearn.linear_model\n    import no_such_library\n",
        "aside.py": "import duckdb\n",
    }
    found = distributions("steps:fit", [write(tmp_path, files)])
    assert {"msgspec", "scikit-learn", "numpy", "scipy", "joblib"} <= found.keys()
    assert found["no_such_library"] == "not installed"
    assert not {"duckdb", "helper", "steps"} & found.keys()


def test_trivet_in_a_checkout_is_identified_by_its_source(tmp_path):
    found = distributions(
        "steps:fit", [write(tmp_path, {"steps.py": "import trivet as tv\ndef fit():\n    return tv\n"})]
    )
    assert found["trivet"].startswith("0.1.0+") or found["trivet"] == "0.1.0"
    assert "msgspec" in found


def test_twenty_closures_of_a_small_project_take_a_blink(tmp_path):
    root = write(tmp_path, PROJECT)
    time.sleep(0.15)  # files that were just written are not remembered
    closure(root)
    started = time.perf_counter()
    for _ in range(20):
        closure(root)
    assert time.perf_counter() - started < 0.5  # 20 ms on a quiet machine


# --- a random project, an edit of one definition, and an oracle that knows the graph -------------------------


class Made:
    """A random project: definitions with the definitions that each uses, spread over modules."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        count = self.random.randint(3, 10)
        modules = ["alpha", "pkg.beta", "pkg.gamma", "pkg.sub.delta"]
        self.place = [self.random.choice(modules) for _ in range(count)]
        self.kind = [
            self.random.choice(["function", "class", "constant", "decorated", "default"]) for _ in range(count)
        ]
        self.style = [
            self.random.choice(["from", "alias", "module", "inside", "relative", "exported"]) for _ in range(count)
        ]
        # a definition uses only earlier ones at import time, which is enough for any acyclic program
        self.uses = [sorted(self.random.sample(range(n), self.random.randint(0, min(n, 2)))) for n in range(count)]
        self.value = [0] * count

    def reach(self, start: int) -> set[int]:
        found, stack = set(), [start]
        while stack:
            if (node := stack.pop()) not in found:
                found.add(node)
                stack += self.uses[node]
        return found

    def name(self, n: int) -> str:
        return f"{'C' if self.kind[n] == 'class' else 'K' if self.kind[n] == 'constant' else 'f'}{n}"

    def write(self, root: Path) -> None:
        texts = {module: [f'"""Module {module}."""'] for module in set(self.place)}
        exports: list[str] = []
        for n, module in enumerate(self.place):
            imports, terms = [], [str(self.value[n])]
            for used in self.uses[n]:
                line, term = self.reference(module, used, self.style[n])
                imports.append(line)
                terms.append(term)
            texts[module].append(self.definition(n, [line for line in imports if line], terms))
        if any(module.startswith("pkg") for module in self.place):
            exports = [
                f"from .{self.place[n][4:]} import {self.name(n)} as x{n}"
                for n in range(len(self.place))
                if self.place[n].startswith("pkg.")
            ]
        write(root, {module.replace(".", "/") + ".py": "\n".join(lines) + "\n" for module, lines in texts.items()})
        write(
            root,
            {
                "pkg/__init__.py": "",
                "pkg/sub/__init__.py": "",
                "facade.py": "\n".join(line.replace("from .", "from pkg.") for line in exports),
            },
        )

    def reference(self, module: str, used: int, style: str) -> tuple[str, str]:
        target, name = self.place[used], self.name(used)
        if target == module:
            return "", name
        if style == "exported" and target.startswith("pkg."):
            return f"from facade import x{used}", f"x{used}"
        if style == "alias":
            return f"import {target} as m{used}", f"m{used}.{name}"
        if style == "module":
            return f"import {target}", f"{target}.{name}"
        if style == "relative" and module.startswith("pkg.") and target.startswith("pkg."):
            dots = "." * (module.count("."))
            return f"from {dots}{target[4:]} import {name} as r{used}", f"r{used}"
        return f"from {target} import {name}", name

    def definition(self, n: int, imports: list[str], terms: list[str]) -> str:
        name, body = self.name(n), ", ".join(terms)
        inside = self.style[n] == "inside" and self.kind[n] == "function"
        head = "" if inside else "".join(f"{line}\n" for line in imports)
        match self.kind[n]:
            case "class":
                return f"{head}class {name}:\n    value = ({body},)\n"
            case "constant":
                return f"{head}{name} = ({body},)\n"
            case "decorated":
                return f"{head}@(lambda f, *a: f)\ndef {name}(x=1):\n    return ({body},)\n"
            case "default":
                return f"{head}def {name}(x=({body},)):\n    return x\n"
        inner = "".join(f"    {line}\n" for line in imports) if inside else ""
        return f"{head}def {name}():\n{inner}    return ({body},)\n"


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**9), edited=st.integers(0, 9))
def test_an_edit_shows_exactly_when_the_definition_is_reached(tmp_path_factory, seed, edited):
    made = Made(seed)
    root = tmp_path_factory.mktemp("made")
    made.write(root)
    edited %= len(made.place)
    entries = [f"{module}:{made.name(n)}" for n, module in enumerate(made.place)]
    before = [code_closure(entry, [root]) for entry in entries]
    made.value[edited] += 1
    made.write(root)
    for n, entry in enumerate(entries):
        after = code_closure(entry, [root])
        assert (after != before[n]) is (edited in made.reach(n)), (entry, entries[edited])
        assert after.keys() == {f"{made.place[m]}:{made.name(m)}" for m in made.reach(n)}
