from __future__ import annotations

import json
import linecache
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from trivet.errors import Invalid
from trivet.features.functions import Portable

LIMIT = 3
TABLE = {"a": 1}
TABLE["b"] = LIMIT


def clipped(x):
    return np.minimum(x, LIMIT)


def looked_up(x):
    return clipped(x) + TABLE["b"]


def countdown(n):
    return n if n <= 0 else countdown(n - 1)


def lives(folder, files, entry="shop:f"):
    """The declaration of ``entry`` as another process makes it with these files."""
    folder.mkdir()
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), "utf-8")
    module, _, name = entry.partition(":")
    script = (
        "import json\nfrom trivet.errors import Invalid\nfrom trivet.features.functions import Portable\n"
        f"from {module} import {name}\n"
        f"try:\n    made = Portable.of({name})\n    print(json.dumps([made.to_spec(), made.digest, made.check()]))\n"
        "except Invalid as exc:\n    print(json.dumps(str(exc)))\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True, cwd=folder
    )
    return json.loads(done.stdout)


SHOP = """
    import numpy as np
    from prices import twice, Rate as R
    import pack.deep
    # a comment
    UNUSED = open

    def other():
        return UNUSED

    def f(x):
        '''Doubled.'''
        return R(twice(x)).value + pack.deep.one(x)  # inside
"""
PRICES = """
    from __future__ import annotations
    from dataclasses import dataclass
    import shop

    FACTOR = 2

    def twice(x):
        return FACTOR * x

    @dataclass
    class Rate:
        value: float

    def unrelated():
        return eval("1")
"""
FILES = {"shop.py": SHOP, "prices.py": PRICES, "pack/__init__.py": "", "pack/deep.py": "def one(x):\n    return 1\n"}


def test_what_is_reached_travels_and_nothing_else(tmp_path):
    spec, digest, _ = lives(tmp_path / "here", FILES)
    made = Portable.from_spec(spec)
    assert made.digest == digest
    assert made.load()(4) == 9
    assert "UNUSED" not in made.text
    assert "unrelated" not in made.text
    assert "import shop" not in made.text
    assert "# a comment" not in made.text
    assert "# inside" in made.text


def test_the_digest_does_not_know_paths_names_of_files_or_the_order_of_imports(tmp_path):
    _, digest, _ = lives(tmp_path / "here", FILES)
    moved = SHOP.replace("from prices", "from costs").replace("# a comment", "# another")
    lines = moved.splitlines()
    lines[1], lines[2] = lines[2], lines[1]
    files = FILES | {"store.py": "\n".join(lines), "costs.py": PRICES.replace("import shop", "import store")}
    del files["shop.py"], files["prices.py"]
    _, other, _ = lives(tmp_path / "there", files, "store:f")
    assert other == digest
    _, edited, _ = lives(tmp_path / "edited", FILES | {"prices.py": PRICES.replace("FACTOR = 2", "FACTOR = 3")})
    assert edited != digest


def test_a_script_is_read_like_a_module(tmp_path):
    text = textwrap.dedent(
        """
        import json
        LIMIT = 3

        def f(x):
            return x + LIMIT

        if __name__ == "__main__":
            from trivet.features.functions import Portable
            made = Portable.of(f)
            print(json.dumps([made.digest, made.load()(1)]))
        """
    )
    (tmp_path / "script.py").write_text(text, "utf-8")
    done = subprocess.run([sys.executable, tmp_path / "script.py"], capture_output=True, text=True, check=True)
    digest, answer = json.loads(done.stdout)
    assert answer == 4
    assert digest == lives(tmp_path / "module", {"shop.py": text})[1]


def notebook(*cells):
    """Names after cells have run as a notebook runs them."""
    names = {"__name__": "__main__", "In": [""]}
    for number, cell in enumerate(cells):
        file = f"<cell-{number}-{id(names)}>"
        text = textwrap.dedent(cell)
        linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
        names["In"].append(text)
        exec(compile(text, file, "exec"), names)
    return names


CELLS = (
    "import numpy as np\nLIMIT = 60 * 60",
    "def capped(x):\n    return np.minimum(x, LIMIT)",
    "def f(x):\n    return capped(x) + 1",
)


def test_cells_of_a_notebook_are_one_text(tmp_path):
    names = notebook(*CELLS)
    made = Portable.of(names["f"])
    assert made.load()(5000) == 3601
    assert made.digest == lives(tmp_path / "module", {"shop.py": "\n\n".join(CELLS)})[1]


def test_without_the_texts_of_cells_constants_and_libraries_are_taken_by_value():
    names = notebook(*CELLS)
    names["In"] = []
    made = Portable.of(names["f"])
    assert "LIMIT = 3600" in made.text
    assert made.load()(5000) == 3601
    names["LIMIT"] = object()
    with pytest.raises(Invalid, match="reaches 'LIMIT', a object whose text is not at hand"):
        Portable.of(names["f"])


def test_changes_in_place_of_what_is_reached_come_along():
    assert Portable.of(looked_up).load()(10) == 6
    assert Portable.of(countdown).load()(4) == 0


def test_classes_of_cells_and_functions_of_libraries_come_along():
    names = notebook("from math import *", "class A:\n    x = 1", "def f(x):\n    return sqrt(x) + A.x")
    assert Portable.of(names["f"]).load()(9) == 4


def test_a_loaded_function_shares_nothing():
    made = Portable.of(looked_up)
    assert made.load() is not looked_up
    assert made.load().__globals__["TABLE"] is not TABLE


def test_decorators_of_others_stay():
    from functools import cache

    names = notebook("from functools import cache", "@cache\ndef f(x):\n    return x + 1")
    assert "@cache" in Portable.of(names["f"]).text
    assert cache is names["cache"]


def test_libraries_are_required_outside_identity():
    made = Portable.of(clipped)
    assert made.requires["numpy"] == np.__version__
    assert Portable.from_spec(made.to_spec()) == made
    assert "requires" not in made.to_spec()


def test_a_clean_process_says_what_a_function_answers():
    names = notebook("import numpy as np", "def f(x, y):\n    return {'a': x + 1, 'b': y}")
    sample = {"columns": {"x": "float64", "y": "object"}}
    assert Portable.of(names["f"]).check(sample) == {"a": "f", "b": "O"}
    broken = Portable.from_spec({"entry": "f", "modules": [{"text": "import nowhere_at_all", "links": {}}]})
    with pytest.raises(Invalid, match=r"does not run in a clean process.*nowhere_at_all"):
        broken.check()
    with pytest.raises(Invalid, match="cannot be loaded here: ModuleNotFoundError"):
        broken.load()


def captured(limit):
    def f(x):
        return x + limit

    return f


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: captured(3), "captures 'limit' of the function around it.*constant of the module"),
        (lambda: lambda x: x, "A lambda has no name"),
        (lambda: len, "Write one with def"),
        (lambda: notebook("def f(x):\n    return eval('x')")["f"], "uses eval, exec"),
        (lambda: notebook("def f(x):\n    return nowhere + x")["f"], "reaches the name 'nowhere'"),
        (lambda: notebook("import random", "def f(x):\n    return random.random()")["f"], "differently from call"),
        (lambda: notebook("import numpy as np", "def f(x):\n    return np.random.rand()")["f"], "numpy.random.rand"),
        (lambda: notebook("def f(x):\n    return x.sample(3)")["f"], r"uses .sample\(\)"),
        (lambda: notebook("def f(x):\n    return open('x')")["f"], "Pass it as an input"),
        (lambda: notebook("import pickle", "def f(x):\n    return pickle.loads(x)")["f"], "uses pickle"),
    ],
)
def test_what_cannot_travel_is_said_when_it_is_declared(make, sentence):
    with pytest.raises(Invalid, match=sentence):
        Portable.of(make())


@pytest.mark.parametrize(
    ("shop", "sentence"),
    [
        ("import prices\n\ndef f(x):\n    return len(dir(prices))", "module 'prices' around as a value"),
        ("def f(x):\n    from prices import twice\n    return twice(x)", "'prices' of the project inside a function"),
        ("from math import *\n\ndef f(x):\n    return sqrt(x)", "'sqrt', which no text defines. Import it by name"),
    ],
)
def test_what_is_reached_of_other_files_must_be_named(tmp_path, shop, sentence):
    assert sentence in lives(tmp_path / "here", FILES | {"shop.py": shop, "prices.py": "def twice(x):\n    return x"})
