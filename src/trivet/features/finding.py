"""Definitions by file: what a Python file declares, in its order."""

from __future__ import annotations

from pathlib import Path

from trivet.errors import Invalid, NotFound
from trivet.features.definitions import FeatureView
from trivet.features.on_demand import OnDemand
from trivet.features.quality.expectations import Expectations
from trivet.features.references import Definition
from trivet.features.services import FeatureService
from trivet.pipelines.finding import import_file

__all__ = ["find_definitions"]

FILE = "features.py"
_KINDS = (FeatureView, OnDemand, FeatureService, Expectations)


def find_definitions(target: Path) -> list[Definition | Expectations]:
    """The definitions that a Python file holds under names of its own; of a folder, those of its ``features.py``.

    The file is imported, so what it does at its top level is done.

    Raises:
        NotFound: there is no such file.
        Invalid: it cannot be imported, declares nothing, or two different definitions under one name.
    """
    file = (target / FILE if target.is_dir() else target).resolve()
    if not file.is_file():
        hint = f"A folder is asked for its {FILE}." if target.is_dir() else "Name a Python file, or a folder."
        raise NotFound("file", str(file), hint=hint)
    module, found = import_file(file), dict[str, Definition | Expectations]()
    declared = [value for key, value in vars(module).items() if isinstance(value, _KINDS) and not key.startswith("_")]
    for each in declared:
        name = each.subject if isinstance(each, Expectations) else each.name
        if found.setdefault(name, each) != each:
            raise Invalid(f"{file} declares two different definitions called {name!r}. Rename one.")
    if not found:
        raise Invalid(f"{file} declares no feature views, on-demand views, services or expectations.")
    return list(found.values())
