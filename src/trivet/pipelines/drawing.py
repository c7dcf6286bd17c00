"""What a restored place is asked besides its own code: the steps of a pipeline, and the answers of a model.

This file travels. ``trivet.pipelines.transplant`` puts a copy of it beside the restored code, because the Trivet in
a restored environment may be older than the question. So it uses only what every Trivet has had: tasks, pipelines,
values and entries. Invariant: nothing is executed of a pipeline whose steps are asked for.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from trivet.clock import system_clock
from trivet.config import Blobs, Settings
from trivet.ledger import Artifact
from trivet.pipelines import values
from trivet.pipelines.context import Context
from trivet.pipelines.entry import resolve
from trivet.pipelines.graph import Handle
from trivet.pipelines.task import Pipeline
from trivet.plugins import open_url

__all__ = ["answers", "draw"]


def draw(pipeline: str, arguments: dict[str, Any], artifacts: dict[str, Any], blobs: str, root: str) -> dict[str, Any]:
    """The steps of the pipeline at an entry, in order, and what it returns, as JSON values.

    Args:
        pipeline: the entry.
        arguments: JSON values by name.
        artifacts: of the arguments that are artifacts, these as JSON values; ``sources.flights`` is a part of one.
        blobs: the URL of the blobs that take values which the pipeline's own code hands to a step.
        root: the folder of the place.
    """
    found = resolve(pipeline)
    if not isinstance(found, Pipeline):
        raise TypeError(f"{pipeline} is no pipeline but {type(found).__name__}.")
    given = {slot: msgspec.convert(plain, Artifact, strict=False) for slot, plain in artifacts.items()}
    graph = found.trace(**arguments, **_grouped(given))
    context = _context(blobs, Path(root))
    return {
        "steps": [_step(step, context) for step in graph.steps.values()],
        "outputs": {slot: [handle.step, handle.slot] for slot, handle in graph.outputs.items()},
    }


def answers(model: Any, data: Any) -> dict[str, Any]:
    """What a model answers for the rows of ``data``: the chance of its last class, of each, or a number or a label."""
    import numpy as np

    if hasattr(model.estimator, "predict_proba"):
        chances = np.asarray(model.predict_proba(data), dtype=float)
        if chances.ndim == 2 and chances.shape[1] == 2:
            return {"values": chances[:, 1].tolist()}
        return {"values": chances.tolist()}
    found = np.asarray(model.predict(data))
    return {"values": found.tolist() if np.issubdtype(found.dtype, np.number) else [str(each) for each in found]}


def _context(blobs: str, root: Path) -> Context:
    """As the caller's, with a ledger that lasts as long as this process."""
    settings, ledger = Settings(root=root, blobs=Blobs(url=blobs)), open_url("ledger", "memory:", root)
    return Context(root, settings, ledger, open_url("blobs", blobs, root), system_clock, "", "")


def _step(step: Any, context: Context) -> dict[str, Any]:
    return {
        "name": step.name,
        "entry": step.task.entry.text,
        "inputs": {slot: _input(value, context) for slot, value in step.inputs.items()},
        "parameters": step.parameters,
        "seed": step.seed,
        "threads": step.task.threads,
        "outputs": None if step.task.outputs is None else list(step.task.outputs),
    }


def _input(value: Any, context: Context) -> dict[str, Any]:
    if isinstance(value, Handle):
        return {"step": value.step, "slot": value.slot}
    artifact = value if isinstance(value, Artifact) else values.save(value, context)
    return {"artifact": msgspec.to_builtins(artifact)}


def _grouped(given: dict[str, Artifact]) -> dict[str, Any]:
    arguments: dict[str, Any] = {}
    for slot, artifact in given.items():
        name, dot, key = slot.partition(".")
        if dot:
            arguments.setdefault(name, {})[key] = artifact
        else:
            arguments[name] = artifact
    return arguments
