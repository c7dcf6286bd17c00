"""Projects of files for tests: opened in a folder as any process would open them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from trivet import plugins
from trivet.clock import Clock, system_clock
from trivet.config import load_settings
from trivet.pipelines.context import Context

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


def opened(folder: Path, clock: Clock = system_clock) -> Context:
    """A project of files in a folder, as another process would open it."""
    settings = load_settings(folder, {})
    ledger = plugins.open_url("ledger", settings.ledger.url, folder)
    blobs = plugins.open_url("blobs", settings.blobs.url, folder)
    return Context(folder, settings, ledger, blobs, clock, "ada", "desk")
