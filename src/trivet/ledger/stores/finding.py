"""Finding one record by the beginning of its id, with the sentences for none and for several.

Both ids sort as plain text, so "starts with" is a range that an index answers: every continuation of ``3f2a9c``
lies between ``3f2a9c`` and ``3f2a9c~``, because ``~`` is greater than every letter and digit.
"""

from __future__ import annotations

from collections.abc import Sequence

from trivet.errors import Ambiguous, NotFound

__all__ = ["SHORTEST", "beyond", "the_only"]

SHORTEST = 6
"""The least number of characters of a shortened id."""


def beyond(prefix: str) -> str:
    """A text greater than every id that starts with ``prefix``, and smaller than every greater one."""
    return prefix + "~"


def the_only(noun: str, asked: str, found: Sequence[str]) -> str:
    """The one id among ``found`` (those that start with ``asked``).

    Raises:
        NotFound: there is none.
        Ambiguous: there are several and none of them is ``asked`` itself.
    """
    if asked in found:
        return asked
    if len(asked) < SHORTEST:
        raise NotFound(noun, asked, hint=f"A shortened id needs {SHORTEST} characters at least.")
    if not found:
        raise NotFound(noun, asked)
    if len(found) > 1:
        raise Ambiguous(noun, asked, found)
    return found[0]
