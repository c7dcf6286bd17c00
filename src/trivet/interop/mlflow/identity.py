"""Ids as MLflow writes them and as the ledger does: two spellings of the same 128 bits, so no table is needed.

A run is a ULID here and 32 hexadecimal digits there; a logged model the same after ``m-``; an experiment the decimal
number of its ULID, because clients expect digits, and ``"0"`` is the default experiment, ``""`` here.
"""

from __future__ import annotations

import re

__all__ = ["experiment_here", "experiment_there", "model_here", "model_there", "run_here", "run_there"]

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PLACES = {letter: place for place, letter in enumerate(_ALPHABET)}
_HEX = re.compile(r"[0-9a-f]{32}")
_DIGITS = re.compile(r"[1-9][0-9]{0,38}")
_ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")


def run_there(ulid: str) -> str:
    """The id of a run for a client.

    Example:
        >>> run_there("01ARZ3NDEKTSV4RRFFQ69G5FAV")
        '01563e3ab5d3d6764c61efb99302bd5b'
        >>> run_here(run_there("01ARZ3NDEKTSV4RRFFQ69G5FAV"))
        '01ARZ3NDEKTSV4RRFFQ69G5FAV'
    """
    return f"{_number(ulid):032x}"


def run_here(id_: str) -> str | None:
    """The id of a run in the ledger, or None where no run can have this one."""
    return _ulid(int(id_, 16)) if _HEX.fullmatch(id_) else None


def model_there(ulid: str) -> str:
    """The id of a logged model for a client."""
    return f"m-{run_there(ulid)}"


def model_here(id_: str) -> str | None:
    """The id in the ledger of the run that stands for a logged model."""
    return run_here(id_[2:]) if id_.startswith("m-") else None


def experiment_there(ulid: str) -> str:
    """The id of an experiment for a client.

    Example:
        >>> experiment_there(""), experiment_here("0")
        ('0', '')
        >>> experiment_here(experiment_there("01ARZ3NDEKTSV4RRFFQ69G5FAV"))
        '01ARZ3NDEKTSV4RRFFQ69G5FAV'
    """
    return str(_number(ulid)) if _ULID.fullmatch(ulid) else "0"


def experiment_here(id_: str) -> str | None:
    """The id of an experiment in the ledger, or None where no experiment can have this one."""
    if id_ == "0":
        return ""
    if not _DIGITS.fullmatch(id_) or int(id_) >= 1 << 128:
        return None
    return _ulid(int(id_))


def _number(ulid: str) -> int:
    number = 0
    for letter in ulid:
        number = number << 5 | _PLACES[letter]
    return number


def _ulid(number: int) -> str:
    return "".join(_ALPHABET[number >> shift & 31] for shift in range(125, -5, -5))
