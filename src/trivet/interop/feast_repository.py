"""Reads the definitions of a Feast repository without Feast: ``python -m trivet.interop.feast_repository FOLDER``.

A stand-in takes the place of the package ``feast`` and writes down what is constructed with which arguments, so
loops, helper functions and constants of the repository work as they are. The repository's own code runs, which is
why this is a process of its own; what it found goes to standard output as JSON. What the definitions mean in
Trivet is ``trivet.interop.feast``'s business. Names and defaults are those of Feast 0.40 to 0.67
(https://docs.feast.dev/reference/feast-ecosystem).
"""

from __future__ import annotations

import ast
import builtins
import importlib
import inspect
import io
import sys
import textwrap
from collections.abc import Mapping
from contextlib import redirect_stdout
from datetime import date, datetime, timedelta
from functools import partial
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import msgspec

__all__ = ["Function", "Object", "Repository", "read_repository"]


class Function(msgspec.Struct, frozen=True):
    """A decorated function.

    Attributes:
        source: its text without decorators.
        needs: texts of what it names in its module, imports first.
        missing: names that could not be found as text.
    """

    name: str
    source: str
    needs: list[str]
    missing: list[str]
    doc: str


class Object(msgspec.Struct, frozen=True):
    """Something that was constructed: ``kind(*args, **kwargs)``; ``{"ref": N}`` stands for another object."""

    kind: str
    args: list[Any]
    kwargs: dict[str, Any]
    function: Function | None = None
    variable: str = ""
    file: str = ""


class Repository(msgspec.Struct, frozen=True):
    """All objects in the order of their construction, and files that could not be read, with the reason."""

    objects: list[Object]
    unreadable: dict[str, str]


class _AnyName(type):
    """A class whose attributes exist, whatever they are called: ``ValueType.INT64``, ``Field.from_x``."""

    def __getattr__(cls, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        found: type = _stand_in(f"{cls.__name__}.{name}")
        return found


class _Recorded(metaclass=_AnyName):
    """What stands for every class and decorator of Feast."""

    made: list[_Recorded] = []  # noqa: RUF012 - one list for all, on purpose

    def __init__(self, *args: object, **kwargs: object) -> None:
        self.args, self.kwargs = args, kwargs
        self.function: FunctionType | None = None
        self.place = len(_Recorded.made)
        _Recorded.made.append(self)

    def __call__(self, *args: object, **kwargs: object) -> object:
        if len(args) == 1 and isinstance(args[0], FunctionType) and self.function is None and not kwargs:
            self.function = args[0]
            return self
        return self

    def __getitem__(self, wanted: object) -> _Recorded:
        return _stand_in("Projection")(self, wanted)  # type: ignore[no-any-return]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name in self.__dict__.get("kwargs", {}):
            return self.kwargs[name]
        return partial(_stand_in(f"{type(self).__name__}.{name}"), self)  # a method, recorded when it is called

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of a Feast repository>"


_classes: dict[str, Any] = {}


def _stand_in(name: str) -> Any:
    if name.startswith("__"):
        raise AttributeError(name)
    if name not in _classes:
        _classes[name] = _AnyName(name, (_Recorded,), {})
    return _classes[name]


class _StandIn(MetaPathFinder, Loader):
    """Answers ``import feast`` and everything below it."""

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> ModuleSpec | None:  # noqa: ARG002
        return ModuleSpec(fullname, self, is_package=True) if fullname.partition(".")[0] == "feast" else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = ModuleType(spec.name)
        module.__path__ = []
        module.__getattr__ = _stand_in  # type: ignore[method-assign]
        return module

    def exec_module(self, module: ModuleType) -> None:
        """Nothing runs: names come into being when they are asked for."""


def read_repository(folder: Path) -> Repository:
    """Import all Python files below ``folder`` and answer what they construct of Feast."""
    sys.meta_path.insert(0, _StandIn())
    sys.path.insert(0, str(folder))
    unreadable: dict[str, str] = {}
    places: dict[int, tuple[str, str]] = {}
    for file in _files(folder):
        name = ".".join(file.relative_to(folder).with_suffix("").parts)
        try:
            with redirect_stdout(io.StringIO()):
                module = importlib.import_module(name)
        except BaseException as exc:  # noqa: BLE001 - foreign code may raise anything, and the rest is still wanted
            unreadable[str(file.relative_to(folder))] = f"{type(exc).__name__}: {exc}"
            continue
        for variable, value in vars(module).items():
            if isinstance(value, _Recorded):
                places.setdefault(value.place, (variable, str(file.relative_to(folder))))
    objects = [_object(each, *places.get(each.place, ("", ""))) for each in _Recorded.made]
    return Repository(objects, unreadable)


def _files(folder: Path) -> list[Path]:
    """Python files below the folder, without what ``.feastignore`` names, hidden folders and environments."""
    ignore = folder / ".feastignore"
    lines = ignore.read_text("utf-8").splitlines() if ignore.exists() else []
    patterns = [line.split("#")[0].strip().rstrip("/") for line in lines]
    ignored = {match for pattern in patterns if pattern for match in folder.glob(pattern)}
    return [
        file
        for file in sorted(folder.rglob("*.py"))
        if file.name != "__init__.py"
        and not file.name.startswith("test_")
        and not any(
            part.startswith(".") or part in ("venv", "site-packages") for part in file.relative_to(folder).parts
        )
        and not ignored & {file, *file.parents}
    ]


def _object(each: _Recorded, variable: str, file: str) -> Object:
    function = None if each.function is None else _function(each.function)
    kwargs = {name: _plain(value) for name, value in each.kwargs.items()}
    return Object(type(each).__name__, [_plain(value) for value in each.args], kwargs, function, variable, file)


def _plain(value: Any) -> Any:
    """A value as JSON."""
    if isinstance(value, _Recorded):
        return {"ref": value.place}
    if isinstance(value, _AnyName):
        return value.__name__
    if isinstance(value, timedelta):
        return {"seconds": value.total_seconds()}
    if isinstance(value, date | datetime | Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, str | int | float | bool) else repr(value)


def _function(function: FunctionType) -> Function:
    tree = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    assert isinstance(tree, ast.FunctionDef)
    tree.decorator_list = []
    needs, missing = _needs(function, set())
    return Function(function.__name__, ast.unparse(tree), needs, missing, inspect.getdoc(function) or "")


def _needs(function: FunctionType, seen: set[str]) -> tuple[list[str], list[str]]:
    """The texts of what a function names in its module: imports, helpers, plain constants."""
    needs: list[str] = []
    missing: list[str] = []
    for name in sorted(_names(function)):
        if name in seen or hasattr(builtins, name) or name not in function.__globals__:
            continue
        seen.add(name)
        value = function.__globals__[name]
        if isinstance(value, ModuleType):
            needs.insert(0, f"import {value.__name__} as {name}" if value.__name__ != name else f"import {name}")
        elif isinstance(value, FunctionType) and value.__module__ == function.__module__:
            inner, lost = _needs(value, seen)
            needs += [*inner, textwrap.dedent(inspect.getsource(value))]
            missing += lost
        elif isinstance(value, str | int | float | bool | type(None)):
            needs.append(f"{name} = {value!r}")
        elif module := getattr(value, "__module__", None):
            needs.insert(0, f"from {module} import {getattr(value, '__name__', name)} as {name}")
        else:
            missing.append(name)
    return needs, missing


def _names(function: FunctionType) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(function)))):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            names.add(node.id)
    decorators = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    assert isinstance(decorators, ast.FunctionDef)
    used_by_decorators = {
        node.id for each in decorators.decorator_list for node in ast.walk(each) if isinstance(node, ast.Name)
    }
    body = {node.id for each in decorators.body for node in ast.walk(each) if isinstance(node, ast.Name)}
    return names - (used_by_decorators - body)


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(read_repository(Path(sys.argv[1]).resolve())))
