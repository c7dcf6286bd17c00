"""The words of MLflow's search language: identifiers, comparisons, quoted text, numbers, lists. No library, no ``eval``.

MLflow cuts filters with ``sqlparse`` and accepts what comes out; this accepts the same filters, by hand: clauses of
``identifier comparison value`` joined by AND, where OR, NOT and brackets around clauses are refused.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from trivet.interop.mlflow.wire import invalid

__all__ = ["Clause", "Identifier", "Text", "clauses", "identifier", "ordering"]

_LONGEST = 100_000
_TOKEN = re.compile(
    r"""\s*(?:
      (?P<name>(?:[Rr]un\ [Nn]ame\b|[A-Za-z_][\w\-/]*|`[^`]*`|"[^"]*")
               (?:\s*\.\s*(?:`[^`]*`|"[^"]*"|[\w\-/.:]+))*)
    | (?P<number>[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?(?![\w.]))
    | (?P<text>'(?:[^']|'')*')
    | (?P<op>!=|<>|<=|>=|=|<|>)
    | (?P<mark>[(),])
    )""",
    re.VERBOSE,
)
_WORDS: Final = {"AND", "OR", "NOT", "IN", "IS", "NULL", "LIKE", "ILIKE"}


class Text(NamedTuple):
    """A quoted value, or a number as it was written."""

    value: str
    quoted: bool


class Identifier(NamedTuple):
    """What is asked for: ``metrics.acc`` is the key ``acc`` of the group ``metrics``; no group means an attribute."""

    group: str
    key: str


class Clause(NamedTuple):
    """One comparison. ``values`` is empty for ``IS NULL``, and a list for ``IN``."""

    subject: Identifier
    op: str
    values: tuple[Text, ...]


class _Token(NamedTuple):
    kind: str
    value: str


def clauses(text: str) -> list[Clause]:
    """The clauses of a filter; of an empty one, none.

    Raises:
        MLflowError: it is no list of comparisons joined by AND.

    Example:
        >>> clauses("metrics.acc > 0.5 AND tags.`a b` = 'x'")[1]
        Clause(subject=Identifier(group='tags', key='a b'), op='=', values=(Text(value='x', quoted=True),))
    """
    if text and not text.strip():
        raise invalid(f"Invalid filter {text[:200]!r}. Could not be parsed.")
    tokens = _cut(text)
    found: list[Clause] = []
    while tokens:
        if tokens[0] == _Token("word", "AND"):  # MLflow counts no ANDs: they may be missing or doubled
            tokens.pop(0)
            continue
        found.append(_clause(tokens))
    return found


def identifier(text: str) -> Identifier:
    """``metrics.acc`` in two halves, without quotes.

    Example:
        >>> identifier("params.`lr rate`"), identifier("start_time")
        (Identifier(group='params', key='lr rate'), Identifier(group='', key='start_time'))
    """
    if text[:1] in {"`", '"'} and text[-1:] == text[:1] and text.count(text[0]) == 2:
        return Identifier("", text[1:-1])
    group, dot, key = text.partition(".")
    return Identifier(_bare(group.strip()), _bare(key.strip())) if dot else Identifier("", _bare(text))


def ordering(text: str) -> tuple[Identifier, bool]:
    """What ``order_by`` names, and whether it is ascending.

    Raises:
        MLflowError: it is no identifier with ASC or DESC.

    Example:
        >>> ordering("metrics.`a b` DESC")
        (Identifier(group='metrics', key='a b'), False)
    """
    found = re.fullmatch(r"\s*(\S.*?)(?:\s+(\w+))?\s*", text, re.DOTALL) if len(text) <= _LONGEST else None
    if found is None:
        raise invalid(f"Invalid order_by clause '{text[:200]}'. Could not be parsed.")
    body, way = found[1], (found[2] or "asc").lower()
    if found[2] and re.fullmatch(r"(?:\w+\.)?[`\"][^`\"]*", body):  # the blank was inside the quotes
        body, way = text.strip(), "asc"
    if not re.fullmatch(r"""(?:\w+\s*\.\s*)?(?:`[^`]+`|"[^"]+"|[\w\-/.:]+)|[Rr]un [Nn]ame""", body):
        raise invalid(f"Invalid order_by clause '{text[:200]}'. Could not be parsed.")
    if way not in {"asc", "desc"}:
        raise invalid(f"Invalid ordering key in order_by clause '{text[:200]}'.")
    return identifier(body), way == "asc"


def _clause(tokens: list[_Token]) -> Clause:
    subject = tokens.pop(0)
    if subject.kind != "name":
        raise _refusal([subject])
    if not tokens:
        raise _refusal([subject])
    op = _operator(tokens, subject)
    if op in {"IS NULL", "IS NOT NULL"}:
        return Clause(identifier(subject.value), op, ())
    if op in {"IN", "NOT IN"}:
        return Clause(identifier(subject.value), op, _listed(tokens))
    if not tokens:
        raise _refusal([subject])
    return Clause(identifier(subject.value), op, (_value(tokens.pop(0)),))


def _operator(tokens: list[_Token], subject: _Token) -> str:
    first = tokens.pop(0)
    if first.kind == "op":
        return first.value
    follows = [one.value for one in tokens[:2]]
    for op, words in {"IS NULL": ["NULL"], "IS NOT NULL": ["NOT", "NULL"], "NOT IN": ["IN"]}.items():
        if first.kind == "word" and first.value == op.split()[0] and follows[: len(words)] == words:
            del tokens[: len(words)]
            return op
    if first.kind == "word" and first.value in {"LIKE", "ILIKE", "IN"}:
        return first.value
    raise _refusal([subject, first])


def _listed(tokens: list[_Token]) -> tuple[Text, ...]:
    values: list[Text] = []
    if not tokens or tokens.pop(0).value != "(":
        raise invalid("Invalid clause(s) in filter string: a list of quoted values in brackets follows IN.")
    while tokens:
        one = tokens.pop(0)
        if one.kind == "mark" and one.value == ")" and values:
            return tuple(values)
        if one.kind == "mark" and one.value == ",":
            continue
        value = _value(one)
        if not value.quoted:
            raise invalid(
                f"While parsing a list in the query, expected string value, punctuation, or whitespace, but got "
                f"different type in list: {value.value[:80]}"
            )
        values.append(value)
    raise invalid("Invalid clause(s) in filter string: the list after IN has no end or no values.")


def _value(token: _Token) -> Text:
    if token.kind == "text" or (token.kind == "name" and token.value.startswith('"') and token.value.endswith('"')):
        return Text(token.value[1:-1], quoted=True)
    if token.kind in {"number", "name", "word"}:
        return Text(token.value, quoted=False)
    raise _refusal([token])


def _cut(text: str) -> list[_Token]:
    if len(text) > _LONGEST:
        raise invalid(f"The filter has {len(text)} characters; {_LONGEST} are the most.")
    tokens: list[_Token] = []
    place, end = 0, len(text.rstrip())
    while place < end:
        found = _TOKEN.match(text, place)
        if found is None:
            raise invalid(f"Invalid clause(s) in filter string: '{text[place : place + 80].strip()}'")
        kind = str(found.lastgroup)
        value = found[kind]
        if kind == "name" and value.upper() in _WORDS:
            kind, value = "word", value.upper()
        tokens.append(_Token(kind, "!=" if value == "<>" else value))
        place = found.end()
    return tokens


def _bare(text: str) -> str:
    return text[1:-1] if len(text) >= 2 and text[0] == text[-1] and text[0] in "`\"'" else text


def _refusal(tokens: list[_Token]) -> Exception:
    shown = ", ".join(f"'{token.value[:80]}'" for token in tokens)
    return invalid(f"Invalid clause(s) in filter string: {shown}")
