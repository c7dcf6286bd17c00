"""The shape of the source keeps its promises: small files, true names, narrow contracts, no circles."""

from __future__ import annotations

import ast
import re
import tomllib
from graphlib import CycleError, TopologicalSorter
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

import trivet
from trivet.plugins import BUILTIN

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src"
FILES = sorted(path for path in SOURCE.rglob("*.py") if path.name != "__main__.py")
MOST_LINES = 800
"""The aim is 400; past this a file holds more than one concept."""
MOST_METHODS = 10
SAYS_NOTHING = {"base", "common", "core", "helper", "helpers", "misc", "tools", "util", "utils"}


def name(path: Path) -> str:
    return ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")


MODULES = {name(path): path for path in FILES}
TREES = {module: ast.parse(path.read_text("utf-8")) for module, path in MODULES.items()}


@pytest.mark.parametrize("module", MODULES)
def test_a_module_says_what_it_is_for(module: str) -> None:
    assert (ast.get_docstring(TREES[module]) or "").strip()


@pytest.mark.parametrize("module", MODULES)
def test_a_file_holds_one_concept(module: str) -> None:
    assert len(MODULES[module].read_text("utf-8").splitlines()) <= MOST_LINES


def test_no_name_says_nothing() -> None:
    assert [module for module in MODULES if SAYS_NOTHING & set(module.split("."))] == []


@pytest.mark.parametrize("module", sorted(MODULES.keys() - {"trivet.features.engines.spark"}))  # needs PySpark
def test_what_a_module_exports_exists(module: str) -> None:
    found = import_module(module)
    missing = [each for each in getattr(found, "__all__", []) if not hasattr(found, each)]
    assert missing == []


def test_no_contract_is_wide() -> None:
    wide = {}
    for module, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and any(_is_contract(base) for base in node.bases):
                methods = {each.name for each in node.body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)}
                wide |= {f"{module}.{node.name}": len(methods)} if len(methods) > MOST_METHODS else {}
    assert wide == {}


def test_no_circle_even_inside_functions() -> None:
    """Imports that only a type checker sees do not count; imports put into functions to hide a circle do."""
    graph = {module: _imported(module) - {module} for module in MODULES}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as exc:
        pytest.fail(" imports ".join(reversed(exc.args[1])))


def test_the_published_exams_are_not_part_of_the_product() -> None:
    users = [module for module in MODULES if not module.startswith("trivet.testing")]
    assert [module for module in users if any(each.startswith("trivet.testing") for each in _imported(module))] == []


@pytest.mark.parametrize(
    ("group", "scheme"), [(group, scheme) for group, engines in BUILTIN.items() for scheme in engines]
)
def test_every_engine_that_ships_is_there(group: str, scheme: str) -> None:
    target, extra = BUILTIN[group][scheme]
    module, _, function = target.partition(":")
    assert module in MODULES
    assert re.search(rf"^(?:def |from .* import .*\b){function}\b", MODULES[module].read_text("utf-8"), re.MULTILINE)
    assert not extra or extra in _project()["optional-dependencies"]


def test_test_folders_mirror_packages() -> None:
    packages = {path.parent.relative_to(SOURCE / "trivet") for path in FILES if path.name == "__init__.py"}
    folders = {path.parent.relative_to(ROOT / "tests") for path in (ROOT / "tests").rglob("test_*.py")}
    of_their_own = {"examples", "stories"}
    assert [str(each) for each in folders - packages if each.parts and each.parts[0] not in of_their_own] == []


def test_one_version_everywhere() -> None:
    assert _project()["version"] == trivet.__version__


def test_news_fragments_are_named_by_their_kind() -> None:
    kinds = "added|changed|fixed|removed|security"
    fragments = [path.name for path in (ROOT / "changelog.d").glob("*.md") if path.name != "README.md"]
    assert [each for each in fragments if not re.fullmatch(rf"[a-z0-9-]+\.({kinds})\.md", each)] == []


def test_every_dependency_is_pinned_without_an_address() -> None:
    text = (ROOT / "constraints.txt").read_text("utf-8")
    assert "://" not in text
    assert "@" not in text
    pinned = {re.split(r"[=\s;]", line)[0] for line in text.splitlines()}
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["dependency-groups"]
    extras = _project()["optional-dependencies"].values()
    asked = [*_project()["dependencies"], *chain.from_iterable([*extras, *groups.values()])]
    names = {re.split(r"[\[<>=;~! ]", each)[0].lower() for each in asked}
    assert names - pinned == {"trivet"}


def _project() -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return project


def _is_contract(base: ast.expr) -> bool:
    return _last(base) == "Protocol" and ast.unparse(base) != "asyncio.Protocol"


def _last(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _imported(module: str) -> set[str]:
    """The modules of ours that ``module`` imports anywhere, but for type checkers only."""
    found: set[str] = set()
    waiting: list[ast.AST] = [TREES[module]]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and _last(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= inner & set(MODULES) or {node.module}
        waiting += ast.iter_child_nodes(node)
    return found & set(MODULES)
