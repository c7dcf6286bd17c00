"""Corrections are those of a plain loop over everything that was said."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from tempfile import mkdtemp

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import trivet as tv
from trivet.clock import FixedClock
from trivet.errors import NotFound

NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)


@settings(max_examples=12, deadline=None)
@given(
    st.lists(
        st.dictionaries(st.tuples(st.sampled_from("ab"), st.integers(0, 3)), st.integers(0, 2), min_size=1, max_size=5),
        min_size=1,
        max_size=4,
    )
)
def test_each_correction_says_what_it_corrected(deliveries):
    clock = FixedClock(NOON)
    said, expected = {}, []
    with tv.open(mkdtemp(), clock=clock) as project:
        for rows in deliveries:
            clock.advance(timedelta(hours=1))
            for (sensor, hour), value in rows.items():
                before = said.setdefault((sensor, hour), [])
                if before and before[-1] != value:
                    moment = NOON + timedelta(hours=hour)
                    expected.append((sensor, moment, float(before[-1]), float(value), clock(), len(before)))
                if not before or before[-1] != value:
                    before.append(value)
            frame = pl.DataFrame(
                [{"sensor": s, "time": NOON + timedelta(hours=h), "temp": float(v)} for (s, h), v in rows.items()]
            )
            project.series.write("plant", frame, by="sensor")
        found = project.series.revisions("plant:temp")
        assert sorted(found.rows()) == sorted(expected)
        assert found["known"].to_list() == sorted(found["known"].to_list(), reverse=True)
        one = project.series.revisions("plant:temp", of={"sensor": ["a"]})
        assert sorted(one.rows()) == sorted(each for each in expected if each[0] == "a")


def test_a_series_that_is_none_and_a_key_that_is_none(tmp_path):
    with tv.open(tmp_path) as project:
        project.series.write("energy:price", pl.DataFrame({"time": [NOON], "price": [1.0]}))
        assert project.series.revisions("energy:price").is_empty()
        with pytest.raises(NotFound, match="Did you mean 'energy:price'"):
            project.series.revisions("energy:prise")
        with pytest.raises(NotFound, match="sensor"):
            project.series.revisions("energy:price", of={"sensor": "a"})
