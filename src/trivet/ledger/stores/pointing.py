"""The rules of pointing, apart from any storage: given what stands, what is recorded next?

A store reads what stands and appends the answer within one transaction that no other pointing of the same
name can enter; the rules themselves are here, once, for all stores.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from trivet.errors import Conflict, Invalid, NotFound
from trivet.ledger.naming import check_label, check_name, is_version
from trivet.ledger.records import Pointer
from trivet.types import Digest

__all__ = ["Asked", "Standing", "settle"]


@dataclass(frozen=True)
class Asked:
    """The arguments of ``Ledger.point``, checked.

    Raises:
        Invalid: they make no sense together, or a name or label is none.
    """

    name: str
    label: str | None
    digest: Digest | None
    by: str
    why: str
    expect: Digest | None

    def __post_init__(self) -> None:
        check_name(self.name)
        if self.label is not None:
            check_label(self.label)
        elif self.digest is None or self.expect is not None:
            raise Invalid(f"A new version of {self.name!r} needs an artifact, and nothing can be expected of it yet.")


@dataclass(frozen=True)
class Standing:
    """What a store found.

    Attributes:
        recorded: whether the artifact asked for is in the ledger.
        pointer: the last pointer of the name and label asked for.
        version: the first version of this artifact under the name, looked up where ``label`` is None.
        highest: the greatest version number of the name, likewise.
    """

    recorded: bool
    pointer: Pointer | None = None
    version: Pointer | None = None
    highest: int = 0


def settle(asked: Asked, standing: Standing, now: datetime) -> Pointer:
    """The pointer to answer. It is to be appended unless it is ``standing.pointer`` or ``standing.version``.

    Raises:
        NotFound: the artifact, or the alias to take away, does not exist.
        Conflict: a version would move or vanish, or the alias is not where it is expected.
    """
    if asked.digest is not None and not standing.recorded:
        raise NotFound("artifact", asked.digest, hint="Write it to the ledger first.")
    if asked.label is None:
        label = str(standing.highest + 1)
        return standing.version or Pointer(asked.name, label, asked.digest, now, asked.by, asked.why)
    held = standing.pointer.digest if standing.pointer else None
    if asked.expect is not None and (held or "") != asked.expect:
        raise Conflict(
            f"{asked.name}@{asked.label} {_place(held)}, not {_expected(asked.expect)} as expected: someone else "
            "moved it first. Look at its history and decide again."
        )
    if is_version(asked.label) and standing.pointer:
        if held == asked.digest:
            return standing.pointer
        raise Conflict(f"Version {asked.label} of {asked.name!r} {_place(held)} for good. Take a new version instead.")
    if asked.digest is None and held is None:
        raise NotFound("label", f"{asked.name}@{asked.label}", hint="There is nothing to take away.")
    return Pointer(asked.name, asked.label, asked.digest, now, asked.by, asked.why)


def _expected(digest: Digest) -> str:
    return f"on {digest[:12]}" if digest else "nowhere"


def _place(digest: Digest | None) -> str:
    return f"stands on {digest[:12]}" if digest else "stands nowhere"
