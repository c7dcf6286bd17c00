"""The records of the ledger: artifacts, runs, metrics and pointers. A new kind adds a record, never a verb.

An *artifact* is immutable content with a digest. A *run* is one execution that turned artifacts into
artifacts; its ``inputs`` and ``outputs`` are the only edges of lineage. A *metric* is one measured number, a
*summary* what a ledger keeps of all numbers of one name. A *pointer* puts a name and a label (a version number or an
alias) on an artifact; pointers are appended, never overwritten, so their history is the audit trail of every name. A
*removal* takes a run or an artifact away for good.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, TypeAlias

import msgspec

from trivet.digest import digest
from trivet.types import Digest

__all__ = ["Artifact", "File", "Metric", "Pointer", "Recipe", "Redaction", "Removal", "Run", "Status", "Summary"]

Status: TypeAlias = Literal["running", "finished", "failed", "killed", "cached"]
"""``cached``: the run was not executed, because an earlier one with the same key had the same answer."""


class File(msgspec.Struct, frozen=True):
    """One named piece of an artifact's content: the SHA-256 of its bytes and how many they are."""

    digest: Digest
    size: int


class Artifact(msgspec.Struct, frozen=True):
    """Immutable content with a digest.

    Attributes:
        digest: identity; covers ``kind``, ``spec`` and ``content``, and neither time nor place.
        kind: what it is: ``table``, ``model``, ``json``, ``training_set``, ``gate_report``, ``code``...
        spec: its declaration, as JSON.
        content: the digest of what it says. Equal to the digest of ``files`` unless the kind has a canonical
            form, because some file formats are not functions of their content.
        files: where the bytes are: relative name to blob. A single file may have any name.
        created: when it was first recorded.
    """

    digest: Digest
    kind: str
    spec: dict[str, Any]
    content: Digest
    files: dict[str, File]
    created: datetime

    @classmethod
    def of(
        cls,
        kind: str,
        spec: Mapping[str, Any],
        files: Mapping[str, File] | None = None,
        *,
        content: Digest | None = None,
        created: datetime,
    ) -> Artifact:
        """An artifact with its digest worked out."""
        files = dict(files or {})
        content = content or digest("files", {name: file.digest for name, file in files.items()})
        identity = digest("artifact", {"kind": kind, "spec": dict(spec), "content": content})
        return cls(identity, kind, dict(spec), content, files, created)

    @property
    def id(self) -> str:
        """What people paste: ``model:3f2a9c01d4e5``."""
        return f"{self.kind}:{self.digest[:12]}"

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(file.size for file in self.files.values())


class Recipe(msgspec.Struct, frozen=True):
    """What it takes to execute a run again, with the run's inputs and parameters.

    Attributes:
        entry: ``module:function``, importable once ``code`` is in place.
        code: digest of the ``code`` artifact: an archive of the project's files as they were, changes and all.
        environment: digest of the ``environment`` artifact (lock with hashes, interpreter, platform).
        seed: what the random generators were seeded with.
        threads: the number of threads that numeric libraries were given before their import.
        variables: environment variables that change results and were set (``OPENBLAS_CORETYPE``).
        active: what was in fact in force: BLAS libraries with kernel and threads, CPU features.
    """

    entry: str
    code: Digest
    environment: Digest
    seed: int = 0
    threads: int = 1
    variables: dict[str, str] = {}
    active: dict[str, Any] = {}


class Run(msgspec.Struct, frozen=True):
    """One execution.

    Attributes:
        id: a ULID; sorts by time of creation.
        kind: ``task``, ``pipeline``, ``experiment``, ``training_set``, ``gate``, ``serve``, ``reproduce``...
        inputs, outputs: slot name to artifact digest.
        parameters: JSON values it was called with.
        metrics: the latest value of each metric.
        key: the cache key, and ``key_parts`` its expanded parts, so that "why did this run?" has an answer.
        experiment: the id of the group of runs it belongs to.
        deleted: since when it lies in the bin, where questions do not see it unless they ask.
    """

    id: str
    kind: str
    name: str
    status: Status
    started: datetime
    ended: datetime | None = None
    parent: str | None = None
    user: str = ""
    host: str = ""
    recipe: Recipe | None = None
    inputs: dict[str, Digest] = {}
    outputs: dict[str, Digest] = {}
    parameters: dict[str, Any] = {}
    metrics: dict[str, float] = {}
    tags: dict[str, str] = {}
    key: Digest | None = None
    key_parts: dict[str, str] = {}
    error: str = ""
    experiment: str = ""
    deleted: datetime | None = None

    @property
    def seconds(self) -> float | None:
        """How long it took; None while it runs, and of what is noted at one moment, such as a commit of predictions."""
        return (self.ended - self.started).total_seconds() if self.ended and self.ended != self.started else None


class Metric(msgspec.Struct, frozen=True):
    """One measured number of a run. Its identity is (run, name, step, at).

    A step that is measured again is a further point: nothing measured is lost. Only the same point, told twice (as
    after an answer that was lost on the way), stands once, as it was told last. The *latest* point of a name is that
    with the greatest step, and among those the greatest ``at``.
    """

    run: str
    name: str
    step: int
    value: float
    at: datetime


class Summary(msgspec.Struct, frozen=True):
    """All numbers of one name in a run, in one row, kept while they come in.

    Attributes:
        last: the value in ``Run.metrics``: that of the latest point, unless the run's record was written otherwise.
        step, at: of the latest point; 0 and None of a value that the run's record states and nothing measured.
        min, max: of the points that are numbers, or of the stated value; None where there is none but NaN.
        count: how many points there are, NaN among them.
    """

    run: str
    name: str
    last: float
    step: int = 0
    at: datetime | None = None
    min: float | None = None
    max: float | None = None
    count: int = 0


class Pointer(msgspec.Struct, frozen=True):
    """A name and a label on an artifact, from a moment on.

    Attributes:
        name: ``KIND/NAME``, for example ``model/delay`` or ``feature_view/congestion``.
        label: a version (``"1"``, ``"2"``: given once, never moved) or an alias (``champion``: moved freely).
        digest: the artifact, or None where an alias was taken away.
        by, why: who did it and for what reason.
    """

    name: str
    label: str
    digest: Digest | None
    at: datetime
    by: str
    why: str = ""

    @property
    def is_version(self) -> bool:
        """Whether the label is a version number."""
        return self.label.isdecimal()


class Redaction(msgspec.Struct, frozen=True):
    """Replaces the declaration of an artifact that tells what someone has a right to have erased; only erasure writes it.

    The artifact keeps its digest, which is that of what it said before, so lineage and names hold.
    """

    artifact: Digest
    spec: dict[str, Any]


class Removal(msgspec.Struct, frozen=True):
    """Takes a run or an artifact away for good; only retention writes it.

    A run goes with its edges, parameters, tags and metrics. An artifact goes when no run has it as input or output and
    no name ever stood on it. What is not there is no error, so an interrupted sweep may be repeated.
    """

    run: str | None = None
    artifact: Digest | None = None
