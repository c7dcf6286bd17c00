"""What a name meant at a moment: ``delay@2026-10-01`` is what ``delay@champion`` was as that day began, in UTC.

    NAME@MOMENT          what was in force under a name then: its ``champion`` or ``current``, else its newest version
    NAME@ALIAS@MOMENT    what an alias pointed at then

A moment is a day or a time with its zone: ``2026-10-01T12:00:00Z``. Pointers are appended and never overwritten, so
their history answers. Every other reference is left to ``trivet.ledger.references``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, time

from trivet.errors import Ambiguous, Invalid, NotFound
from trivet.ledger import Artifact, Ledger, Pointer, Run
from trivet.ledger.naming import split_name
from trivet.ledger.references import resolve
from trivet.types import as_utc

__all__ = ["moment_of", "resolve_at"]

_MOMENT = re.compile(r"\d{4}-\d{2}-\d{2}([T ].*)?")
_IN_FORCE = ("champion", "current")


def resolve_at(ledger: Ledger, text: str) -> Artifact | Run:
    """The record that a reference means, with a moment or without.

    Raises:
        NotFound: there is no such thing, or there was none then; what there was is said.
        Ambiguous: a shortened id fits several things, or names of several kinds are the same.
        Invalid: the text is no reference, or no time.
    """
    name, at, label = text.strip().rpartition("@")
    if not at or not _MOMENT.fullmatch(label):
        return resolve(ledger, text)
    name, _, alias = name.partition("@")
    moment, full = moment_of(label), _full_name(ledger, name)
    history = ledger.pointers(name=full, history=True)
    known = {one.label: one for one in sorted(history, key=lambda one: one.at) if one.at <= moment}
    digest = _standing(known, alias)
    if digest is None:
        what = f"{alias} of {name}" if alias else f"version of {name}"
        raise NotFound(what, f"{moment:%Y-%m-%d %H:%M} UTC", hint=_since(history, alias))
    return ledger.artifact(digest)


def moment_of(text: str) -> datetime:
    """The moment that a text says; of a day, its beginning in UTC.

    Raises:
        Invalid: it is no day and no time, or a time without its zone.

    Example:
        >>> moment_of("2026-10-01").isoformat()
        '2026-10-01T00:00:00+00:00'
    """
    if len(text) > len("2026-10-01"):
        return as_utc(text)
    try:
        return datetime.combine(date.fromisoformat(text), time(), UTC)
    except ValueError as exc:
        raise Invalid(f"{text!r} is not a day. Write it as 2026-10-01.") from exc


def _full_name(ledger: Ledger, name: str) -> str:
    if "/" in name:
        return name
    known = {one.name for one in ledger.pointers()}
    meant = sorted(each for each in known if split_name(each)[1] == name)
    if f"model/{name}" in meant or not meant:
        return f"model/{name}"
    if len(meant) > 1:
        raise Ambiguous("name", name, meant)
    return meant[0]


def _standing(known: dict[str, Pointer], alias: str) -> str | None:
    if alias:
        return known[alias].digest if alias in known else None
    for each in _IN_FORCE:
        if each in known and known[each].digest:
            return known[each].digest
    versions = [one for one in known.values() if one.is_version]
    return max(versions, key=lambda one: int(one.label)).digest if versions else None


def _since(history: Sequence[Pointer], alias: str) -> str:
    found = [one.at for one in history if not alias or one.label == alias]
    return f"The first was named on {min(found):%Y-%m-%d %H:%M} UTC." if found else "It was never named."
