"""The words of a query: how its text is cut, which names need quotes, and where in the text a mistake stands.

    word    a field, a number, a keyword: anything without spaces, quotes, parentheses, commas and signs
    text    'in single quotes' or "double quotes", where a doubled quote stands for one
    call    uses(delay@champion): a word with what it is asked about, which is read by nobody here
    op      = != < <= > >= ( ) ,

A field may go on with a name in quotes: metrics.`val auc`.max. Invariant: the tokens cover the text, and each knows where it
stands.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from trivet.errors import Invalid

__all__ = ["Token", "bare", "one_field", "points_at", "split"]

_PLAIN = r"[^\s()'\"`,<>=!]"
_QUOTED = r"`(?:[^`]|``)*`|\"(?:[^\"]|\"\")*\""
_TOKEN = re.compile(
    rf"""(?P<space>\s+)
    |(?P<call>(?i:uses|made_from|made|leads_to)\s*\(\s*(?:'[^']*'|"[^"]*"|`[^`]*`|[^()'"`]*?)\s*\))
    |(?P<text>'(?:[^']|'')*'|"(?:[^"]|"")*")
    |(?P<word>{_PLAIN}+\.(?:{_QUOTED})(?:\.{_PLAIN}+)?|{_PLAIN}+|`(?:[^`]|``)*`)
    |(?P<op><=|>=|!=|<>|==|[=<>(),])""",
    re.VERBOSE,
)
_FIELD = re.compile(rf"(?P<first>[^.`\"]+)\.(?:(?P<quoted>{_QUOTED})(?P<stat>(?:\..+)?)|(?P<rest>.*))", re.DOTALL)
_BARE = re.compile(rf"{_PLAIN}+")
_SEEN = 70  # characters of a long query around a mistake

Kind = Literal["word", "text", "call", "op", "end"]


@dataclass(frozen=True)
class Token:
    """A piece of a query and where it begins."""

    kind: Kind
    text: str
    start: int

    @property
    def value(self) -> str:
        """What it says, without its quotes."""
        if self.kind != "text":
            return self.text
        return self.text[1:-1].replace(self.text[0] * 2, self.text[0])


def split(text: str) -> list[Token]:
    """The tokens of ``text``, with an end.

    Raises:
        Invalid: a quote is never closed, or a character has no place.

    Example:
        >>> [token.text for token in split("metrics.auc>=.7 and name='it''s'")]
        ['metrics.auc', '>=', '.7', 'and', 'name', '=', "'it''s'", '']
    """
    found: list[Token] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise Invalid(_unreadable(text, at))
        if match.lastgroup != "space":
            found.append(Token(match.lastgroup, match[0], at))  # type: ignore[arg-type]
        at = match.end()
    return [*found, Token("end", "", len(text))]


def one_field(text: str) -> tuple[str, str, str]:
    """The group of a field, its name, and of a name in quotes a dot and what stands behind it.

    Example:
        >>> one_field("tags.mlflow.runName"), one_field("metrics.`val auc`.max"), one_field("name")
        (('tags', 'mlflow.runName', ''), ('metrics', 'val auc', '.max'), ('', 'name', ''))
    """
    match = _FIELD.fullmatch(text)
    if match is None:
        return "", text, ""
    if (quoted := match["quoted"]) is None:
        return match["first"], match["rest"], ""
    sign = quoted[0]
    return match["first"], quoted[1:-1].replace(sign * 2, sign), match["stat"] or "."


def bare(name: str) -> bool:
    """Whether a name can stand without quotes.

    Example:
        >>> bare("val/auc"), bare("val auc"), bare("")
        (True, False, False)
    """
    return _BARE.fullmatch(name) is not None


def points_at(text: str, token: Token) -> str:
    """The line of ``text`` with a token, and marks under it; of a long line what is near.

    Example:
        >>> print(points_at("name = fit", Token("word", "fit", 7)))
          name = fit
                 ^^^
    """
    begin = max(0, token.start - _SEEN)
    seen = "".join(one if one.isprintable() else " " for one in text[begin : token.start + _SEEN])
    more = ("..." if begin else "", "..." if token.start + _SEEN < len(text) else "")
    under = token.start - begin + len(more[0])
    length = max(1, min(len(token.text), _SEEN))
    return f"  {more[0]}{seen}{more[1]}\n  {' ' * under}{'^' * length}"


def _unreadable(text: str, at: int) -> str:
    sign = text[at]
    what = f"The quote {sign} is never closed." if sign in "'\"`" else f"{sign!r} has no place in a query."
    return f"{what}\n{points_at(text, Token('op', sign, at))}"
