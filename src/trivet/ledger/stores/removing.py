"""The rule of removing, apart from any storage: an artifact goes for good only when nothing leads to it any more."""

from __future__ import annotations

from trivet.errors import Conflict
from trivet.types import Digest

__all__ = ["check_removable"]


def check_removable(artifact: Digest, run: str | None, name: str | None) -> None:
    """Refuse to remove an artifact that someone may come from.

    Args:
        artifact: what is to go.
        run: a run that has it as input or output, if there is one.
        name: a name that it stands or stood under, if there is one.

    Raises:
        Conflict: there is either.
    """
    if run is not None:
        raise Conflict(f"Artifact {artifact[:12]} is an input or output of run {run}. Remove the run first.")
    if name is not None:
        raise Conflict(f"Artifact {artifact[:12]} stands or stood under {name!r}, and the history of a name is kept.")
