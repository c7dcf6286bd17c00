from __future__ import annotations

import pytest

from tests.features.projects import NOON, opened
from trivet import plugins
from trivet.clock import FixedClock, system_clock
from trivet.config import load_settings
from trivet.pipelines.context import Context

pytest.register_assert_rewrite("trivet.testing.engines")

plugins.BUILTIN["kind"].setdefault("source", ("trivet.features.sources:open_kind", "features"))
plugins.BUILTIN["kind"].setdefault("feature_view", ("trivet.features.catalogue:open_kind", ""))


@pytest.fixture
def context(tmp_path):
    """A project in an empty folder, its ledger and content in memory."""
    settings = load_settings(tmp_path, {})
    ledger = plugins.open_url("ledger", "memory:", tmp_path)
    blobs = plugins.open_url("blobs", "memory:", tmp_path)
    yield Context(tmp_path, settings, ledger, blobs, system_clock, "ada", "desk")
    ledger.close()


@pytest.fixture
def clock():
    return FixedClock(NOON)


@pytest.fixture
def filed(tmp_path, clock):
    """A project of files, at noon."""
    made = opened(tmp_path, clock)
    yield made
    made.ledger.close()
