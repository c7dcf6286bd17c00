"""Tables of events of the project's own: rows that arrive, once each, and stay as they were known."""

from __future__ import annotations

from trivet.features.tables.erasure import Erased
from trivet.features.tables.events import Compacted, EventTables, TableInfo, TableVersion
from trivet.features.tables.ingestion import Ingested
from trivet.features.tables.rules import GivenRules, Keep, TableRules

__all__ = [
    "Compacted",
    "Erased",
    "EventTables",
    "GivenRules",
    "Ingested",
    "Keep",
    "TableInfo",
    "TableRules",
    "TableVersion",
]
