"""Where a run came from: the code and environment of this process, captured beside it, and what was started.

Capturing may take seconds, so a thread does it while the run works; runs opened inside one another share it. The code
is the project's folder; what lies outside it (a notebook's cells, a script elsewhere) is kept as a file beside it.
``entry`` says what would have to be started again: ``script:train.py``, ``module:package.train``, an installed
``program:pytest``, ``notebook:`` or ``interactive:``; its variables are those of an allow-list
(``trivet.pipelines.capture``), because nobody set them for it. A capture that fails never stops a run: the sentence is logged
and kept as a tag.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from trivet.errors import TrivetError
from trivet.ledger import Recipe
from trivet.pipelines.capture import SETTINGS, VARIABLES, shown_arguments, variables
from trivet.pipelines.code import capture_code
from trivet.pipelines.context import Context
from trivet.pipelines.environment import active, capture_environment
from trivet.pipelines.patch import begin_git_tags
from trivet.pipelines.stage import ARGUMENTS, FOLDER, PLACE

__all__ = ["ARGUMENTS", "FOLDER", "PLACE", "Provenance", "arguments", "entry", "loose_source", "place_in"]

FAILED = "trivet.capture"
ATTEMPTS = 3  # a file that goes away while it is read is no reason to give up

_log = logging.getLogger(__name__)


class Provenance:
    """A capture under way. ``recipe`` and ``tags`` wait for it."""

    def __init__(self, context: Context) -> None:
        self._entry = entry(context.root)
        self._variables = variables((*VARIABLES, *SETTINGS, *context.settings.pipelines.variables.split()))
        self._folder = _folder(context.root)
        self._recipe: Recipe | None = None
        self._tags: dict[str, str] = {}
        self._thread = threading.Thread(target=self._capture, args=(context,), name="trivet capture", daemon=True)
        self._thread.start()

    def recipe(self) -> Recipe | None:
        """What was captured at the start with the numeric libraries that are active now, or None if that failed."""
        self._thread.join()
        if self._recipe is None:
            return None
        found = active()
        threads = max((library["num_threads"] for library in found["libraries"]), default=1)
        hashes = {"hash_seed": os.environ.get("PYTHONHASHSEED", "random")}
        return replace(self._recipe, active=found | _interpreter() | hashes, threads=threads)

    def tags(self) -> dict[str, str]:
        """What git said at the start, with the patch of what was not committed, and the sentence of a capture that failed."""
        self._thread.join()
        return self._tags

    def _capture(self, context: Context) -> None:
        for attempt in range(ATTEMPTS):
            try:
                tags = begin_git_tags(context, [context.root])
                code = capture_code(context, [context.root])
                environment = capture_environment(context)
                self._recipe = Recipe(self._entry, code.digest, environment.digest, variables=self._variables)
                self._tags = tags() | self._folder
                return
            except (TrivetError, OSError) as exc:
                if attempt == ATTEMPTS - 1 or isinstance(exc, TrivetError):
                    self._tags = {FAILED: str(exc)}
                    _log.warning("The code and environment of a run could not be recorded: %s", exc)
                    return


def entry(root: Path) -> str:
    """What this process runs, in the words of ``Recipe.entry``; paths are relative to ``root`` where they can be."""
    main = sys.modules.get("__main__")
    if _shell() is not None:
        return "notebook:"
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name:
        return f"module:{spec.name.removesuffix('.__main__')}"
    script = _script()
    if script is None:
        return "interactive:"
    if script.is_relative_to(Path(sys.prefix).resolve()):
        return f"program:{script.stem}"
    place = script.relative_to(root.resolve()) if script.is_relative_to(root.resolve()) else script
    return f"script:{place.as_posix()}"


def arguments() -> str:
    """The arguments of this process as a shell takes them, without secrets; a notebook's kernel has none that matter."""
    return "" if _shell() is not None else shown_arguments(sys.argv[1:])


def loose_source(root: Path) -> tuple[str, bytes] | None:
    """What this process runs that the archive of the project does not hold: a file's name and content.

    In IPython the source of every cell executed so far, in order; else a script that lies outside the project.
    """
    if (shell := _shell()) is not None:
        cells = enumerate(shell.user_ns.get("In", []))
        text = "\n\n".join(f"# In [{number}]\n{source}" for number, source in cells if source.strip())
        return "cells.py", f"{text}\n".encode("utf-8", "replace")
    script = _script()
    outside = script is not None and entry(root).startswith("script:") and not script.is_relative_to(root.resolve())
    return (script.name, script.read_bytes()) if script is not None and outside else None


def place_in(root: Path, path: Path) -> str | None:
    """Where in the project a file or folder lies, None outside of it."""
    found, root = path.resolve(), root.resolve()
    return found.relative_to(root).as_posix() if root in found.parents else None


def _folder(root: Path) -> dict[str, str]:
    """Where in the project this process works, as a tag; nothing at its top or outside of it."""
    here, root = Path.cwd(), root.resolve()
    return {FOLDER: here.relative_to(root).as_posix()} if root in here.parents else {}


def _interpreter() -> dict[str, str]:
    return {"python": ".".join(map(str, sys.version_info[:3])), "platform": sys.platform}


def _script() -> Path | None:
    """The file that this process was started with; text from a pipe or ``-c`` is none."""
    path = Path(getattr(sys.modules.get("__main__"), "__file__", None) or "").resolve()
    return path if path.is_file() else None


def _shell() -> Any:
    """IPython's shell where one is running; IPython is never imported for this."""
    ipython = sys.modules.get("IPython")
    return ipython.get_ipython() if ipython is not None and hasattr(ipython, "get_ipython") else None
