"""The few verbs over artifacts, runs, metrics and names, and the four over bytes.

Every implementation passes the classes ``LedgerContract`` and ``BlobsContract`` in ``trivet.testing``; what is
promised here is what they examine. Lineage is not here: it is a set of questions over ``runs``
(``trivet.ledger.lineage``). References such as ``delay@champion`` are not here either
(``trivet.ledger.references``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import BinaryIO, Literal, Protocol, overload

from trivet.ledger.queries import RunQuery
from trivet.ledger.records import Artifact, File, Metric, Pointer, Redaction, Removal, Run, Summary
from trivet.types import Digest

__all__ = ["Blobs", "Ledger"]


class Ledger(Protocol):
    """Keeps records. Obligations of an implementation:

    * safe to share among threads, and among processes where it is not in memory;
    * a call that returned is durable, a call that raised or was killed left nothing behind;
    * what is returned never changes under later writes;
    * an artifact is never changed, but by a ``Redaction``: writing one that exists is no error and keeps the first;
    * a run that has ended never runs again: writing it as ``running`` raises ``Conflict``; any other rewriting
      by the same id replaces it, tags and metrics included;
    * foreign exceptions of the storage never escape unwrapped.
    """

    def write(self, *records: Artifact | Run | Metric | Redaction | Removal) -> None:
        """Record all of these or none of them, in one transaction.

        A metric also becomes the latest value in its run's ``metrics`` when its (step, at) is not smaller than the
        greatest recorded for that name. Redactions leave nothing of the old declaration in the files of a SQLite ledger
        that nobody else reads at that moment. Removals come last, those of runs first.

        Raises:
            NotFound: a metric of a run that does not exist.
            Conflict: a run that has ended would run again, or an artifact would be removed that a run has as input
                or output or on which a name stands or stood.
            Invalid: something that would not come back as it is: a parameter that is not JSON (NaN and infinity
                are welcome), a status that does not exist, a name with half of a surrogate pair.
        """
        ...

    def artifact(self, digest: Digest) -> Artifact:
        """The artifact with this digest, or with the only digest that starts so (6 digits at least).

        Raises:
            NotFound: there is none.
            Ambiguous: several digests start so.
        """
        ...

    def artifacts(self, *, kind: str | None = None, limit: int = 100) -> Sequence[Artifact]:
        """The newest artifacts, newest first."""
        ...

    def run(self, id: str) -> Run:  # noqa: A002 - the field's name
        """The run with this id, or with the only id that starts so (6 characters at least).

        Raises:
            NotFound: there is none.
            Ambiguous: several ids start so.
        """
        ...

    def runs(self, query: RunQuery = ...) -> Sequence[Run]:
        """The runs that fit, in the order that is asked for: newest first where none is.

        Raises:
            Invalid: the limit is negative, the condition or the order too large, or ``after`` no cursor of this order.
        """
        ...

    def count(self, query: RunQuery = ...) -> int:
        """How many runs fit, whatever the limit, the order and the page.

        Raises:
            Invalid: as ``runs``.
        """
        ...

    @overload
    def metrics(self, run: str, name: str | None = None) -> Sequence[Metric]: ...
    @overload
    def metrics(self, run: str, name: str | None = None, *, summary: Literal[True]) -> Sequence[Summary]: ...
    def metrics(
        self, run: str, name: str | None = None, *, summary: bool = False
    ) -> Sequence[Metric] | Sequence[Summary]:
        """The recorded numbers of a run by name, then step, then time; or one summary for each name in its record."""
        ...

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
        """Put a label of ``name`` on an artifact and answer the pointer.

        With ``label=None`` the next free version number is taken, atomically: of several processes that do so
        at once each gets its own. An artifact that already has a version under this name keeps it and that
        pointer is returned. With ``digest=None`` the alias is taken away. ``expect`` is where the caller saw the label
        stand, ``""`` nowhere: of several processes that claim one label so, one gets it.

        Raises:
            NotFound: the artifact is not recorded, or there is no alias to take away.
            Conflict: ``label`` is a version that exists on another artifact or would be taken away, or ``expect``
                is given and the label does not stand there now.
            Invalid: ``name`` is not ``KIND/NAME``, or ``label`` is no name.
        """
        ...

    def pointers(
        self, *, name: str | None = None, digest: Digest | None = None, history: bool = False
    ) -> Sequence[Pointer]:
        """Where labels point now (or, with ``history``, ever pointed), by name and time of pointing.

        ``name`` may end in ``/*`` for all names of a kind. Aliases taken away appear only in the history.
        """
        ...

    def close(self) -> None:
        """Release connections. Calling it twice is no error."""
        ...


class Blobs(Protocol):
    """Keeps bytes under their SHA-256. Obligations of an implementation:

    * writing is atomic: under a digest stands the whole content or nothing, whoever dies when;
    * reading verifies: bytes that do not fit their digest raise ``Corrupt`` naming the blob, and are not
      returned as if they did;
    * safe to share among threads and processes; writing the same content twice is no error.
    """

    def put(self, content: bytes | Path | BinaryIO) -> File:
        """Store bytes, a file or a stream, in bounded memory, and answer its digest and size."""
        ...

    def read(self, digest: Digest) -> bytes:
        """The verified bytes.

        Raises:
            NotFound: there is no such blob.
            Corrupt: the stored bytes have another digest.
        """
        ...

    def fetch(self, digest: Digest, to: Path) -> Path:
        """Write the verified content to the file ``to`` (write-then-rename) in bounded memory and answer ``to``.

        Raises:
            NotFound: there is no such blob.
            Corrupt: the stored bytes have another digest; ``to`` is not touched.
        """
        ...

    def missing(self, digests: Iterable[Digest]) -> set[Digest]:
        """Those of ``digests`` that are not stored (presence only, contents are not verified)."""
        ...

    def forget(self, digest: Digest) -> None:
        """Remove content for good, because someone has a right to it. What is not stored is no error.

        Nothing but an erasure calls this: records that name the content stay, and the ledger says why it is gone.
        """
        ...
