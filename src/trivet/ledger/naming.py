"""What may stand in a pointer: ``KIND/NAME`` for its name, a version number or an alias for its label.

Names are generous (``model/late flights`` and ``model/délai`` are names), because other tools let people write
them; what is kept out are the characters that references need (``/ : @ *``), control characters and spaces at
the ends. ``escape`` makes a name of any text. Aliases begin with a letter, so a number is always a version and a date is
never an alias.
"""

from __future__ import annotations

import re
from urllib.parse import unquote_to_bytes

from trivet.errors import Invalid

__all__ = ["check_label", "check_name", "escape", "is_alias", "is_name", "is_version", "split_name", "unescape"]

_KIND = re.compile(r"[a-z][a-z0-9_]{0,63}")
_ALIAS = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]{0,127}")
_VERSION = re.compile(r"[1-9][0-9]{0,17}")
_RESERVED = frozenset("/:@*")
_LONGEST = 500


def is_name(text: str) -> bool:
    """Whether ``text`` is ``KIND/NAME``.

    Example:
        >>> is_name("model/late flights"), is_name("delay"), is_name("model/a:b")
        (True, False, False)
    """
    kind, slash, name = text.partition("/")
    return bool(slash) and _KIND.fullmatch(kind) is not None and _is_plain(name)


def is_version(text: str) -> bool:
    """Whether ``text`` is a version number as it is written: ``1``, ``2``, never ``0`` or ``01``."""
    return _VERSION.fullmatch(text) is not None


def is_alias(text: str) -> bool:
    """Whether ``text`` may be the name of a movable label: ``champion``, ``eu-west.shadow``."""
    return _ALIAS.fullmatch(text) is not None


def split_name(name: str) -> tuple[str, str]:
    """The kind and the name of ``KIND/NAME``.

    Raises:
        Invalid: ``name`` is something else.
    """
    kind, _, rest = check_name(name).partition("/")
    return kind, rest


def escape(text: str) -> str:
    """``text`` as the second half of a name: what may not stand there is written as ``%XX``, byte by byte.

    Raises:
        Invalid: it is empty or longer than 500 characters.

    Example:
        >>> escape("flights/2026: 50 %"), unescape("flights%2F2026%3A 50 %25")
        ('flights%2F2026%3A 50 %25', 'flights/2026: 50 %')
    """
    if not 0 < len(text) <= _LONGEST:
        raise Invalid(f"{_short(text)} has {len(text)} characters. A name has 1 to {_LONGEST}.")
    ends = {0, len(text) - 1}
    return "".join(
        _escaped(one)
        if one in _RESERVED or one == "%" or not one.isprintable() or (i in ends and one.isspace())
        else one
        for i, one in enumerate(text)
    )


def unescape(name: str) -> str:
    """The text of which ``escape`` made the second half of a name."""
    return unquote_to_bytes(name.encode()).decode("utf-8", "surrogatepass")


def check_name(name: str) -> str:
    """``name``, if it is ``KIND/NAME``.

    Raises:
        Invalid: it is not.
    """
    if not is_name(name):
        raise Invalid(
            f"{_short(name)} is not a name. Write KIND/NAME, for example model/delay; the name has up to {_LONGEST} "
            "characters without / : @ * and without spaces at its ends."
        )
    return name


def check_label(label: str) -> str:
    """``label``, if it is a version number or an alias.

    Raises:
        Invalid: it is neither.
    """
    if not (is_version(label) or is_alias(label)):
        raise Invalid(
            f"{_short(label)} is not a label. Write a version number (1, 2, ...) or an alias that begins with a "
            "letter and goes on with letters, digits, '_', '-' and '.', for example champion."
        )
    return label


def _is_plain(text: str) -> bool:
    short = 0 < len(text) <= _LONGEST or ("%" in text and 0 < len(_read(text)) <= _LONGEST)
    return short and text == text.strip() and text.isprintable() and not _RESERVED & set(text)


def _read(text: str) -> str:
    """As ``unescape``, of what may be no escape at all."""
    return unquote_to_bytes(text.encode("utf-8", "replace")).decode("utf-8", "replace")


def _escaped(one: str) -> str:
    return "".join(f"%{byte:02X}" for byte in one.encode("utf-8", "surrogatepass"))


def _short(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "...")
