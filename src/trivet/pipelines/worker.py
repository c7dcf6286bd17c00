"""The process in which a function runs: ``python -m trivet.pipelines.worker FOLDER``.

It reads ``job.json``, imports the function, loads its inputs, calls it, saves what it returns into the blobs and
leaves ``outcome.json``, written under another name and renamed. The ledger is the caller's: a worker only writes
blobs. Starting must cost little, so no heavy library is imported here; the caller has set the environment
(``runners.local``). Invariant: the same job in the same environment makes the same outputs, whoever asks.
"""

from __future__ import annotations

import errno
import os
import random
import sys
import threading
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from trivet.clock import system_clock
from trivet.config import Blobs, Settings
from trivet.errors import Invalid, TrivetError
from trivet.ledger import Artifact
from trivet.pipelines import values
from trivet.pipelines.context import Context
from trivet.pipelines.entry import resolve
from trivet.pipelines.graph import RESULT
from trivet.pipelines.program import execute
from trivet.pipelines.runners.contract import Job, Outcome
from trivet.pipelines.task import Task
from trivet.plugins import open_url

__all__ = ["active", "call", "main", "numbers", "perform"]

JOB, OUTCOME = "job.json", "outcome.json"
_NUMERIC = ("numpy", "torch", "scipy", "sklearn")


def main(folder: Path) -> int:
    """Perform the job in ``folder`` and answer the exit status."""
    _die_with_parent()
    job = msgspec.json.decode((folder / JOB).read_bytes(), type=Job)
    outcome = perform(job)
    sys.stdout.flush()
    partial = folder / f"{OUTCOME}.partial"
    partial.write_bytes(msgspec.json.encode(outcome))
    partial.replace(folder / OUTCOME)
    return 0


def perform(job: Job) -> Outcome:
    """Do what ``job`` says in this process; whatever the function raises becomes an outcome."""
    context = _context(job)
    try:
        if job.program:
            execute(job.program, job.arguments)
            return Outcome(status="finished", active=active())
        function = resolve(job.entry)
        inputs = {slot: values.load(artifact, context.blobs) for slot, artifact in job.inputs.items()}
        _seed(job.seed)
        outputs, _, metrics = call(function, inputs, job.parameters, context)
    except BaseException as exc:  # noqa: BLE001 - a task may raise anything, sys.exit included, and all of it is its outcome
        _print_traceback(exc)
        return Outcome(status="failed", error=sentence(exc), active=active())
    given = {artifact.digest for artifact in job.inputs.values()}
    made = [artifact for artifact in context.ledger.artifacts(limit=sys.maxsize) if artifact.digest not in given]
    return Outcome(status="finished", outputs=outputs, artifacts=made, metrics=metrics, active=active())


def call(
    function: Callable[..., Any], inputs: Mapping[str, Any], parameters: Mapping[str, Any], context: Context
) -> tuple[dict[str, Artifact], Any, dict[str, float]]:
    """Call ``function`` with values and save what it returns: (artifacts by slot, the value itself, metrics).

    Raises:
        Invalid: the function declares outputs and returned something else, or a value of no known kind.
    """
    slots = function.outputs if isinstance(function, Task) else None
    plain = function.function if isinstance(function, Task) else function
    value = plain(**grouped(inputs), **parameters)
    by_slot = _by_slot(value, slots, plain.__name__)
    outputs = {slot: values.save(item, context) for slot, item in by_slot.items()}
    metrics: dict[str, float] = {}
    for slot, artifact in outputs.items():
        if artifact.kind == "json":
            metrics |= numbers(by_slot[slot])
    return outputs, value, metrics


def grouped(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Slots with a dot as one dict each.

    Example:
        >>> grouped({"spine": 1, "sources.flights": 2, "sources.weather": 3})
        {'spine': 1, 'sources': {'flights': 2, 'weather': 3}}
    """
    arguments: dict[str, Any] = {}
    for slot, value in inputs.items():
        name, dot, key = slot.partition(".")
        if dot:
            arguments.setdefault(name, {})[key] = value
        else:
            arguments[name] = value
    return arguments


def numbers(value: object) -> dict[str, float]:
    """A flat dict of finite numbers as metrics; anything else has none.

    Example:
        >>> numbers({"auc": 0.7, "rows": 10}), numbers({"auc": 0.7, "by": {}}), numbers([1])
        ({'auc': 0.7, 'rows': 10.0}, {}, {})
    """
    if not isinstance(value, dict) or not all(
        isinstance(key, str) and isinstance(item, (int, float)) and not isinstance(item, bool)
        for key, item in value.items()
    ):
        return {}
    return {key: float(item) for key, item in value.items() if abs(item) < float("inf")}


def active() -> dict[str, Any]:
    """The interpreter, and the numeric libraries that are loaded as they are in force."""
    found: dict[str, Any] = {"python": ".".join(map(str, sys.version_info[:3])), "platform": sys.platform}
    if any(name in sys.modules for name in _NUMERIC):
        from trivet.pipelines import environment

        found |= environment.active()
    return found


def sentence(exc: BaseException) -> str:
    """What went wrong, for someone who will not read the traceback."""
    if out_of_space(exc):
        return "The disk is full. Free some space and run it again: finished steps are kept."
    if isinstance(exc, MemoryError):
        return "The memory is used up. Give it less data at a time, or run fewer steps at once ([pipelines] workers)."
    if isinstance(exc, SystemExit):
        return f"It ended its process by sys.exit({exc.code!r}). Return a value or raise an error instead."
    if isinstance(exc, TrivetError):
        return str(exc)
    return "".join(traceback.format_exception_only(exc)).strip()


def out_of_space(exc: BaseException | None) -> bool:
    """Whether a full disk is at the bottom of it."""
    while exc is not None:
        if isinstance(exc, OSError) and exc.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        exc = exc.__cause__ or exc.__context__
    return False


def _by_slot(value: Any, slots: tuple[str, ...] | None, name: str) -> dict[str, Any]:
    if slots is None:
        return {RESULT: value}
    if not isinstance(value, (tuple, list)) or len(value) != len(slots):
        count = f" of {len(value)}" if isinstance(value, (tuple, list)) else ""
        raise Invalid(
            f"The task {name!r} declares the outputs {', '.join(slots)} and returned a {type(value).__name__}{count}. "
            f"Return a tuple of {len(slots)}."
        )
    return dict(zip(slots, value, strict=True))


def _context(job: Job) -> Context:
    """A context like the caller's, but with a ledger that lasts as long as this process."""
    root = Path(job.root)
    ledger = open_url("ledger", "memory:", root)
    ledger.write(*job.inputs.values())
    settings = Settings(root=root, blobs=Blobs(url=job.blobs))
    return Context(root, settings, ledger, open_url("blobs", job.blobs, root), system_clock, "", "")


def _seed(seed: int) -> None:
    random.seed(seed)
    if "numpy" in sys.modules:
        import numpy as np

        np.random.seed(seed % 2**32)


def _print_traceback(exc: BaseException) -> None:
    """The task's own frames only: those of this file say nothing to its author."""
    frames = exc.__traceback__
    while frames is not None and frames.tb_next is not None and frames.tb_frame.f_code.co_filename == __file__:
        frames = frames.tb_next
    traceback.print_exception(exc.with_traceback(frames))


def _die_with_parent() -> None:
    """End when the caller ends, even by ``kill -9``: standard input is a pipe that only it holds open."""
    guard = os.dup(0)
    with open(os.devnull, "rb") as nothing:  # noqa: PTH123 - a task that reads standard input reads an empty one
        os.dup2(nothing.fileno(), 0)

    def wait() -> None:
        if not os.read(guard, 1):
            os._exit(1)

    threading.Thread(target=wait, daemon=True, name="trivet-parent").start()


if __name__ == "__main__":
    from trivet.pipelines import worker  # noqa: PLW0406 - under its own name, so that its frames and state exist once

    sys.exit(worker.main(Path(sys.argv[1])))
