from __future__ import annotations

import pytest

from trivet import plugins
from trivet.clock import system_clock
from trivet.config import load_settings
from trivet.pipelines.context import Context

pytest.register_assert_rewrite("trivet.testing.engines")


@pytest.fixture
def context(tmp_path):
    """A project in an empty folder, its ledger and content in memory."""
    settings = load_settings(tmp_path, {})
    ledger = plugins.open_url("ledger", "memory:", tmp_path)
    blobs = plugins.open_url("blobs", "memory:", tmp_path)
    yield Context(tmp_path, settings, ledger, blobs, system_clock, "ada", "desk")
    ledger.close()
