"""How a run is written down: when it begins, when it ends, and what it takes to execute it again.

``record`` runs a function of Trivet in this process and leaves the same record as a step that ran in a process of
its own (``execution``), so that one ``reproduce`` serves both. Invariant: a run is in the ledger as ``running``
before its function is called, and has ended there when it returns, raises or is interrupted; what was left
``running`` by a process that died is found by that process' id (``settle_abandoned``).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec

from trivet.clock import new_id
from trivet.ledger import Artifact, Metric, Recipe, Run, RunQuery, Status
from trivet.pipelines import values
from trivet.pipelines.capture import variables
from trivet.pipelines.code import capture_code
from trivet.pipelines.context import Context
from trivet.pipelines.entry import Entry, locate
from trivet.pipelines.environment import capture_environment
from trivet.pipelines.patch import begin_git_tags
from trivet.pipelines.task import Pipeline, Task
from trivet.pipelines.worker import active, call, sentence
from trivet.types import Json

__all__ = [
    "Provenance",
    "begin",
    "end",
    "is_alive",
    "process_tags",
    "project_folders",
    "provenance",
    "recipe_of",
    "record",
    "settle_abandoned",
    "variables",
]


@dataclass(frozen=True)
class Provenance:
    """The code and environment of this moment, recorded; ``facts`` are git's, with the patch, for the tags of a run."""

    folders: tuple[Path, ...]
    code: Artifact
    environment: Artifact
    facts: Mapping[str, str]

    def recipe(self, entry: str, *, seed: int, threads: int) -> Recipe:
        """What it takes to call ``entry`` again."""
        return Recipe(entry, self.code.digest, self.environment.digest, seed, threads, variables())


def provenance(context: Context, folders: tuple[Path, ...]) -> Provenance:
    """Capture and record the code in ``folders`` and the environment of this process."""
    facts = begin_git_tags(context, folders)
    code = capture_code(context, folders)
    return Provenance(folders, code, capture_environment(context), facts())


def project_folders(context: Context, entries: Iterable[Entry]) -> tuple[Path, ...]:
    """The project's folder and those that the entries are imported from; a folder inside another is not repeated."""
    folders = [context.root.resolve(), *(entry.folder for entry in entries if entry.folder is not None)]
    unique = list(dict.fromkeys(folders))
    return tuple(folder for folder in unique if not any(other in folder.parents for other in unique))


def recipe_of(context: Context, function: Callable[..., Any], *, threads: int) -> Recipe:
    """What it takes to call an importable function of this process again, for runs that are written later."""
    return _provenance_of_process(context).recipe(locate(function).text, seed=0, threads=threads)


def record(
    context: Context,
    kind: str,
    name: str,
    function: Callable[..., Any],
    *,
    inputs: Mapping[str, Artifact],
    parameters: Mapping[str, Json],
    parent: str | None = None,
    tags: Mapping[str, str] = {},
) -> tuple[Run, dict[str, Artifact], Any]:
    """Run an importable function in this process and record it like a task: the run, its outputs, the value itself.

    The inputs are loaded from the blobs and handed over by slot. What the function raises is recorded as the
    error of a failed run and raised again.

    Raises:
        Invalid: the function cannot be imported by a name, or returned a value of no known kind.
    """
    entry = locate(function, function.function if isinstance(function, (Task, Pipeline)) else None)
    known = _provenance_of_process(context)
    seed = parameters.get("seed")
    recipe = known.recipe(entry.text, seed=seed if isinstance(seed, int) else 0, threads=_threads())
    run = begin(
        context,
        kind=kind,
        name=name,
        parent=parent,
        recipe=recipe,
        inputs=inputs,
        parameters=parameters,
        tags={**known.facts, **tags},
    )
    try:
        loaded = {slot: values.load(artifact, context.blobs) for slot, artifact in inputs.items()}
        outputs, value, metrics = call(function, loaded, parameters, context)
    except BaseException as exc:
        status: Status = "killed" if isinstance(exc, KeyboardInterrupt) else "failed"
        end(context, run, status, error=sentence(exc))
        raise
    recipe = msgspec.structs.replace(recipe, active=active())
    return end(context, run, "finished", outputs=outputs, metrics=metrics, recipe=recipe), outputs, value


def begin(
    context: Context,
    *,
    kind: str,
    name: str,
    parent: str | None = None,
    recipe: Recipe | None = None,
    inputs: Mapping[str, Artifact] = {},
    parameters: Mapping[str, Json] = {},
    tags: Mapping[str, str] = {},
    key: str | None = None,
    key_parts: Mapping[str, str] = {},
) -> Run:
    """Write a run that begins now."""
    run = Run(
        id=new_id(context.clock),
        kind=kind,
        name=name,
        status="running",
        started=context.clock(),
        parent=parent,
        user=context.user,
        host=context.host,
        recipe=recipe,
        inputs={slot: artifact.digest for slot, artifact in inputs.items()},
        parameters=dict(parameters),
        tags={**process_tags(), **tags},
        key=key,
        key_parts=dict(key_parts),
    )
    context.ledger.write(run)
    return run


def end(
    context: Context,
    run: Run,
    status: Status,
    *,
    outputs: Mapping[str, Artifact] = {},
    metrics: Mapping[str, float] = {},
    artifacts: Iterable[Artifact] = (),
    error: str = "",
    recipe: Recipe | None = None,
    tags: Mapping[str, str] = {},
) -> Run:
    """Write that a run has ended, with all that it made, in one transaction."""
    now = context.clock()
    ended = msgspec.structs.replace(
        run,
        status=status,
        ended=now,
        outputs={slot: artifact.digest for slot, artifact in outputs.items()},
        metrics=dict(metrics),
        error=error,
        recipe=recipe or run.recipe,
        tags={**run.tags, **tags},
    )
    numbers = (Metric(run.id, name, 0, value, now) for name, value in metrics.items())
    context.ledger.write(*artifacts, ended, *numbers)
    return ended


def settle_abandoned(context: Context, *, kind: str, name: str) -> list[Run]:
    """Mark as killed the runs that a process of this host began and did not live to end, with their steps."""
    settled = []
    for run in context.ledger.runs(RunQuery(kind=kind, name=name, status="running")):
        if run.host != context.host or is_alive(run.tags):
            continue
        for child in (*context.ledger.runs(RunQuery(parent=run.id, status="running", limit=1000)), run):
            settled.append(end(context, child, "killed", error="The process that ran it died."))
    return settled


@lru_cache(maxsize=4)
def _provenance_of_process(context: Context) -> Provenance:
    return provenance(context, project_folders(context, ()))


def _threads() -> int:
    """How many threads the numeric libraries of this process were given."""
    given = os.environ.get("OMP_NUM_THREADS", "")
    if given.isdecimal() and int(given) > 0:
        return int(given)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def process_tags() -> dict[str, str]:
    """Tags by which ``is_alive`` knows this process again."""
    return {"pid": str(os.getpid()), "pid_started": _started(os.getpid())}


def is_alive(tags: Mapping[str, str]) -> bool:
    """Whether the process that wrote these tags lives; a later one with the same number is another."""
    pid = tags.get("pid", "")
    if not pid.isdecimal():
        return True  # nothing is known, so nothing is settled
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return _started(int(pid)) == tags.get("pid_started", "")


def _started(pid: int) -> str:
    """When a process started, in ticks since the machine did; empty where the system does not say (macOS)."""
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
        return "ended" if fields[0] in "ZX" else fields[19]
    return ""
