"""Content that was erased on request: which run did it, told to whoever asks for it in vain.

An erasure is a run of kind ``erase`` whose inputs are the artifacts that lost their content. The artifacts stay on
record, so lineage still says what came of them; only their bytes are gone.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from trivet.errors import NotFound
from trivet.ledger.contract import Ledger
from trivet.ledger.queries import RunQuery
from trivet.ledger.records import Artifact, File, Run
from trivet.types import Digest

__all__ = ["KIND", "check_not_erased", "erased_by"]

KIND = "erase"


class _Missing(Protocol):
    def missing(self, digests: Iterable[Digest]) -> set[Digest]: ...


def erased_by(ledger: Ledger, digest: Digest) -> Run | None:
    """The run that erased the content of an artifact, or None."""
    runs = ledger.runs(RunQuery(kind=KIND, input=digest, limit=1, deleted="both"))
    return runs[0] if runs else None


def check_not_erased(ledger: Ledger, blobs: _Missing, artifacts: Iterable[Artifact]) -> None:
    """Say so if the content of one of these was erased and is not there again.

    Raises:
        NotFound: it was; when and why.
    """
    for artifact in artifacts:
        if not blobs.missing(_digests(artifact.files.values())):
            continue
        if (run := erased_by(ledger, artifact.digest)) is not None:
            raise NotFound(
                "content of",
                artifact.id,
                hint=f"It held data of someone and was erased on {run.started:%Y-%m-%d %H:%M} UTC by "
                f"{run.user or 'someone'} ({run.tags.get('why', 'no reason given')}), so what was made from it cannot "
                "be made again.",
            )


def _digests(files: Iterable[File]) -> list[Digest]:
    return [file.digest for file in files]
