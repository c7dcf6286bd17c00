"""A project in memory."""

from __future__ import annotations

import pytest

from trivet.clock import system_clock
from trivet.config import load_settings
from trivet.ledger.blobs.memory import open_blobs
from trivet.ledger.stores.memory import open_store
from trivet.pipelines.context import Context


@pytest.fixture()
def context(tmp_path):
    store, blobs = open_store("memory:", tmp_path), open_blobs("memory:", tmp_path)
    return Context(tmp_path, load_settings(tmp_path, {}), store, blobs, system_clock, "ada", "here")
