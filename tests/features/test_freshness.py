"""How far the online store is with a view: by materialization and by pushes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

import trivet as tv
from trivet.clock import FixedClock
from trivet.errors import Invalid, NotFound

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def test_materialized_and_pushed_and_neither(tmp_path):
    clock = FixedClock(NOON)
    with tv.open(tmp_path, clock=clock) as project:
        order = {"order": 1, "customer": 7, "at": NOON - timedelta(hours=1), "spent": 2.0}
        project.tables.ingest("orders", [order], key="order", event_time="at")
        source = project.tables.source("orders")
        view = tv.FeatureView("spending", entity=tv.Entity("customer"), source=source, features={"n": tv.count("1d")})
        project.define(view)
        nothing = project.freshness("spending")
        assert (nothing.materialized, nothing.pushed, nothing.behind) == (None, None, None)
        assert (nothing.tables, nothing.newest) == (("orders",), NOON - timedelta(hours=1))
        assert str(nothing) == "spending (version 1): never materialized, newest event 2026-01-01 11:00:00 UTC"
        project.materialize("spending", until=NOON - timedelta(minutes=5))
        filled = project.freshness("spending")
        assert (filled.materialized, filled.behind) == (NOON - timedelta(minutes=5), 300.0)
        clock.advance(timedelta(minutes=1))
        project.push("orders", {**order, "order": 2, "at": NOON})
        pushed = project.freshness("spending@1")
        assert (pushed.pushed, pushed.behind, pushed.newest) == (NOON + timedelta(minutes=1), 0.0, NOON)
        assert "pushed until 2026-01-01 12:01:00 UTC" in str(pushed)


def test_what_has_none(tmp_path):
    with tv.open(tmp_path) as project:
        with pytest.raises(NotFound, match="no feature view or service 'spending'"):
            project.freshness("spending")
        source = tv.Source("shops", "shops.csv")
        view = tv.FeatureView("shops", entity=tv.Entity("shop"), source=source, features=["size"])
        project.define(view, tv.FeatureService("all", [view]))
        assert project.freshness("shops").tables == ()
        with pytest.raises(Invalid, match="no feature view"):
            project.freshness("all")
