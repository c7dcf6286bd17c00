"""The ledger as a run sees it while it saves values: artifacts go the way of the run's journal, all else straight on.

So an output that is saved while the ledger is away waits in the spool like a metric does, and one that is saved in
peace reaches the ledger in the transaction that says which run made it. What is written here can be read back once it
was flushed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from trivet.ledger import Artifact, Ledger

if TYPE_CHECKING:
    from trivet.tracking.journal import Journal

__all__ = ["outbox"]


def outbox(ledger: Ledger, journal: Journal) -> Ledger:
    """``ledger``, whose ``write`` hands artifacts to ``journal``."""
    return cast("Ledger", _Outbox(ledger, journal))


class _Outbox:
    def __init__(self, ledger: Ledger, journal: Journal) -> None:
        self._ledger, self._journal = ledger, journal

    def write(self, *records: Any) -> None:
        kept = [record for record in records if isinstance(record, Artifact)]
        self._journal.keep(kept)
        if len(kept) < len(records):
            self._journal.flush()
            self._ledger.write(*(record for record in records if not isinstance(record, Artifact)))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)
