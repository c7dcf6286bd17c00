"""The rows of sources, one file for each kind of place that they come from, behind the contract in ``contract``.

A *snapshot* is the data of one source at hand; recorded, it is an artifact of kind ``source``. What times mean is
``trivet.features.times``'s business.
"""

from trivet.features.sources.contract import Place, Snapshot, Snapshots
from trivet.features.sources.kind import SourceKind
from trivet.features.sources.opening import leaves_of, same_data, snapshot_of, snapshots_of
from trivet.features.sources.reading import read

__all__ = [
    "Place",
    "Snapshot",
    "Snapshots",
    "SourceKind",
    "leaves_of",
    "read",
    "same_data",
    "snapshot_of",
    "snapshots_of",
]
