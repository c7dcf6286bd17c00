"""The runs that a program opened the second time, beside those that it opened the first time.

A program says nothing about which run is which, so runs are matched by their names and, of one name, by their order
within the same process; the children of a run likewise. What a run says in numbers is compared as one JSON value, all
points of all metrics. Left aside is what describes the machine and not the work: system metrics and logs.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

from trivet.clock import system_clock
from trivet.errors import Invalid
from trivet.ledger import Artifact, Blobs, Ledger, Run, RunQuery
from trivet.pipelines.values.json import JsonKind
from trivet.types import Digest

__all__ = ["METRICS", "all_runs", "as_outputs", "changed_inputs", "match", "same_process"]

METRICS = "metrics"
_PROCESS = ("trivet.pid", "trivet.host", "trivet.birth")
_OF_THE_MACHINE = ("system/", "system.")
_ASIDE = ("log", "console")


def all_runs(ledger: Ledger, **conditions: Any) -> Iterator[Run]:
    """Runs that fit, newest first, page by page."""
    before: str | None = None
    while page := ledger.runs(RunQuery(before=before, limit=1_000, **conditions)):
        yield from page
        before = page[-1].id


def same_process(ledger: Ledger, run: Run) -> list[Run]:
    """The runs of this name that the process of ``run`` opened at the same depth, oldest first, ``run`` included."""
    found = [
        one
        for one in all_runs(ledger, kind=run.kind, name=run.name)
        if one.id == run.id or (_process(one) == _process(run) and (one.parent is None) == (run.parent is None))
    ]
    return sorted(found, key=lambda one: one.id)


def match(run: Run, before: Sequence[Run], now: Sequence[Run]) -> Run:
    """The run that was opened now in the place of ``run``; ``before`` and ``now`` are oldest first.

    Raises:
        Invalid: the program opened fewer such runs this time, or it did not finish.
    """
    alike = [one for one in now if one.name == run.name and (one.parent is None) == (run.parent is None)]
    place = [one.id for one in before].index(run.id)
    if place >= len(alike):
        names = ", ".join(dict.fromkeys(repr(one.name) for one in now)) or "none"
        raise Invalid(
            f"The program opened {place + 1} runs called {run.name!r} then and {len(alike)} now, so there is nothing to "
            f"compare with. It opened: {names}."
        )
    if alike[place].status != "finished":
        raise Invalid(f"The run {run.name!r} finished then and is {alike[place].status} now: {alike[place].error}")
    return alike[place]


def as_outputs(ledger: Ledger, run: Run, blobs: Blobs, prefix: str = "") -> dict[str, Artifact | Digest]:
    """What a run and those beneath it left: outputs by slot as digests, and all metrics of each as one artifact.

    Example: ``{"model": "3f2a...", "metrics": Artifact(...), "fold 1/metrics": Artifact(...)}``.
    """
    found: dict[str, Artifact | Digest] = {}
    for slot, digest in run.outputs.items():
        if ledger.artifact(digest).kind not in _ASIDE:
            found[prefix + slot] = digest
    if points := _points(ledger, run):
        slot = METRICS if METRICS not in run.outputs else f"{METRICS} of the run"
        found[prefix + slot] = _stored(points, blobs)
    counts: dict[str, int] = {}
    for child in sorted(all_runs(ledger, parent=run.id, kind=run.kind), key=lambda one: one.id):
        counts[child.name] = number = counts.get(child.name, 0) + 1
        name = child.name if number == 1 else f"{child.name} ({number})"
        found |= as_outputs(ledger, child, blobs, f"{prefix}{name}/")
    return found


def changed_inputs(before: Run, now: Run) -> list[str]:
    """Sentences about inputs and parameters that are others than they were, which explains outputs that differ."""
    said = [
        f"the input {slot!r} was {digest[:12]} and is {now.inputs[slot][:12] if slot in now.inputs else 'not there'}."
        for slot, digest in before.inputs.items()
        if slot != "script" and now.inputs.get(slot) != digest
    ]
    return said + [
        f"the parameter {name!r} was {value!r} and is {now.parameters.get(name)!r}."
        for name, value in before.parameters.items()
        if now.parameters.get(name) != value
    ]


def _points(ledger: Ledger, run: Run) -> dict[str, list[list[Any]]]:
    found: dict[str, list[list[Any]]] = {}
    for point in ledger.metrics(run.id):
        if not point.name.startswith(_OF_THE_MACHINE):
            value = point.value if math.isfinite(point.value) else str(point.value)
            found.setdefault(point.name, []).append([point.step, value])
    return found


def _stored(value: Any, blobs: Blobs) -> Artifact:
    saved = JsonKind().save(value, blobs)
    return Artifact.of("json", saved.spec, saved.files, content=saved.content, created=system_clock())


def _process(run: Run) -> tuple[str | None, ...]:
    return tuple(run.tags.get(name) for name in _PROCESS)
