"""A whole program, run again in this process: a script or a module, as the interpreter itself would start it.

A run that was written by hand is what a program said while it worked, so to make it again is to start the program
again. It sees its own name as ``__main__``, its arguments, and its folder first on the path. Where it says so itself
(``sys.exit``), its end counts as an interpreter's would. Preparing the place is left to ``stage``.
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Sequence
from pathlib import Path

from trivet.errors import Invalid, StepFailed

__all__ = ["PROGRAMS", "execute", "is_program"]

PROGRAMS = ("script", "module", "notebook")
"""Entries of runs by hand that can be started again; those of an interactive session left nothing to start."""


def is_program(kind: str) -> bool:
    """Whether the entry of a run of this kind is a process, and no function.

    Example:
        >>> is_program("experiment"), is_program("task")
        (True, False)
    """
    return kind == "experiment"


def execute(program: str, arguments: Sequence[str]) -> None:
    """Run ``script:FILE`` or ``module:NAME`` as ``__main__``.

    Raises:
        Invalid: ``program`` is neither.
        StepFailed: it left with an exit status other than 0.
    """
    kind, _, name = program.partition(":")
    before = sys.argv, list(sys.path)
    try:
        _start(kind, name, arguments)
    except SystemExit as exc:
        if exc.code not in (None, 0):
            raise StepFailed(f"The program left with exit status {exc.code!r}.") from exc
    finally:
        sys.argv, sys.path[:] = before


def _start(kind: str, name: str, arguments: Sequence[str]) -> None:
    if kind == "script":
        sys.argv = [name, *arguments]
        sys.path.insert(0, str(Path(name).parent))
        runpy.run_path(name, run_name="__main__")
    elif kind == "module":
        sys.argv = [name, *arguments]
        sys.path.insert(0, str(Path.cwd()))
        runpy.run_module(name, run_name="__main__", alter_sys=True)
    else:
        raise Invalid(f"{kind}:{name} is no program that can be started again. Scripts and modules are.")
