"""The one place that wires legs, engines and settings together: what a user holds in a hand.

A ``Project`` is a folder with a ledger. Its methods are the public API of the three legs, one file each; each hands
the context down to one function of one leg and leaves the work there. Nothing but this package knows more than one
leg: serving, for one, is given plain callables for features and scores.
"""

from __future__ import annotations

import getpass
import logging
import socket
from collections.abc import Mapping
from pathlib import Path

from trivet.clock import Clock, system_clock
from trivet.config import find_root, load_settings
from trivet.errors import NotFound, TrivetError
from trivet.pipelines.context import Context
from trivet.plugins import open_url
from trivet.project.evidence import Evidence

__all__ = ["Project", "open"]

_log = logging.getLogger(__name__)


def open(  # noqa: A001 - reads as tv.open()
    path: str | Path | None = None, *, clock: Clock = system_clock, environment: Mapping[str, str] | None = None
) -> Project:
    """The project of a folder: ``trivet.toml`` or ``.trivet`` upwards from it, else a new one in ``.trivet``.

    Nothing needs to be set up first. Every setting has a default without a server; see ``trivet.config``.

    Args:
        path: the folder; the current one by default.
        clock: where the present comes from; a ``FixedClock`` for tests and replays.
        environment: the environment variables that settings are read from; those of the process by default.

    Raises:
        NotFound: there is no such folder.
        ConfigError: ``trivet.toml`` or a ``TRIVET_...`` variable cannot be used.
        MissingExtra: an engine that the settings name is not installed.

    Example:
        >>> import trivet as tv
        >>> with tv.open() as project:
        ...     artifact = project.save({"rate": 2.5})
        ...     project.load(artifact.id)
        {'rate': 2.5}
    """
    folder = Path.cwd() if path is None else Path(path).resolve()
    if not folder.is_dir():
        raise NotFound("folder", str(folder), hint="Create it, or open another.")
    root = find_root(folder)
    settings = load_settings(root, environment)
    project = Project(
        Context(
            root=settings.root,
            settings=settings,
            ledger=open_url("ledger", settings.ledger.url, settings.root),
            blobs=open_url("blobs", settings.blobs.url, settings.root),
            clock=clock,
            user=getpass.getuser(),
            host=socket.gethostname(),
        )
    )
    folder = settings.root / ".trivet"
    if any(next((folder / name).glob(what), None) for name, what in (("spool", "*.spool"), ("console", "*"))):
        _hand_in(project)
    return project


def _hand_in(project: Project) -> None:
    try:
        project.sync()
    except TrivetError as exc:  # whoever opens a project may want to read only; the next one tries again
        _log.warning("What runs left in the spool could not be handed in: %s", exc)


class Project(Evidence):
    """A folder with a ledger, and everything that can be done with them. ``trivet.open()`` answers one.

    Use it as a context manager, or call ``close`` when done; either is optional in a script. What is given as a
    *reference* is any text that ``get`` understands.
    """
