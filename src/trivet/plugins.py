"""Engines by the scheme of a URL: ours by name, anyone's by entry point, loaded when first asked for.

A package that ships an engine declares, in its ``pyproject.toml``::

    [project.entry-points."trivet.online"]
    cassandra = "their_package.online:open_store"

and ``[features] online = "cassandra://..."`` finds it. What it names is called as ``opener(url, root)`` and
answers an object that passes the contract class in ``trivet.testing``.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias

from trivet.errors import ConfigError, MissingExtra, nearest

__all__ = ["BUILTIN", "Opener", "load", "open_url"]

Opener: TypeAlias = Callable[[str, Path], Any]

# group -> scheme -> ("module:function", the extra that brings what it imports)
BUILTIN: dict[str, dict[str, tuple[str, str]]] = {
    "ledger": {
        "memory": ("trivet.ledger.stores.memory:open_store", ""),
        "sqlite": ("trivet.ledger.stores.sql:open_store", ""),
        "postgresql": ("trivet.ledger.stores.sql:open_store", "postgres"),
        "postgresql+psycopg": ("trivet.ledger.stores.sql:open_store", "postgres"),
    },
    "blobs": {
        "memory": ("trivet.ledger.blobs.memory:open_blobs", ""),
        "file": ("trivet.ledger.blobs.local:open_blobs", ""),
        "s3": ("trivet.ledger.blobs.s3:open_blobs", "s3"),
    },
    "engine": {
        "local": ("trivet.features.engines.local:open_engine", "features"),
        "spark": ("trivet.features.engines.spark:open_engine", "spark"),
        "sc": ("trivet.features.engines.spark:open_engine", "spark"),
    },
    "online": {
        "memory": ("trivet.features.online.memory:open_store", ""),
        "lmdb": ("trivet.features.online.lmdb:open_store", "features"),
        "redis": ("trivet.features.online.redis:open_store", "redis"),
        "rediss": ("trivet.features.online.redis:open_store", "redis"),
        "redis+unix": ("trivet.features.online.redis:open_store", "redis"),
    },
    "kind": {
        "json": ("trivet.pipelines.values.json:open_kind", ""),
        "table": ("trivet.pipelines.values.table:open_kind", "features"),
        "folder": ("trivet.pipelines.values.folder:open_kind", ""),
        "model": ("trivet.pipelines.values.model:open_kind", "training"),
        "training_set": ("trivet.features.training_set:open_kind", "features"),
        "feature_view": ("trivet.features.catalogue:open_kind", "features"),
        "on_demand": ("trivet.features.catalogue:open_on_demand_kind", "features"),
        "feature_service": ("trivet.features.catalogue:open_service_kind", "features"),
        "source": ("trivet.features.snapshots:open_kind", "features"),
        "expectations": ("trivet.features.quality.expectations:open_kind", "features"),
        "quality_report": ("trivet.features.quality.report:open_kind", "features"),
        "gate_report": ("trivet.training.gates:open_kind", "training"),
    },
    "runner": {"local": ("trivet.pipelines.runners.local:open_runner", "")},
}


def open_url(group: str, url: str, root: Path) -> Any:
    """The engine that ``url`` names.

    Raises:
        ConfigError: no engine has that scheme; those that exist are named.
        MissingExtra: the engine exists and its library is not installed.
    """
    scheme = url.partition(":")[0]
    return load(group, scheme)(url, root)


def load(group: str, scheme: str) -> Opener:
    """The opener of engine ``scheme`` in ``group``, imported now.

    Raises:
        ConfigError: as ``open_url``.
        MissingExtra: as ``open_url``.
    """
    if scheme in BUILTIN[group]:
        target, extra = BUILTIN[group][scheme]
        return _resolve(target, extra, wanted_for=f"{group} {scheme!r}")
    from importlib.metadata import entry_points  # slow to import, and needed only here

    outside = {point.name: point for point in entry_points(group=f"trivet.{group}")}
    if scheme in outside:
        opener: Opener = outside[scheme].load()
        return opener
    known = sorted({*BUILTIN[group], *outside})
    close = nearest(scheme, known)
    raise ConfigError(
        f"No {group} engine is called {scheme!r}. "
        + (f"Did you mean {close[0]!r}?" if close else f"There are: {', '.join(known)}.")
    )


def _resolve(target: str, extra: str, *, wanted_for: str) -> Opener:
    module, _, name = target.partition(":")
    try:
        opener: Opener = getattr(import_module(module), name)
    except ModuleNotFoundError as exc:
        if not extra or exc.name is None or exc.name.startswith("trivet"):
            raise
        raise MissingExtra(exc.name, extra=extra, wanted_for=wanted_for) from exc
    return opener
