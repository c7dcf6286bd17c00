"""A ledger in dictionaries, for tests, notebooks and dry runs; gone with the process.

It keeps the same rows as the databases do, so a record comes back from it exactly as from them and never
changes under the hands of whoever holds one. One lock makes every verb a transaction.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from trivet.clock import Clock, system_clock
from trivet.errors import Conflict, Invalid, NotFound
from trivet.ledger.contract import Ledger
from trivet.ledger.naming import is_version
from trivet.ledger.records import Artifact, Metric, Pointer, Run, RunQuery
from trivet.ledger.stores import rows
from trivet.ledger.stores.finding import SHORTEST, the_only
from trivet.ledger.stores.pointing import Asked, Standing, settle
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
        self._metrics: dict[str, dict[tuple[str, int], rows.Cells]] = {}
        self._pointers: list[Pointer] = []

    def write(self, *records: Artifact | Run | Metric) -> None:
        """Record all of these or none of them."""
        with self._lock:
            artifacts = [rows.artifact_row(record) for record in records if isinstance(record, Artifact)]
            runs = [(record, rows.run_row(record)) for record in records if isinstance(record, Run)]
            metrics = [rows.metric_row(record) for record in records if isinstance(record, Metric)]
            for run, _ in runs:
                list(rows.edge_rows(run))  # nothing is stored here, but what cannot be stored is refused
            self._check(runs, metrics)
            for artifact in artifacts:
                self._artifacts.setdefault(artifact["digest"], artifact)
            for run, row in runs:
                self._runs[run.id] = row
                self._latest[run.id] = {name: float(value) for name, value in run.metrics.items()}
            for metric in metrics:
                self._record(metric)

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
        """The runs that fit, newest first."""
        with self._lock:
            candidates = (self._read_run(id_) for id_ in sorted(self._runs, reverse=True))
            return _first([run for run in candidates if _fits(run, query)], query.limit)

    def metrics(self, run: str, name: str | None = None) -> Sequence[Metric]:
        """The recorded numbers of a run by name, then step."""
        with self._lock:
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

    def _record(self, metric: rows.Cells) -> None:
        name, step = metric["name"], metric["step"]
        recorded = self._metrics.setdefault(metric["run"], {})
        recorded[name, step] = metric
        if step >= max(other for called, other in recorded if called == name):
            self._latest[metric["run"]][name] = metric["value"]

    def _read_run(self, id_: str) -> Run:
        return rows.read_run(self._runs[id_], dict(self._latest[id_]))

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
    )


def _is_called(name: str, pattern: str | None) -> bool:
    if pattern is not None and pattern.endswith("/*"):
        return name.startswith(pattern[:-1])
    return pattern in (None, name)
