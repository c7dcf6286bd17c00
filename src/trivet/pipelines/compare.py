"""How much alike two artifacts are: to the byte, in canonical content, in their numbers, or not.

Pure functions over two artifacts and where their bytes are. Whether two models predict alike needs their libraries,
so that level is found by ``replay`` in the restored environment. Invariant: a level is only given if it was checked,
and whatever is less than ``bytes`` names the first difference.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import msgspec

from trivet.ledger import Artifact, Blobs

__all__ = ["LEVELS", "Comparison", "Level", "compare", "first_difference", "worst"]

Level: TypeAlias = Literal["bytes", "canonical", "predictions", "metrics", "different"]
LEVELS: tuple[Level, ...] = get_args(Level)
"""From the best to the worst."""


@dataclass(frozen=True)
class Comparison:
    """Two artifacts that should be the same; ``difference`` is a sentence, empty at the level ``bytes``."""

    recorded: Artifact
    repeated: Artifact
    level: Level
    difference: str = ""


def worst(levels: Iterable[Level]) -> Level:
    """The level that holds for all.

    Example:
        >>> worst(["bytes", "metrics", "canonical"]), worst([])
        ('metrics', 'bytes')
    """
    return max(levels, key=LEVELS.index, default="bytes")


def compare(
    recorded: Artifact, repeated: Artifact, recorded_in: Blobs, repeated_in: Blobs, *, tolerance: float = 1e-9
) -> Comparison:
    """The best level that holds for two artifacts, leaving ``predictions`` aside.

    ``bytes``: all files and the declaration are equal. ``canonical``: the content is. ``metrics``: JSON in which
    numbers differ by no more than ``tolerance`` (relative) and all else is equal.
    """
    if recorded.digest == repeated.digest and recorded.files == repeated.files:
        return Comparison(recorded, repeated, "bytes")
    if recorded.kind != repeated.kind:
        return Comparison(recorded, repeated, "different", f"it was a {recorded.kind} and is a {repeated.kind}.")
    if recorded.content == repeated.content:
        return Comparison(
            recorded, repeated, "canonical", f"{_what_differs(recorded, repeated)} The content is the same."
        )
    if recorded.kind != "json" or recorded.files.keys() != repeated.files.keys():
        return Comparison(recorded, repeated, "different", _what_differs(recorded, repeated))
    then, now = _read(recorded, recorded_in), _read(repeated, repeated_in)
    place = first_difference(then, now, tolerance=tolerance)
    if place is None:
        exact = first_difference(then, now, tolerance=0.0) or _what_differs(recorded, repeated)
        return Comparison(recorded, repeated, "metrics", f"{exact} That is within {tolerance:g}.")
    return Comparison(recorded, repeated, "different", place)


def first_difference(then: Any, now: Any, *, tolerance: float, path: str = "") -> str | None:
    """The first place at which two JSON values differ, as a sentence; None if they do not.

    Example:
        >>> first_difference({"auc": 0.7, "n": [1, 2]}, {"auc": 0.7, "n": [1, 3]}, tolerance=0.0)
        'n[1] was 2 and is 3.'
    """
    if isinstance(then, dict) and isinstance(now, dict) and then.keys() == now.keys():
        pairs = ((f"{path}.{key}".lstrip("."), then[key], now[key]) for key in then)
    elif isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        pairs = ((f"{path}[{place}]", one, other) for place, (one, other) in enumerate(zip(then, now, strict=True)))
    else:
        same = _close(then, now, tolerance) if _is_number(then) and _is_number(now) else _equal(then, now)
        return None if same else f"{path or 'the value'} was {_shown(then)} and is {_shown(now)}."
    found = (first_difference(one, other, tolerance=tolerance, path=place) for place, one, other in pairs)
    return next((sentence for sentence in found if sentence), None)


def _what_differs(recorded: Artifact, repeated: Artifact) -> str:
    for name in sorted(recorded.files.keys() | repeated.files.keys()):
        then, now = recorded.files.get(name), repeated.files.get(name)
        if then != now:
            return f"the file {name} was {_file(then)} and is {_file(now)}."
    for key in sorted(recorded.spec.keys() | repeated.spec.keys()):
        then, now = recorded.spec.get(key), repeated.spec.get(key)
        if then != now:
            return f"its {key} was {_shown(then)} and is {_shown(now)}."
    return "its content differs."


def _file(file: Any) -> str:
    return "not there" if file is None else f"{file.digest[:12]} ({file.size} bytes)"


def _read(artifact: Artifact, blobs: Blobs) -> Any:
    return [msgspec.json.decode(blobs.read(file.digest)) for _, file in sorted(artifact.files.items())][0]


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _close(then: float, now: float, tolerance: float) -> bool:
    return then == now or math.isclose(then, now, rel_tol=tolerance)


def _equal(then: object, now: object) -> bool:
    return type(then) is type(now) and then == now


def _shown(value: object) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= 60 else f"{text[:57]}..."
