"""How rows of named cells are shown: aligned text for a terminal, a plain table for a notebook.

Pure functions from cells to text. What goes into the rows is left to ``search`` and ``compare``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from html import escape

from msgspec import UNSET

__all__ = ["cell_text", "html_table", "plain_cell", "text_table"]

WIDEST_CELL = 40
WIDEST_TABLE = 120


def cell_text(value: object) -> str:
    """One cell: six digits of a float, minutes of a time, ``-`` for what is not there.

    Example:
        >>> cell_text(0.123456789), cell_text(None), cell_text("a" * 50)[-6:]
        ('0.123457', '-', 'aaa...')
    """
    match value:
        case None:
            return "-"
        case _ if value is UNSET:
            return "-"
        case float():
            return f"{value:.6g}"
        case datetime():
            return f"{value:%Y-%m-%d %H:%M}"
    text = " ".join(str(value).split())
    return text if len(text) <= WIDEST_CELL else text[: WIDEST_CELL - 3] + "..."


def plain_cell(value: object) -> str:
    """One cell of a file: nothing is shortened, what is not there is empty, and what is no text or number is JSON.

    Example:
        >>> plain_cell("it's"), plain_cell(None), plain_cell(0.1), plain_cell([1, "a"]), plain_cell(True)
        ("it's", '', '0.1', '[1, "a"]', 'true')
    """
    match value:
        case None:
            return ""
        case _ if value is UNSET:
            return ""
        case str():
            return value
        case datetime():
            return value.isoformat()
        case bool() | list() | dict():
            return json.dumps(value, ensure_ascii=False)
        case _:
            return repr(value)


def text_table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, widest: int = WIDEST_TABLE) -> str:
    """Aligned text; columns that do not fit are counted in a last line. Numbers stand to the right.

    Example:
        >>> print(text_table(["name", "auc"], [["deep", 0.75], ["shallow", 0.7]]))
        name      auc
        deep     0.75
        shallow   0.7
    """
    cells = [list(columns), *([cell_text(value) for value in row] for row in rows)]
    widths = [max(len(line[index]) for line in cells) for index in range(len(columns))]
    shown = _that_fit(widths, widest)
    right = [any(_is_number(row[index]) for row in rows) for index in range(len(columns))]
    lines = []
    for line in cells:
        padded = [
            line[index].rjust(widths[index]) if right[index] else line[index].ljust(widths[index])
            for index in range(shown)
        ]
        lines.append("  ".join(padded).rstrip())
    if left := len(columns) - shown:
        lines.append(f"({left} more column{'s' * (left > 1)}: {', '.join(columns[shown:])})")
    return "\n".join(lines)


def html_table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table for a notebook, every cell escaped."""
    head = "".join(f"<th>{escape(column)}</th>" for column in columns)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell_text(value))}</td>" for value in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _that_fit(widths: Sequence[int], widest: int) -> int:
    total = 0
    for index, width in enumerate(widths):
        total += width + (2 if index else 0)
        if total > widest and index:
            return index
    return len(widths)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
