"""One ledger: everything that exists is an immutable artifact with a digest, or a run that made it.

``records`` are the shapes, ``contract`` the few verbs, ``conditions`` and ``queries`` what may be asked, ``stores`` and
``blobs`` keep it all, ``lineage`` answers where a thing came from and ``references`` what a pasted id means.
"""

from trivet.ledger.contract import Blobs, Ledger
from trivet.ledger.queries import Order, RunQuery, cursor_of
from trivet.ledger.records import Artifact, File, Metric, Pointer, Recipe, Redaction, Removal, Run, Status, Summary

__all__ = [
    "Artifact",
    "Blobs",
    "File",
    "Ledger",
    "Metric",
    "Order",
    "Pointer",
    "Recipe",
    "Redaction",
    "Removal",
    "Run",
    "RunQuery",
    "Status",
    "Summary",
    "cursor_of",
]
