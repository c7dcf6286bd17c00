"""Lateness is that of a plain loop over the rows in the order in which they reached us."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from trivet.features.tables.lateness import Lateness, lateness
from trivet.features.tables.rules import TableRules

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
RULES = TableRules(event_time="at", created="created")
MOMENT = pl.Datetime("us", "UTC")


def frame(rows):
    times = [(NOON + timedelta(seconds=event), NOON + timedelta(seconds=event + delay)) for event, delay in rows]
    return pl.DataFrame(times, {"at": MOMENT, "created": MOMENT}, orient="row")


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=30))
def test_against_a_loop(rows):
    found = lateness(frame(rows).lazy(), RULES)
    late = sum(any(e > event and e + d < event + delay for e, d in rows) for event, delay in rows)
    delays = sorted(float(delay) for _, delay in rows)
    if not rows:
        assert found == Lateness(0)
        return
    level = [delays[math.ceil(len(rows) * share) - 1] for share in (0.5, 0.95, 1.0)]
    assert found == Lateness(len(rows), late, *level)


def test_a_table_that_knows_no_time_but_that_of_the_arrival():
    assert lateness(frame([(0, 1)]).lazy(), TableRules()) == Lateness(1)
