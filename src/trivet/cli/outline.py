"""Any JSON value as an indented outline for people: short values beside their names, nested ones below them.

Times read as times, long lists end in how many more there are, and nothing is shown that is empty.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

__all__ = ["outline", "said"]

_MOST = 12
_MOST_LINES = 60
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)")


def outline(value: Mapping[str, Any]) -> str:
    """The outline of a mapping, one line or one indented block for each entry.

    Example:
        >>> print(outline({"name": "fit", "empty": {}, "spec": {"rows": 1200, "columns": ["a", "b"]}}))
        name  fit
        spec
          rows     1200
          columns  a, b
    """
    return "\n".join(_lines(value))


def said(value: Any) -> str:
    """A single value in a line.

    Example:
        >>> said(0.123456), said("2013-12-31T22:05:00.5+00:00"), said(None), said([1, None]), said({"a": True})
        ('0.1235', '2013-12-31 22:05:00 UTC', '-', '1, -', 'a=true')
    """
    match value:
        case None:
            return "-"
        case bool():
            return "true" if value else "false"
        case float():
            return f"{value:.0f}" if value.is_integer() and abs(value) < 1e15 else f"{value:.4g}"
        case datetime():
            return f"{value:%Y-%m-%d %H:%M:%S} UTC"
        case str():
            return f"{value[:19].replace('T', ' ')} UTC" if _MOMENT.fullmatch(value) else value
        case Mapping():
            return ", ".join(f"{key}={said(item)}" for key, item in value.items() if not _empty(item))
        case Sequence():
            more = [f"and {len(value) - _MOST:,} more"] if len(value) > _MOST else []
            return ", ".join([*map(said, value[:_MOST]), *more])
        case _:
            return str(value)


def _lines(value: Mapping[str, Any], indent: str = "") -> Iterator[str]:
    entries = [(str(key), item) for key, item in value.items() if not _empty(item)]
    width = max((len(key) for key, item in entries if not _nested(item)), default=0)
    for key, item in entries:
        if isinstance(item, Mapping) and _nested(item):
            yield f"{indent}{key}"
            yield from _lines(item, f"{indent}  ")
        elif _nested(item):
            yield f"{indent}{key}"
            yield from (f"{indent}  {said(each)}" for each in item[:_MOST_LINES])
            yield from [f"{indent}  and {len(item) - _MOST_LINES:,} more"] if len(item) > _MOST_LINES else []
        else:
            first, *rest = said(item).splitlines() or [""]
            yield f"{indent}{key.ljust(width)}  {first}".rstrip()
            yield from (f"{indent}{' ' * width}  {line}" for line in rest)


def _nested(value: Any) -> bool:
    if isinstance(value, Mapping):
        return True
    return isinstance(value, list | tuple) and any(isinstance(item, Mapping | list) for item in value)


def _empty(value: Any) -> bool:
    return value is None or (isinstance(value, str | list | tuple | Mapping) and not value)
