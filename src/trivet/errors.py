"""Every error that Trivet raises on purpose, each a sentence: what was asked, what exists, what to do.

    TrivetError
    ├── NotFound (KeyError)          asked for a thing that does not exist; offers the nearest names
    ├── Ambiguous (KeyError)         a shortened id that fits several things
    ├── Invalid (ValueError)         input, data or a definition that breaks a stated rule
    │   └── ConfigError              trivet.toml or an environment variable
    ├── Conflict (RuntimeError)      someone else changed the thing first, or it is finished and may not change
    ├── Corrupt (RuntimeError)       stored bytes are not the bytes that were stored
    ├── Refused (PermissionError)    allowed to no one, or not without saying why (an ungated model)
    ├── Unavailable (ConnectionError) something that this rests on does not answer now, and may later
    ├── StepFailed (RuntimeError)    a task raised, was killed or ran out of something
    └── MissingExtra (ImportError)   an optional dependency; carries the exact install line

Foreign exceptions are wrapped once, where they enter, with ``raise ... from exc``. This module leaves the
translation to exit codes and HTTP statuses to ``trivet.cli`` and ``trivet.server``.
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = [
    "Ambiguous",
    "ConfigError",
    "Conflict",
    "Corrupt",
    "Invalid",
    "MissingExtra",
    "NotFound",
    "Refused",
    "StepFailed",
    "TrivetError",
    "Unavailable",
    "nearest",
]


class TrivetError(Exception):
    """The root of the tree: catch it to catch everything that Trivet raises on purpose."""

    code: str = "error"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:  # KeyError would show the repr of its argument
        return self.message

    def __reduce__(self) -> tuple[object, ...]:  # errors cross between processes, whatever they are made from
        return _again, (type(self), self.message, dict(self.__dict__))


class NotFound(TrivetError, KeyError):
    """A thing that does not exist.

    Example:
        >>> str(NotFound("feature", "congestoin:delay_3h", ["congestion:delay_3h", "weather:temp"]))
        "There is no feature 'congestoin:delay_3h'. Did you mean 'congestion:delay_3h'?"
    """

    code = "not_found"

    def __init__(self, noun: str, asked: str, available: Iterable[str] = (), *, hint: str = "") -> None:
        self.noun, self.asked, self.available = noun, asked, sorted({str(name) for name in available})
        sentence = f"There is no {noun} {asked!r}."
        super().__init__(" ".join(filter(None, [sentence, _what_exists(asked, self.available), hint])))


class Ambiguous(TrivetError, KeyError):
    """A shortened id that fits several things."""

    code = "ambiguous"

    def __init__(self, noun: str, asked: str, candidates: Iterable[str]) -> None:
        self.noun, self.asked, self.candidates = noun, asked, sorted(candidates)
        shown = ", ".join(self.candidates[:5]) + (", ..." if len(self.candidates) > 5 else "")
        super().__init__(f"{asked!r} fits several {noun}s: {shown}. Give more of the id.")


class Invalid(TrivetError, ValueError):
    """Input, data or a definition that breaks a stated rule."""

    code = "invalid"


class ConfigError(Invalid):
    """A setting in ``trivet.toml`` or in the environment that cannot be used."""

    code = "config"


class Conflict(TrivetError, RuntimeError):
    """Someone else changed the thing first, or it is finished and may not change."""

    code = "conflict"


class Corrupt(TrivetError, RuntimeError):
    """Stored bytes are not the bytes that were stored."""

    code = "corrupt"


class Refused(TrivetError, PermissionError):
    """An action that the rules of the project do not allow, or not without a reason on record."""

    code = "refused"


class Unavailable(TrivetError, ConnectionError):
    """Something that this rests on, an online store for example, does not answer now. Asking again later may help."""

    code = "unavailable"


class StepFailed(TrivetError, RuntimeError):
    """A task that raised, was killed, or ran out of something. ``run`` is the id of the failed run."""

    code = "step_failed"

    def __init__(self, message: str, *, run: str = "") -> None:
        super().__init__(message)
        self.run = run


class MissingExtra(TrivetError, ImportError):
    """An optional dependency that is not installed.

    Example:
        >>> str(MissingExtra("polars", extra="features", wanted_for="point-in-time joins"))
        "point-in-time joins needs the package 'polars': pip install 'trivet[features]'"
    """

    code = "missing_extra"

    def __init__(self, package: str, *, extra: str, wanted_for: str) -> None:
        self.package, self.extra = package, extra
        super().__init__(f"{wanted_for} needs the package {package!r}: pip install 'trivet[{extra}]'")


def nearest(asked: str, available: Iterable[str], *, most: int = 3) -> list[str]:
    """The names in ``available`` that look most like ``asked``, best first.

    Example:
        >>> nearest("wether", ["weather", "planes"])
        ['weather']
    """
    from difflib import get_close_matches  # only where something is wrong

    names = list(available)
    folded = {name.casefold(): name for name in names}
    return [folded[name] for name in get_close_matches(asked.casefold(), folded, n=most, cutoff=0.6)]


def _again(kind: type[TrivetError], message: str, state: dict[str, object]) -> TrivetError:
    error = kind.__new__(kind, message)
    error.__dict__.update(state)
    return error


def _what_exists(asked: str, available: list[str]) -> str:
    if not available:
        return ""
    close = nearest(asked, available)
    if close:
        return f"Did you mean {' or '.join(map(repr, close))}?"
    shown = ", ".join(available[:8]) + (f" and {len(available) - 8} more" if len(available) > 8 else "")
    return f"There are: {shown}."
