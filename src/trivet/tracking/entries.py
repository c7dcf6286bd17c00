"""What a run takes as a name, a number and a parameter, and the sentence for what it does not take.

Pure functions, without ledger or files. Invariant: what passes here survives JSON unchanged, whatever the store.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Mapping
from datetime import date, datetime
from enum import Enum
from pathlib import PurePath
from typing import Any

from trivet.errors import Invalid
from trivet.types import Json

__all__ = ["check_name", "check_path", "check_step", "check_text", "free_slot", "number", "parameter"]

LONGEST = 250  # characters of a name; what MLflow's protocol allows too
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def check_name(noun: str, name: object) -> str:
    """``name`` as it is, where it can name a ``noun``.

    Raises:
        Invalid: it is no text, empty, too long, or holds control characters.
    """
    if not isinstance(name, str) or not name.strip():
        raise Invalid(f"{name!r} cannot name a {noun}: it needs some text.")
    if len(name) > LONGEST:
        raise Invalid(f"The name of a {noun} may have {LONGEST} characters; {name[:30] + '...'!r} has {len(name)}.")
    if _CONTROL.search(name):
        raise Invalid(f"{name!r} cannot name a {noun}: it holds a line break or another control character.")
    return check_text("name of a", noun, name)


def check_text(noun: str, name: str, text: str) -> str:
    """``text`` as it is, where it can be stored.

    Raises:
        Invalid: it holds half of a surrogate pair, which is no character.
    """
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as exc:
            raise Invalid(
                f"The {noun} {name!r} holds {text[exc.start]!r}, which is half of a character and cannot be stored."
            ) from exc
    return text


def check_path(name: object) -> str:
    """``name`` as it is, where it can name a file of a run: a relative path that stays where it is put.

    Raises:
        Invalid: it is absolute, climbs out by ``..``, has empty parts or backslashes, or is no name at all.

    Example:
        >>> check_path("figures/roc.png")
        'figures/roc.png'
    """
    text = check_name("file", name)
    if "\\" in text or ":" in text or any(part in ("", ".", "..") for part in text.split("/")):
        raise Invalid(f"{name!r} cannot name a file of a run. Write a relative path such as 'figures/roc.png'.")
    return text


def check_step(step: object) -> int:
    """``step`` as a whole number of 63 bits, from 0.

    Raises:
        Invalid: it is anything else.
    """
    try:
        whole = operator.index(step)  # type: ignore[arg-type]
    except TypeError as exc:
        raise Invalid(f"step={step!r} is not a whole number, such as an epoch or a batch counted from 0.") from exc
    if not 0 <= whole < 2**63:
        raise Invalid(f"step={whole} is out of range: steps count from 0.")
    return whole


def number(name: str, value: object) -> float:
    """``value`` as a float; NaN and infinity are numbers here.

    Takes Python's numbers and whatever turns into one by ``float``: NumPy scalars, one-element tensors, decimals.

    Raises:
        Invalid: it is text, an array, or too large.

    Example:
        >>> number("loss", 1), number("loss", float("inf"))
        (1.0, inf)
    """
    kind = type(value)
    if kind is float:
        return value  # type: ignore[return-value]
    if not isinstance(value, str | bytes | bytearray) and getattr(value, "ndim", 0) == 0:
        try:
            return float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError, OverflowError):
            pass  # answered below, with the same sentence as text and arrays
    shown = repr(value)
    shown = shown if len(shown) <= 40 else shown[:37] + "..."
    raise Invalid(f"The metric {name!r} is {shown} ({kind.__name__}), which is not a number. Log one number per name.")


def parameter(name: str, value: object) -> Json:
    """``value`` as JSON that reads back the same.

    NumPy scalars become Python's, tuples and sets lists, keys text, paths and times text. NaN and the infinities,
    which JSON lacks, become the text ``"nan"``, ``"inf"``, ``"-inf"``.

    Raises:
        Invalid: it is or holds something else, a function or an estimator for instance.

    Example:
        >>> parameter("class_weight", {0: 1, 1: 2.5})
        {'0': 1, '1': 2.5}
    """
    match value:
        case Enum():
            return parameter(name, value.value)
        case None | bool():
            return value
        case str():
            return check_text("parameter", name, str(value))
        case int():
            return int(value)
        case float():
            return float(value) if math.isfinite(value) else str(float(value))
        case PurePath():
            return value.as_posix()
        case datetime() | date():
            return value.isoformat()
        case Mapping():
            return {check_text("parameter", name, str(key)): parameter(name, item) for key, item in value.items()}
        case list() | tuple():
            return [parameter(name, item) for item in value]
        case set() | frozenset():
            return sorted((parameter(name, item) for item in value), key=repr)
    return _foreign_parameter(name, value)


def free_slot(taken: Mapping[str, Any], name: str, digest: str) -> str:
    """``name``, or the first of ``name-2``, ``name-3``... that is free or holds ``digest`` already.

    Example:
        >>> free_slot({"model": "aa"}, "model", "aa"), free_slot({"model": "aa"}, "model", "bb")
        ('model', 'model-2')
    """
    slot, count = name, 1
    while taken.get(slot, digest) != digest:
        count += 1
        slot = f"{name}-{count}"
    return slot


def _foreign_parameter(name: str, value: Any) -> Json:
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):  # scalars of NumPy and its kin
        return parameter(name, value.item())
    if hasattr(value, "tolist") and getattr(value, "size", 1_000_000) <= 1_000:
        return parameter(name, value.tolist())
    raise Invalid(
        f"The parameter {name!r} is a {type(value).__module__}.{type(value).__qualname__}, which is not data. "
        "Parameters are numbers, text, lists and dicts; name the thing by text, or keep it with run.output()."
    )
