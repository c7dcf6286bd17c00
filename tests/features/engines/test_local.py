from __future__ import annotations

import gc
from datetime import UTC, datetime

import polars as pl
import pytest

from trivet.features import Entity, FeatureView, Source, count, latest, mean, select_all
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


def test_after_an_answer_nothing_is_kept_even_before_the_collector_comes():
    """Else the arrays of one source would come on top of those of the next."""
    rows = pl.DataFrame({"a": [1, 2], "at": [datetime(2013, 1, 1, tzinfo=UTC)] * 2, "x": [1.0, 2.0]})
    features = {"x": latest("x"), "n": count("1d", where="x > 1"), "m": mean("x", ["1h", "1d"])}
    view = FeatureView("v", entity=Entity("a"), source=Source("s", event_time="at"), features=features)
    gc.collect()
    gc.disable()
    try:
        LocalEngine().point_in_time(rows.select("a", t="at"), select_all([view]), {"s": rows}, time="t")
        kinds = (prepared.Prepared, prepared.Query, timeline.Timeline, timeline.Race)
        assert not [each for each in gc.get_objects() if isinstance(each, kinds)]
    finally:
        gc.enable()
