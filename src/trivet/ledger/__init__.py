"""One ledger: everything that exists is an immutable artifact with a digest, or a run that made it.

``records`` are the four shapes, ``contract`` the few verbs, ``stores`` and ``blobs`` keep them, ``lineage``
answers where a thing came from and ``references`` what a pasted id means.
"""

from trivet.ledger.contract import Blobs, Ledger
from trivet.ledger.records import Artifact, File, Metric, Pointer, Recipe, Run, RunQuery, Status

__all__ = ["Artifact", "Blobs", "File", "Ledger", "Metric", "Pointer", "Recipe", "Run", "RunQuery", "Status"]
