"""Where a function can be imported from: ``module:name``, the one way in which code is called again later.

A run is executed by a process that knows nothing but text, so a function is recorded by its entry. What has no
entry (a lambda, a function inside another, a notebook cell) is refused with a sentence when it would be
recorded, never when it is merely called. A script is known by the name of its file instead of ``__main__``.
This module leaves to ``closure`` and ``code`` what stands behind the entry. Invariant: ``resolve(locate(f).text)``
is ``f`` in every process that has ``locate(f).folder`` on its path.
"""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from trivet.errors import Invalid, NotFound

__all__ = ["Entry", "importing", "local_folders", "locate", "resolve"]

_importing: list[str] = []


@dataclass(frozen=True)
class Entry:
    """``text`` is ``module:name``; ``folder`` is what must be on the path, None for an installed distribution."""

    text: str
    folder: Path | None

    def __str__(self) -> str:
        return self.text


def locate(target: Callable[..., Any], function: Callable[..., Any] | None = None) -> Entry:
    """The entry of ``target``; ``function`` is what it wraps, where it is a task or pipeline.

    Raises:
        Invalid: ``target`` cannot be imported by a name.

    Example:
        >>> from json import loads
        >>> str(locate(loads)), locate(loads).folder
        ('json:loads', None)
    """
    function = function or target
    qualname = function.__qualname__
    if "<" in qualname:
        raise Invalid(
            f"{qualname.rpartition('>.')[2]!r} of {function.__module__} is a lambda or is defined inside a function, so "
            "no other process can import it. Write it with def at the top level of a module."
        )
    module = sys.modules.get(function.__module__)
    name = _name_in(module, qualname, target)
    if module is None or name is None:
        raise Invalid(
            f"{function.__module__}:{qualname} does not lead back to this function, so no other process can import it. "
            "Keep it under its own name at the top level of its module."
        )
    return Entry(f"{_module_name(module, qualname)}:{name}", _folder(module))


def resolve(entry: str) -> Any:
    """What ``entry`` names, imported now.

    Raises:
        NotFound: the module has no such name.
        ImportError: as the import raises it.

    Example:
        >>> resolve("json:loads")("[1]")
        [1]
    """
    module_name, _, qualname = entry.partition(":")
    _importing.append(module_name)
    try:
        found: Any = import_module(module_name)
    finally:
        _importing.pop()
    for part in qualname.split("."):
        if not hasattr(found, part):
            raise NotFound(f"name in {module_name}", qualname, (name for name in vars(found) if name[0] != "_"))
        found = getattr(found, part)
    return found


def importing() -> str | None:
    """The module that ``resolve`` is importing at this moment, if any.

    A script that executes its pipeline at the top level would otherwise start itself again in every step.
    """
    return _importing[-1] if _importing else None


def local_folders() -> list[Path]:
    """The folders on the path that hold the user's own modules: all but the interpreter's and the installed."""
    folders = dict.fromkeys(Path(text or ".").resolve() for text in sys.path)
    return [folder for folder in folders if folder.is_dir() and not _installed(folder)]


def _name_in(module: ModuleType | None, qualname: str, target: object) -> str | None:
    found: object = module
    for part in qualname.split("."):
        found = getattr(found, part, None)
    if found is target:
        return qualname
    return next((name for name, value in vars(module).items() if value is target), None) if module else None


def _module_name(module: ModuleType, qualname: str) -> str:
    if module.__name__ != "__main__":
        return module.__name__
    if module.__spec__ is not None:  # python -m package.module
        return module.__spec__.name.removesuffix(".__main__") + ("" if _has_own_name(module) else ".__main__")
    if (file := getattr(module, "__file__", None)) is None:
        raise Invalid(
            f"{qualname!r} is defined in an interactive session, so no other process can import it. "
            "Write it into a file next to the notebook and import it from there."
        )
    return Path(file).stem


def _has_own_name(main: ModuleType) -> bool:
    return main.__spec__ is not None and not main.__spec__.name.endswith(".__main__")


def _folder(module: ModuleType) -> Path | None:
    file = getattr(module, "__file__", None)
    if file is None:
        return None
    path = Path(file).resolve()
    spec = module.__spec__
    depth = (spec.name if spec else _module_name(module, "")).count(".") + (path.stem == "__init__")
    folder = path.parents[depth]
    return None if _installed(folder) else folder


def _installed(folder: Path) -> bool:
    places = {Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    return folder.suffix == ".zip" or any(folder == place or place in folder.parents for place in places)
