"""Where a run came from: the code and environment of this process, captured beside it, and what was started.

Capturing may take seconds, so a thread does it while the run works; runs opened inside one another share it.
``entry`` says what would have to be started again: ``script:train.py``, ``module:package.train``, ``notebook:`` or
``interactive:``. A capture that fails never stops a run: the sentence is logged and kept as a tag.
"""

from __future__ import annotations

import logging
import shlex
import sys
import threading
from pathlib import Path
from typing import Any

from trivet.errors import TrivetError
from trivet.ledger import Recipe
from trivet.pipelines.context import Context

__all__ = ["Provenance", "arguments", "cells", "entry", "folders"]

FAILED = "trivet.capture"
ARGUMENTS = "trivet.arguments"

_log = logging.getLogger(__name__)


class Provenance:
    """A capture under way. ``recipe`` waits for it."""

    def __init__(self, context: Context) -> None:
        self.entry = entry(context.root)
        self.failure = ""
        self._recipe: Recipe | None = None
        self._thread = threading.Thread(target=self._capture, args=(context,), name="trivet capture", daemon=True)
        self._thread.start()

    @property
    def recipe(self) -> Recipe | None:
        """What was captured, or None where that failed (then ``failure`` is the sentence)."""
        self._thread.join()
        return self._recipe

    def _capture(self, context: Context) -> None:
        from trivet.pipelines.code import capture_code
        from trivet.pipelines.environment import capture_environment

        try:
            code = capture_code(context, folders(context.root))
            environment = capture_environment(context)
            self._recipe = Recipe(entry=self.entry, code=code.digest, environment=environment.digest)
        except (TrivetError, OSError) as exc:
            self.failure = str(exc)
            _log.warning("The code and environment of a run could not be recorded: %s", exc)


def entry(root: Path) -> str:
    """What this process runs, in the words of ``Recipe.entry``; paths are relative to ``root`` where they can be."""
    main = sys.modules.get("__main__")
    if _shell() is not None:
        return "notebook:"
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name:
        return f"module:{spec.name.removesuffix('.__main__')}"
    script = getattr(main, "__file__", None)
    if not script:
        return "interactive:"
    path = Path(script).resolve()
    return f"script:{path.relative_to(root.resolve()) if path.is_relative_to(root.resolve()) else path}"


def folders(root: Path) -> list[Path]:
    """Where the code of this process lives: the project, and the script's folder where it is elsewhere."""
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    beside = Path(script).resolve().parent if script and entry(root).startswith("script:") else root.resolve()
    return [root.resolve()] if beside.is_relative_to(root.resolve()) else [root.resolve(), beside]


def arguments() -> str:
    """The arguments of this process as a shell would take them; none in a notebook, whose kernel's mean nothing."""
    return "" if _shell() is not None else shlex.join(sys.argv[1:])


def cells() -> str | None:
    """The source of every notebook cell executed so far, in order, or None outside IPython."""
    shell = _shell()
    if shell is None:
        return None
    sources = list(shell.user_ns.get("In", []))
    return "\n\n".join(f"# In [{number}]\n{text}" for number, text in enumerate(sources) if text.strip()) + "\n"


def _shell() -> Any:
    """IPython's shell where one is running; IPython is never imported for this."""
    ipython = sys.modules.get("IPython")
    return ipython.get_ipython() if ipython is not None and hasattr(ipython, "get_ipython") else None
