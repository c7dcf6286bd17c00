from __future__ import annotations

import pytest

from trivet.features.engines import prepared, timeline
from trivet.features.engines.local import LocalEngine
from trivet.testing.engines import EngineContract


class TestLocalEngine(EngineContract):
    def open(self):
        return LocalEngine()


class TestLocalEngineAsWithManyRows(EngineContract):
    """Key by key and stretch by stretch, which only long tables are otherwise."""

    test_the_width_of_a_source_costs_what_it_is = None  # the time of stretches of three rows tells nothing

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def short(cls):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(prepared, "_MANY", 0)
            patch.setattr(timeline, "_STRETCH", 3)
            yield

    def open(self):
        return LocalEngine()
