"""What every recorded operation needs to know: where the project is, who works, and the ledger beneath."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from trivet.clock import Clock
from trivet.config import Settings
from trivet.ledger import Blobs, Ledger

__all__ = ["Context"]


@dataclass(frozen=True)
class Context:
    """Handed down from ``trivet.project`` to the functions that record; holds no state of its own."""

    root: Path
    settings: Settings
    ledger: Ledger
    blobs: Blobs
    clock: Clock
    user: str
    host: str
