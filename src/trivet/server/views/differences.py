"""What changed between two things, and what each change does to the result where that was asked before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trivet.errors import Invalid
from trivet.server.views.places import place

if TYPE_CHECKING:
    from trivet.project import Project
    from trivet.tracking.attribution import Attribution, Measure

__all__ = ["difference"]

_LONGEST = 300
_SHOWN = 60
"""Of a value in a cell."""


def difference(project: Project, a: str = "", b: str = "", key: str = "") -> dict[str, Any]:
    """What differs between ``a`` and ``b``; of neither, a form that asks for them.

    Raises:
        NotFound: a reference names nothing.
        Invalid: one was not given, or the two cannot be compared.
    """
    asked = {"a": a, "b": b, "key": key}
    if not a and not b:
        return {"title": "What changed", **asked, "found": None, "why": None, "parts": [], "places": []}
    if not (a and b) or max(len(a), len(b)) > _LONGEST:
        raise Invalid("Name two things to compare: runs, models, training sets or other artifacts, by their ids.")
    found = project.diff(a, b, key=[each.strip() for each in key.split(",") if each.strip()] or None).to_json()
    names = ("parameters", "metrics", "seeds", "inputs", "outputs", "contents", "environment", "hardware", "tags")
    return {
        "title": f"{a} and {b}",
        **asked,
        "found": found,
        "parts": [{"name": name, "changes": [_cells(each) for each in found[name]]} for name in names],
        "places": [{"name": each, "href": place(project, each)} for each in (a, b)],
        "why": _why(project.attribution(a, b)),
    }


def _cells(change: dict[str, Any]) -> dict[str, Any]:
    """Before and after; None where one side has no such entry."""
    return {"name": change["name"], **{side: _shown(change[side]) for side in ("before", "after") if side in change}}


def _shown(value: Any) -> Any:
    text = str(value)
    return value if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def _why(found: Attribution | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "run": found.run,
        "exact": found.exact,
        "causes": [{"name": cause.name, "differs": cause.differs} for cause in found.causes],
        "measures": [_measure(each) for each in found.measures],
        "notes": list(found.notes),
    }


def _measure(measure: Measure) -> dict[str, Any]:
    """A measure with the share of each cause of the largest, for its bar."""
    shares = measure.split.shares
    largest = max((abs(share.amount) for share in shares), default=0.0) or 1.0
    return {
        "name": measure.name,
        "a": measure.a,
        "b": measure.b,
        "shares": [
            {"amount": share.amount, "low": share.low, "high": share.high, "part": abs(share.amount) / largest}
            for share in shares
        ],
        "pairs": [{"first": pair.first, "second": pair.second, "amount": pair.amount} for pair in measure.split.pairs],
    }
