"""Taking a definition out of the catalogue: the name stands for nothing any more, its history stays.

Invariant: nothing alive loses what it asks for by name, and nothing that is on record is lost.
"""

from __future__ import annotations

from trivet.errors import Refused
from trivet.features.catalogue import CURRENT, Catalogue
from trivet.features.usage import Usage, Users
from trivet.pipelines.context import Context

__all__ = ["check_unused", "take_away"]

_MOST = 3


def check_unused(context: Context, name: str) -> Users:
    """Who uses a definition.

    Views that are built on it hold its declaration themselves, so they go on without it.

    Raises:
        NotFound: nothing is called so; the nearest names are offered.
        Refused: someone alive uses it; they are named.
    """
    Catalogue(context).describe(name.partition("@")[0])
    users = Usage(context).of(name)
    alive = [str(each) for each in users.alive if each.kind != "feature_view"]
    if alive:
        more = f" and {len(alive) - _MOST} more" if len(alive) > _MOST else ""
        raise Refused(
            f"{name!r} cannot be removed: {', '.join(alive[:_MOST])}{more} use{'s' * (len(alive) == 1)} it. Retire or "
            "edit what uses it first."
        )
    return users


def take_away(context: Context, name: str, *, why: str = "") -> None:
    """Let a name stand for nothing, and expect nothing of it.

    Raises:
        NotFound: nothing is called so.
    """
    rules = f"expectations/view.{name}"
    if any(each.label == CURRENT and each.digest for each in context.ledger.pointers(name=rules)):
        context.ledger.point(rules, CURRENT, None, by=context.user, why=why)
    Catalogue(context).remove(name, why=why)
