"""What the modules of the protocol share: runs looked up by a client's ids, changed one at a time, and small documents.

A *document* is a JSON object under a name that changes: an immutable artifact that holds it, and an alias that moves
from one to the next. Of two writers one moves the alias and the other reads again, so no change is lost.

Invariant: a run is read, changed and written under its lock, because writing replaces the whole record.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from trivet.clock import new_id
from trivet.errors import Conflict, NotFound
from trivet.interop.mlflow.identity import run_here
from trivet.interop.mlflow.wire import MLflowError, invalid_value, missing
from trivet.ledger import Artifact, Blobs, Ledger, Metric, Pointer, Run
from trivet.pipelines.context import Context
from trivet.types import Digest

__all__ = ["KIND", "MODEL_KIND", "Document", "Store"]

KIND: Final = "experiment"
"""The kind of runs that clients see."""
MODEL_KIND: Final = "logged_model"
"""The kind of runs that stand for a logged model: its files are the outputs, its source run the parent."""
_LOCKS = 64
_CACHED = 20_000  # artifacts, which never change
_TRIES = 50

Document = dict[str, Any]


class Store:
    """The ledger and the blobs of a project, as the protocol needs them. Safe to share among threads."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.ledger: Ledger = context.ledger
        self.blobs: Blobs = context.blobs
        self._locks = [threading.RLock() for _ in range(_LOCKS)]
        self.artifact = lru_cache(_CACHED)(self.ledger.artifact)

    def now(self) -> datetime:
        """The present."""
        return self.context.clock()

    def new_id(self) -> str:
        """A fresh ULID."""
        return new_id(self.context.clock)

    # Runs

    def run(self, id_: str) -> Run:
        """The run with a client's id.

        Raises:
            MLflowError: it is no id, or there is no such run.
        """
        here = run_here(id_)
        if here is None and not id_.replace("-", "").replace("_", "").isalnum():
            raise invalid_value("run_id", id_)
        found = self.find(here)
        if found is None or found.kind == MODEL_KIND:
            raise missing(f"Run with id={id_} not found")
        return found

    def active(self, id_: str) -> Run:
        """The run with a client's id, if it is not in the bin.

        Raises:
            MLflowError: there is no such run, or it was deleted.
        """
        run = self.run(id_)
        if run.deleted is not None:
            raise MLflowError(
                "INVALID_PARAMETER_VALUE",
                f"The run {id_} must be in the 'active' state. Current state is deleted.",
            )
        return run

    def find(self, ulid: str | None) -> Run | None:
        """The run with this id in the ledger, or None."""
        if ulid is None:
            return None
        try:
            return self.ledger.run(ulid)
        except NotFound:
            return None

    @contextmanager
    def locked(self, ulid: str) -> Iterator[None]:
        """Nobody else in this process changes the run meanwhile."""
        with self._locks[hash(ulid) % _LOCKS]:
            yield

    def change(self, ulid: str | None, find: Callable[[], Run], alter: Callable[[Run], Run], *metrics: Metric) -> Run:
        """Find the run with this id in the ledger, change it and write it with some metrics, in one go."""
        with self.locked(ulid or ""):
            before = find()
            after = alter(before)
            records: list[Run | Metric] = [*([after] if after != before else []), *metrics]
            if records:
                self.ledger.write(*records)
            return after

    # Documents

    def document(self, name: str, label: str) -> Document | None:
        """What stands under a name and a label, or None."""
        pointer = self.pointer(name, label)
        return None if pointer is None else self.read(pointer)

    def read(self, pointer: Pointer) -> Document:
        """The document that a pointer stands on."""
        assert pointer.digest is not None
        return self.artifact(pointer.digest).spec

    def pointer(self, name: str, label: str) -> Pointer | None:
        """Where a label stands, or None."""
        return next((one for one in self.ledger.pointers(name=name) if one.label == label and one.digest), None)

    def put(self, name: str, label: str, document: Document, *, expect: Digest | None = None) -> None:
        """Write a document.

        Raises:
            Conflict: the label does not stand where it is expected.
        """
        made = Artifact.of("properties", document, created=self.now())
        self.ledger.write(made)
        if made.digest != expect:
            self.ledger.point(name, label, made.digest, by=self.context.user, expect=expect)

    def alter(self, name: str, label: str, change: Callable[[Document | None], Document]) -> Document:
        """Read a document, change it and write it; of two that do so at once, neither is lost."""
        for attempt in range(_TRIES):
            held = self.pointer(name, label)
            after = change(None if held is None else dict(self.read(held)))
            try:
                self.put(name, label, after, expect=held.digest if held and held.digest else "")
            except Conflict:
                if attempt == _TRIES - 1:
                    raise
                continue
            return after
        raise AssertionError("the last attempt answers or raises")
