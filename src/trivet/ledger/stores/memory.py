"""A ledger in dictionaries, for tests, notebooks and dry runs; gone with the process.

It keeps the same rows as the databases do, so a record comes back from it exactly as from them and never
changes under the hands of whoever holds one. One lock makes every verb a transaction.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable, Sequence
from functools import cmp_to_key
from math import isnan
from pathlib import Path
from typing import Any, TypeVar

from trivet.clock import Clock, system_clock
from trivet.errors import Conflict, Invalid, NotFound
from trivet.ledger.conditions import Linked, holds
from trivet.ledger.contract import Ledger
from trivet.ledger.naming import is_version
from trivet.ledger.queries import Place, RunQuery, check_query, compare, place_of, stand
from trivet.ledger.records import Artifact, Metric, Pointer, Redaction, Removal, Run, Summary
from trivet.ledger.stores import rows
from trivet.ledger.stores.finding import SHORTEST, the_only
from trivet.ledger.stores.pointing import Asked, Standing, settle
from trivet.ledger.stores.removing import check_removable
from trivet.types import Digest

__all__ = ["MemoryStore", "open_store"]

T = TypeVar("T")


def open_store(url: str, root: Path) -> Ledger:  # noqa: ARG001 - the signature of every opener
    """A new, empty ledger."""
    return MemoryStore()


class MemoryStore:
    """See ``trivet.ledger.contract.Ledger``."""

    def __init__(self, clock: Clock = system_clock) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        self._artifacts: dict[Digest, rows.Cells] = {}
        self._runs: dict[str, rows.Cells] = {}
        self._latest: dict[str, dict[str, float]] = {}
        self._metrics: dict[str, dict[tuple[str, int, int], rows.Cells]] = {}
        self._pointers: list[Pointer] = []

    def write(self, *records: Artifact | Run | Metric | Redaction | Removal) -> None:
        """Record all of these or none of them."""
        with self._lock:
            artifacts = [rows.artifact_row(record) for record in records if isinstance(record, Artifact)]
            runs = [(record, rows.run_row(record)) for record in records if isinstance(record, Run)]
            metrics = [rows.metric_row(record) for record in records if isinstance(record, Metric)]
            removals = [record for record in records if isinstance(record, Removal)]
            for run, _ in runs:
                list(rows.edge_rows(run))  # nothing is stored here, but what cannot be stored is refused
            self._check(runs, metrics)
            if removals:
                self._check_removals([run for run, _ in runs], removals)
            for artifact in artifacts:
                self._artifacts.setdefault(artifact["digest"], artifact)
            for run, row in runs:
                self._runs[run.id] = row
                self._latest[run.id] = {name: float(value) for name, value in run.metrics.items()}
            for metric in metrics:
                self._record(metric)
            for one in records:
                if isinstance(one, Redaction) and one.artifact in self._artifacts:
                    self._artifacts[one.artifact] = {**self._artifacts[one.artifact], "spec": rows.spec_cell(one.spec)}
            for removal in removals:
                for kept in (self._runs, self._latest, self._metrics):
                    kept.pop(removal.run or "", None)
                self._artifacts.pop(removal.artifact or "", None)

    def artifact(self, digest: Digest) -> Artifact:
        """The artifact with this digest, or with the only one that starts so."""
        with self._lock:
            found = the_only("artifact", digest, _starting(digest, self._artifacts))
            return rows.read_artifact(self._artifacts[found])

    def artifacts(self, *, kind: str | None = None, limit: int = 100) -> Sequence[Artifact]:
        """The newest artifacts, newest first."""
        with self._lock:
            fitting = [row for row in self._artifacts.values() if kind in (None, row["kind"])]
            fitting.sort(key=lambda row: (row["created"], row["digest"]), reverse=True)
            return [rows.read_artifact(row) for row in _first(fitting, limit)]

    def run(self, id: str) -> Run:  # noqa: A002
        """The run with this id, or with the only one that starts so."""
        with self._lock:
            return self._read_run(the_only("run", id, _starting(id, self._runs)))

    def runs(self, query: RunQuery = RunQuery()) -> Sequence[Run]:  # noqa: B008 - frozen
        """The runs that fit, in the order that is asked for."""
        check_query(query)
        after = place_of(query)
        with self._lock:
            found = [(stand(run, query.order, kept), run) for run, kept in self._fitting(query)]
        found = [one for one in found if after is None or compare(one[0], after, query.order) > 0]

        def by_place(one: tuple[Place, Run], other: tuple[Place, Run]) -> int:
            return compare(one[0], other[0], query.order)

        return [run for _, run in sorted(found, key=cmp_to_key(by_place))[: query.limit]]

    def count(self, query: RunQuery = RunQuery()) -> int:  # noqa: B008 - frozen
        """How many runs fit, whatever the limit, the order and the page."""
        check_query(query)
        with self._lock:
            return len(self._fitting(query))

    def metrics(self, run: str, name: str | None = None, *, summary: bool = False) -> Any:
        """The recorded numbers of a run by name, then step, then time; or their summaries."""
        with self._lock:
            if summary:
                kept = self._summaries(run)
                return [kept[one] for one in sorted(kept) if name in (None, one)]
            recorded = sorted(self._metrics.get(run, {}).items())
            return [rows.read_metric(row) for key, row in recorded if name in (None, key[0])]

    def point(
        self,
        name: str,
        label: str | None,
        digest: Digest | None,
        *,
        by: str,
        why: str = "",
        expect: Digest | None = None,
    ) -> Pointer:
        """Put a label of ``name`` on an artifact."""
        asked = Asked(name, label, digest, by, why, expect)
        with self._lock:
            standing = self._standing(asked)
            pointer = settle(asked, standing, self._clock())
            if pointer not in (standing.pointer, standing.version):
                pointer = rows.read_pointer(rows.pointer_row(pointer))
                self._pointers.append(pointer)
            return pointer

    def pointers(
        self, *, name: str | None = None, digest: Digest | None = None, history: bool = False
    ) -> Sequence[Pointer]:
        """Where labels point now, or ever pointed."""
        with self._lock:
            found = self._pointers if history else self._standing_pointers()
            fitting = [one for one in found if _is_called(one.name, name) and digest in (None, one.digest)]
            return sorted(fitting, key=lambda one: one.name)  # stable: within a name the order of pointing

    def close(self) -> None:
        """Nothing is open."""

    def _check(self, runs: Sequence[tuple[Run, rows.Cells]], metrics: Sequence[rows.Cells]) -> None:
        statuses = {id_: row["status"] for id_, row in self._runs.items()}
        for run, _ in runs:
            if run.status == "running" and statuses.get(run.id, "running") != "running":
                raise Conflict(f"Run {run.id} is {statuses[run.id]} and never runs again. Start a new run.")
            statuses[run.id] = run.status
        for metric in metrics:
            if metric["run"] not in statuses:
                raise NotFound("run", metric["run"], hint=f"Metric {metric['name']!r} has nowhere to go.")

    def _check_removals(self, written: Sequence[Run], removals: Sequence[Removal]) -> None:
        gone = {removal.run for removal in removals}
        kept = {id_: self._read_run(id_) for id_ in self._runs} | {run.id: run for run in written}
        left = sorted((run for run in kept.values() if run.id not in gone), key=lambda run: run.id, reverse=True)
        linked = {digest: run.id for run in left for digest in _artifacts_of(run)}
        named = {one.digest: one.name for one in sorted(self._pointers, key=lambda one: one.name, reverse=True)}
        for removal in removals:
            if removal.artifact is not None:
                check_removable(removal.artifact, linked.get(removal.artifact), named.get(removal.artifact))

    def _record(self, metric: rows.Cells) -> None:
        name, step, at = metric["name"], metric["step"], metric["at"]
        recorded = self._metrics.setdefault(metric["run"], {})
        recorded[name, step, at] = metric
        if (step, at) >= max(other[1:] for other in recorded if other[0] == name):
            self._latest[metric["run"]][name] = metric["value"]

    def _read_run(self, id_: str, *, slim: bool = False) -> Run:
        return rows.read_run(self._runs[id_], dict(self._latest[id_]), slim=slim)

    def _fitting(self, query: RunQuery) -> list[tuple[Run, dict[str, Summary]]]:
        found = []
        for id_ in self._runs:
            run, kept = self._read_run(id_), self._summaries(id_)
            if _fits(run, query) and (query.where is None or holds(query.where, run, kept, self._reached)):
                found.append((self._read_run(id_, slim=True) if query.slim else run, kept))
        return found

    def _summaries(self, run: str) -> dict[str, Summary]:
        points = self._metrics.get(run, {})
        return {
            name: _summary(run, name, last, [row for key, row in sorted(points.items()) if key[0] == name])
            for name, last in self._latest.get(run, {}).items()
        }

    def _reached(self, linked: Linked) -> Collection[Digest]:
        """The artifact and what is made from it (of an ancestor) or was made to make it (of a descendant)."""
        forth = linked.direction == "ancestor"
        edges = [(run.inputs, run.outputs) for run in map(self._read_run, self._runs)]
        steps = [(set(a.values()), set(b.values())) if forth else (set(b.values()), set(a.values())) for a, b in edges]
        reached = {linked.digest}
        while more := {one for here, there in steps if here & reached for one in there} - reached:
            reached |= more
        return reached

    def _standing(self, asked: Asked) -> Standing:
        named = [one for one in self._pointers if one.name == asked.name]
        versions = [one for one in named if is_version(one.label)]
        own = [one for one in versions if one.digest == asked.digest]
        return Standing(
            recorded=asked.digest in self._artifacts,
            pointer=next((one for one in reversed(named) if one.label == asked.label), None),
            version=min(own, key=lambda one: int(one.label), default=None),
            highest=max((int(one.label) for one in versions), default=0),
        )

    def _standing_pointers(self) -> list[Pointer]:
        last = {(one.name, one.label): one for one in self._pointers}
        return [one for one in self._pointers if last[one.name, one.label] is one and one.digest is not None]


def _starting(asked: str, ids: Iterable[str]) -> list[str]:
    if asked in ids:
        return [asked]
    return [one for one in sorted(ids) if one.startswith(asked)] if len(asked) >= SHORTEST else []


def _first(items: list[T], limit: int) -> list[T]:
    if limit < 0:
        raise Invalid(f"A limit of {limit} makes no sense. Ask for 0 or more.")
    return items[:limit]


def _fits(run: Run, query: RunQuery) -> bool:
    wanted = ((query.kind, run.kind), (query.name, run.name), (query.status, run.status))
    wanted += ((query.parent, run.parent), (query.key, run.key))  # type: ignore[assignment]
    return (
        all(want in (None, have) for want, have in wanted)
        and (query.input is None or query.input in run.inputs.values())
        and (query.output is None or query.output in run.outputs.values())
        and (query.before is None or run.id < query.before)
        and query.experiment in (None, run.experiment)
        and (query.deleted == "both" or (run.deleted is not None) == (query.deleted == "only"))
    )


def _artifacts_of(run: Run) -> Iterable[Digest]:
    return (*run.inputs.values(), *run.outputs.values())


def _summary(run: str, name: str, last: float, points: Sequence[rows.Cells]) -> Summary:
    """What the points of one name come to, in the order of (step, at)."""
    if not points:
        stated = None if isnan(last) else last
        return Summary(run, name, last, min=stated, max=stated)
    numbers = [row["value"] for row in points if not isnan(row["value"])]
    latest = rows.read_metric(points[-1])
    least, most = min(numbers, default=None), max(numbers, default=None)
    return Summary(run, name, last, latest.step, latest.at, least, most, len(points))


def _is_called(name: str, pattern: str | None) -> bool:
    if pattern is not None and pattern.endswith("/*"):
        return name.startswith(pattern[:-1])
    return pattern in (None, name)
