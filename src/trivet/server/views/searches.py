"""A search among runs as a page: the rows with chosen columns, how to sort them, and the pages before and behind.

Pages are found by the key of their last row, so the last is as quick as the first. The address of a page keeps the keys of
those before it; nothing is kept by the server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from trivet.errors import Invalid
from trivet.ledger import Run
from trivet.server.views.shapes import run_row
from trivet.tracking.grammar import parse_order, write_order
from trivet.tracking.search import one_value

if TYPE_CHECKING:
    from trivet.project import Project

__all__ = ["searched"]

PAGE, _MOST = 50, 1000
_TRAIL = 20
_SHOWN_METRICS, _SHOWN_PARAMETERS = 4, 4


def searched(project: Project, asked: dict[str, str]) -> dict[str, Any]:
    """The page that the words of an address ask for: ``where``, ``order``, ``kind``, ``limit``, ``columns``...

    Raises:
        Invalid: the query, the order, the limit or the cursor is not understood.
        NotFound: a column, kind, reference or experiment that does not exist.
    """
    size, words = _limit(asked.get("limit", "")), {"kind": asked["kind"]} if asked.get("kind") else {}
    order, where, after = asked.get("order", ""), asked.get("where", ""), asked.get("after")
    found = project.runs(where, order=order, after=after, limit=size, slim=True, **words)
    columns = [one.strip() for one in asked.get("columns", "").split(",") if one.strip()] or _usual(found, order)
    kept = {name: value for name, value in asked.items() if value and name not in {"after", "trail"}}
    trail = [one for one in asked.get("trail", "").split(".") if one]
    return {
        "where": where,
        "order": order,
        "count": project.count_runs(where, **words) if after is None else None,
        "columns": [_head(name, order, kept) for name in columns],
        "runs": [
            {**run_row(project, run), "cells": [one_value(run, name, project.context.host) for name in columns]}
            for run in found
        ],
        "after": found.after,
        "more": _address(kept, found.after, [*trail, after or "first"]) if found.after else None,
        "previous": _previous(kept, trail) if after else None,
    }


def _limit(text: str) -> int:
    if not text:
        return PAGE
    if not text.isascii() or not text.isdigit() or len(text) > 6 or not 0 < int(text) <= _MOST:
        raise Invalid(f"limit={text[:40]!r} makes no sense. Ask for 1 to {_MOST}.")
    return int(text)


def _usual(found: Any, order: str) -> list[str]:
    """The columns of a page where none are chosen: when, how long, what it is sorted by, what varies."""
    metrics = dict.fromkeys(f"metrics.{name}" for run in found for name in sorted(run.metrics))
    parameters = dict.fromkeys(f"params.{name}" for run in found for name in run.parameters if _varies(found, name))
    sorted_by = [name for one in parse_order(order) if "." in (name := write_order((one,)).split(" ")[0])]
    known = [name for name in sorted_by if name in metrics or name in parameters]
    usual = [*list(metrics)[:_SHOWN_METRICS], *list(parameters)[:_SHOWN_PARAMETERS]]
    return ["started", "seconds", *dict.fromkeys([*known, *usual])]


def _varies(found: list[Run], name: str) -> bool:
    return len({repr(run.parameters.get(name)) for run in found}) > 1


def _head(name: str, order: str, kept: dict[str, str]) -> dict[str, Any]:
    """A column with its direction, and the address of the page sorted by it, the other way where it is already."""
    group, dot, rest = name.partition(".")
    quoted = f"{group}.`{rest.replace('`', '``')}`" if dot else name
    try:
        field = parse_order(quoted)[0].field
    except Invalid:
        return {"name": name, "direction": "", "href": None}  # a column that only a table has, such as 'error'
    first = next(iter(parse_order(order)), None)
    now = "" if first is None or first.field != field else "descending" if first.descending else "ascending"
    turned = quoted if now == "descending" else f"{quoted} desc"
    return {"name": name, "direction": now, "href": _address({**kept, "order": turned}, None, [])}


def _address(kept: dict[str, str], after: str | None, trail: list[str]) -> str:
    more = {"after": after, "trail": ".".join(trail[-_TRAIL:])} if after else {}
    return f"/runs?{urlencode({**kept, **more})}"


def _previous(kept: dict[str, str], trail: list[str]) -> str:
    last = trail[-1] if trail else "first"
    return _address(kept, None if last == "first" else last, trail[:-1])
