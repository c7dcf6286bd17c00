"""Portable texts become functions again: in any process, on any machine, with nothing of the project at hand.

The texts are executed in fresh namespaces that no ``import`` can find, and names that belong to another text are
linked in. Only the standard library is imported here, for this file is also the script that a clean process
(``python -I``) runs to see whether a function loads and can be called there: job in JSON in, answer in JSON out.
"""

from __future__ import annotations

import hashlib
import json
import linecache
import sys
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping, Sequence
from io import BytesIO
from types import ModuleType
from typing import Any

__all__ = ["load"]


def load(entry: str, modules: Sequence[Mapping[str, Any]]) -> Callable[..., Any]:
    r"""The function called ``entry`` of the first of ``modules``.

    Args:
        entry: its name.
        modules: each with its ``text`` and its ``links``: name to the place of a module and a name in it; an empty
            name links the module itself.

    Example:
        >>> one = {"text": "def f(x):\n    return g(x) + 1", "links": {"g": [1, "double"]}}
        >>> load("f", [one, {"text": "def double(x):\n    return 2 * x", "links": {}}])(3)
        7
    """
    # ``builtins``, because classes look their module up in ``sys.modules`` (dataclasses do), and this adds none
    made = [ModuleType("builtins") for _ in modules]
    for place in _in_order(modules):
        _link(made, place, modules[place]["links"])
        _execute(made[place], modules[place]["text"])
    for place, module in enumerate(modules):  # again, for modules that name one another
        _link(made, place, module["links"])
    function: Callable[..., Any] = getattr(made[0], entry)
    return function


def _in_order(modules: Sequence[Mapping[str, Any]]) -> Iterator[int]:
    """The places of the modules, each after those that it links to where there is no circle."""
    done: set[int] = set()

    def visit(place: int) -> Iterator[int]:
        if place not in done:
            done.add(place)
            for other, _ in modules[place]["links"].values():
                yield from visit(other)
            yield place

    for place in range(len(modules)):
        yield from visit(place)


def _link(made: Sequence[ModuleType], place: int, links: Mapping[str, Sequence[Any]]) -> None:
    for name, (other, target) in links.items():
        if not target:
            setattr(made[place], name, made[other])
        elif hasattr(made[other], target):
            setattr(made[place], name, getattr(made[other], target))


def _execute(module: ModuleType, text: str) -> None:
    name = f"<portable {hashlib.sha256(text.encode()).hexdigest()[:12]}>"
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)  # for the lines of tracebacks
    exec(compile(text, name, "exec", dont_inherit=True), module.__dict__)  # noqa: S102 - it is what the text is for


def _check(job: Mapping[str, Any]) -> dict[str, Any]:
    """Load, and call with the columns or frames of the job; what is answered, by name and kind."""
    function = load(job["entry"], job["modules"])
    if "columns" in job:
        import numpy as np

        answer = function(**{name: np.empty(0, dtype) for name, dtype in job["columns"].items()})
        return {name: np.asarray(values).dtype.kind for name, values in answer.items()}
    if "frames" in job:
        import narwhals as nw
        import polars as pl

        frames = {name: pl.read_ipc(BytesIO(b64decode(data))).lazy() for name, data in job["frames"].items()}
        answer = function(**{name: nw.from_native(frame) for name, frame in frames.items()})
        return dict.fromkeys(answer.collect_schema().names(), "")
    return {}


def _main() -> int:
    try:
        answer: dict[str, Any] = {"answer": _check(json.load(sys.stdin))}
    except Exception as exc:  # noqa: BLE001 - a person's function may raise anything, and all of it is the answer
        answer = {"error": f"{type(exc).__name__}: {exc}"}
    sys.stdout.write("\n" + json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(_main())
