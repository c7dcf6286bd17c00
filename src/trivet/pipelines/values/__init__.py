"""How Python values become artifacts and come back: one file per kind.

A value names its kind by the attribute ``__trivet_kind__`` of its class; data frames, paths and scikit-learn
estimators are known by the library of their class, without importing it; what is plainly JSON is JSON; kinds of
other packages (entry points ``trivet.kind``) are asked about the rest, and what remains is JSON again.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import cast

from trivet import plugins
from trivet.ledger import Artifact, Blobs
from trivet.pipelines.context import Context
from trivet.pipelines.values.contract import Kind, Recorder, Saved

__all__ = ["Kind", "Recorder", "Saved", "kind_of", "load", "save", "store"]

_BY_LIBRARY = {"pandas": "table", "polars": "table", "pyarrow": "table", "sklearn": "model"}


def save(value: object, context: Context, kind: str | None = None) -> Artifact:
    """Store a value and record it in the ledger; ``kind`` is named where the type does not tell the kind.

    Raises:
        Invalid: the value cannot be of that kind; the sentence says why.
    """
    maker = _kind(kind or kind_of(value))
    if isinstance(maker, Recorder):
        return maker.record(value, context)
    name, saved = store(value, context.blobs, kind)
    artifact = Artifact.of(name, saved.spec, saved.files, content=saved.content, created=context.clock())
    context.ledger.write(artifact)
    return artifact


def load(artifact: Artifact, blobs: Blobs) -> object:
    """The value of an artifact again.

    Raises:
        ConfigError: no kind has that name.
        Corrupt: stored bytes are not the bytes that were stored.
        Refused: the content holds something that may not be loaded.
    """
    return _kind(artifact.kind).load(artifact, blobs)


def store(value: object, blobs: Blobs, kind: str | None = None) -> tuple[str, Saved]:
    """Store a value's content without recording it: the kind's name, and what an artifact is made of.

    Raises:
        Invalid: as ``save``.
    """
    name = kind or kind_of(value)
    return name, _kind(name).save(value, blobs)


def kind_of(value: object) -> str:
    """The name of the kind that ``value`` is of.

    Example:
        >>> kind_of({"auc": 0.7}), kind_of(Path("report"))
        ('json', 'folder')
    """
    if (named := getattr(type(value), "__trivet_kind__", None)) is not None:
        return str(named)
    if isinstance(value, Path):
        return "folder"
    for parent in type(value).__mro__:
        if (library := parent.__module__.partition(".")[0]) in _BY_LIBRARY:
            return _BY_LIBRARY[library]
    if _is_plain(value):
        return "json"
    return next((name for name in _outside() if _kind(name).accepts(value)), "json")


def _is_plain(value: object) -> bool:
    """Whether JSON has this very type, and those of all that it holds."""
    if type(value) is dict:
        return all(type(key) is str and _is_plain(item) for key, item in value.items())
    if type(value) is list:
        return all(map(_is_plain, value))
    return value is None or type(value) in (bool, int, float, str)


@cache
def _outside() -> tuple[str, ...]:
    from importlib.metadata import entry_points  # a sixth of the time in which a worker starts

    return tuple(sorted(point.name for point in entry_points(group="trivet.kind")))


@cache
def _kind(name: str) -> Kind:
    opener = plugins.load("kind", name)
    return cast("type[Kind]", opener)()
