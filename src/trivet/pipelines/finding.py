"""Pipelines by file and name: what a command line asks for.

The file is imported from its own folder under its own name, as its steps will import it in their processes.
"""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

from trivet.errors import Invalid, NotFound, TrivetError
from trivet.pipelines.freshness import forget_doubtful_bytecode
from trivet.pipelines.gitignore import walk
from trivet.pipelines.task import Pipeline

__all__ = ["find_pipeline", "import_file"]

FILE = "pipeline.py"


def find_pipeline(target: Path, name: str | None = None) -> Pipeline[..., Any]:
    """The pipeline ``name`` of a Python file, or of ``pipeline.py`` in a folder; the only one where it is not named.

    Raises:
        NotFound: there is no such file or pipeline; the nearest names are offered.
        Invalid: the file cannot be imported, or has several pipelines and no name was given.
    """
    file = (target / FILE if target.is_dir() else target).resolve()
    if not file.is_file():
        hint = f"A folder is asked for its {FILE}." if target.is_dir() else "Name a Python file, or a folder."
        raise NotFound("file", str(file), hint=hint)
    module = import_file(file)
    found = {key: value for key, value in vars(module).items() if isinstance(value, Pipeline)}
    if name is None and len(found) == 1:
        return next(iter(found.values()))
    if name is None:
        some = ", ".join(sorted(found)) or "none; decorate a function with @tv.pipeline"
        raise Invalid(f"Which pipeline of {file}? There are: {some}.")
    if name not in found:
        raise NotFound("pipeline", name, found)
    return found[name]


def import_file(file: Path) -> Any:
    """The module of a Python file, imported from its own folder under its own name.

    Raises:
        Invalid: it cannot be imported, or its name is taken by another module.
    """
    folder = str(file.parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    known = sys.modules.get(file.stem)
    if known is not None and getattr(known, "__file__", None) != str(file):
        raise Invalid(f"The name {file.stem!r} is taken by {getattr(known, '__file__', 'Python')}. Rename {file.name}.")
    forget_doubtful_bytecode(file.parent / name for name in walk(file.parent) if name.endswith(".py"))
    try:
        return importlib.import_module(file.stem)
    except TrivetError:
        raise
    except (Exception, SystemExit) as exc:
        raise Invalid(f"{file} cannot be imported: {type(exc).__name__}: {exc}") from exc
