"""Where a thing came from and what became of it: pure questions over the inputs and outputs of runs.

Nothing is stored for lineage. A run that took an artifact in and gave another out is the edge between the two;
these functions follow such edges one generation at a time. Each artifact is asked about once, so circles (an
artifact that is made again from its own descendants) end. An artifact may have several producers, because a
cached run answers with the outputs of an earlier one: all are shown, runs in the bin too: what came of them came of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal, NamedTuple, Protocol, TypeAlias

import msgspec

from trivet.errors import Invalid
from trivet.ledger.queries import RunQuery
from trivet.ledger.records import Run
from trivet.types import Digest

__all__ = ["Edge", "Hop", "Lineage", "Runs", "ancestors", "descendants", "path"]

_PAGE = 1_000


class Runs(Protocol):
    """All that lineage needs of a ledger."""

    def runs(self, query: RunQuery = ...) -> Sequence[Run]:
        """The runs that fit, newest first."""
        ...


class Edge(NamedTuple):
    """An artifact in a slot of a run."""

    run: str
    direction: Literal["input", "output"]
    slot: str
    digest: Digest


class Hop(NamedTuple):
    """One step of a path: ``run`` took ``source`` in at ``input`` and gave ``target`` out at ``output``."""

    source: Digest
    input: str
    run: Run
    output: str
    target: Digest


class Lineage(msgspec.Struct, frozen=True):
    """A graph of artifacts and runs, in a stable order.

    Attributes:
        origin: the artifact that was asked about, or the id of the run.
        artifacts: all artifacts by distance (an origin that is one comes first), then by digest.
        runs: all runs between them, oldest first.
        edges: which artifact stood in which slot of which run, by run, direction and slot; only artifacts of
            this graph.
    """

    origin: Digest | str
    artifacts: tuple[Digest, ...]
    runs: tuple[Run, ...]
    edges: tuple[Edge, ...]

    def producers(self, digest: Digest) -> tuple[Run, ...]:
        """The runs of this graph that gave ``digest`` out, the first one that really ran in front."""
        return _first_in_front(run for run in self.runs if digest in run.outputs.values())

    def consumers(self, digest: Digest) -> tuple[Run, ...]:
        """The runs of this graph that took ``digest`` in, oldest first."""
        return tuple(run for run in self.runs if digest in run.inputs.values())


_Step: TypeAlias = Callable[[Digest], Iterable[Run]]


def ancestors(ledger: Runs, start: Digest | Run, depth: int | None = None) -> Lineage:
    """Everything that an artifact or one run was made from, through at most ``depth`` generations of runs.

    A run itself is the first generation.

    Raises:
        Invalid: ``depth`` is negative.
    """
    return _explore(start, depth, lambda one: _all(ledger, output=one), lambda run: run.inputs.values())


def descendants(ledger: Runs, digest: Digest, depth: int | None = None) -> Lineage:
    """Everything that was made from ``digest``, through at most ``depth`` generations of runs.

    Raises:
        Invalid: ``depth`` is negative.
    """
    return _explore(digest, depth, lambda one: _all(ledger, input=one), lambda run: run.outputs.values())


def path(ledger: Runs, a: Digest, b: Digest) -> tuple[Hop, ...] | None:
    """A shortest way from artifact ``a`` to artifact ``b``, or None where there is none.

    The way goes through the first producer of each artifact, if there is such a way; otherwise through any.
    """
    return _walk_back(a, b, lambda one: _producers(ledger, one)[:1]) or _walk_back(
        a, b, lambda one: _producers(ledger, one)
    )


def _explore(
    start: Digest | Run, depth: int | None, touching: _Step, beyond: Callable[[Run], Iterable[Digest]]
) -> Lineage:
    if depth is not None and depth < 0:
        raise Invalid(f"A depth of {depth} makes no sense. Ask for 0 or more generations, or for all with None.")
    artifacts: dict[Digest, None] = {} if isinstance(start, Run) else {start: None}  # which keeps its order
    runs: dict[str, Run] = {}
    found = {start.id: start} if isinstance(start, Run) else _touching(artifacts, touching)
    while found and depth != 0:
        runs |= found
        front = sorted({digest for run in found.values() for digest in beyond(run)} - artifacts.keys())
        artifacts |= dict.fromkeys(front)
        found = _touching(front, touching)
        depth = None if depth is None else depth - 1
    ordered = tuple(runs[id_] for id_ in sorted(runs))
    edges = (edge for run in ordered for edge in _edges(run) if edge.digest in artifacts)
    return Lineage(start.id if isinstance(start, Run) else start, tuple(artifacts), ordered, tuple(edges))


def _touching(front: Iterable[Digest], touching: _Step) -> dict[str, Run]:
    return {run.id: run for digest in front for run in touching(digest)}


def _walk_back(a: Digest, b: Digest, producers: Callable[[Digest], Sequence[Run]]) -> tuple[Hop, ...] | None:
    ways: dict[Digest, tuple[Hop, ...]] = {b: ()}
    front = [b]
    while front and a not in ways:
        reached: list[Digest] = []
        for target in front:
            for hop in _hops(producers(target), target):
                if hop.source not in ways:
                    ways[hop.source] = (hop, *ways[target])
                    reached.append(hop.source)
        front = reached
    return ways.get(a)


def _hops(producers: Iterable[Run], target: Digest) -> Iterator[Hop]:
    for run in producers:
        output = min(slot for slot, digest in run.outputs.items() if digest == target)
        for slot, source in sorted(run.inputs.items()):
            yield Hop(source, slot, run, output, target)


def _edges(run: Run) -> Iterator[Edge]:
    for slot, digest in sorted(run.inputs.items()):
        yield Edge(run.id, "input", slot, digest)
    for slot, digest in sorted(run.outputs.items()):
        yield Edge(run.id, "output", slot, digest)


def _producers(ledger: Runs, digest: Digest) -> tuple[Run, ...]:
    return _first_in_front(_all(ledger, output=digest))


def _first_in_front(runs: Iterable[Run]) -> tuple[Run, ...]:
    # A cached run only repeats the answer of one that ran, so it comes after all that did.
    return tuple(sorted(runs, key=lambda run: (run.status == "cached", run.id)))


def _all(ledger: Runs, *, input: Digest | None = None, output: Digest | None = None) -> Iterator[Run]:  # noqa: A002
    before: str | None = None
    while page := ledger.runs(RunQuery(input=input, output=output, before=before, limit=_PAGE, deleted="both")):
        yield from page
        if len(page) < _PAGE:
            return
        before = page[-1].id
