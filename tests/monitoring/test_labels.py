"""Delayed labels against a join written with dictionaries."""

from __future__ import annotations

import math
from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.monitoring.predictions import START, labels, predictions
from trivet.errors import Invalid, NotFound
from trivet.monitoring.labels import join

label = st.tuples(
    st.none() | st.sampled_from(["p0", "p1", "p2", "p9"]),
    st.none() | st.sampled_from([0.0, 1.0, math.nan]),
    st.integers(-120, 600),
)


def as_labels(rows: list[tuple[str | None, float | None, int]]) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "prediction": pl.Series([row[0] for row in rows], dtype=pl.String),
            "label": pl.Series([row[1] for row in rows], dtype=pl.Float64),
            "at": pl.Series([START + timedelta(minutes=row[2]) for row in rows], dtype=pl.Datetime("us", "UTC")),
        }
    )


@settings(max_examples=100, deadline=None)
@given(st.lists(label, max_size=20))
def test_the_join_is_that_of_dictionaries(rows: list[tuple[str | None, float | None, int]]) -> None:
    made = predictions(4)
    last: dict[str, tuple[float, int]] = {}
    nulls = replaced = 0
    for name, value, minutes in sorted(rows, key=lambda row: row[2]):
        if name is None or value is None or math.isnan(value):
            nulls += 1
            continue
        replaced += name in last
        last[name] = (value, minutes)
    found = join(made, as_labels(rows))
    assert found.frame["id"].to_list() == made["id"].to_list()
    assert found.frame["label"].to_list() == [last[name][0] if name in last else None for name in made["id"]]
    known = {name: minutes for name, (_, minutes) in last.items() if name in set(made["id"])}
    delays = [minutes - 10 * int(name[1:]) for name, minutes in known.items()]
    report = found.report
    assert (report.predictions, report.labels) == (4, len(rows))
    assert (report.joined, report.unknown) == (len(known), len(last) - len(known))
    assert (report.replaced, report.nulls) == (replaced, nulls)
    assert report.early == sum(delay < 0 for delay in delays)
    if delays:
        assert report.lag["0.9"] == pytest.approx(60 * np.quantile(delays, 0.9))
    else:
        assert report.lag == {}


def test_of_labels_known_at_once_the_later_row_wins() -> None:
    assert join(predictions(1), as_labels([("p0", 0.0, 5), ("p0", 1.0, 5)])).frame["label"].to_list() == [1.0]


def test_maturity_is_told_by_quantiles() -> None:
    made = predictions(100)
    assert join(made, labels(made)).report.lag == {"0.5": 10800.0, "0.9": 10800.0, "0.95": 10800.0, "0.99": 10800.0}


def test_nothing_joins_nothing() -> None:
    found = join(predictions(0), labels(predictions(0)))
    assert (found.frame.height, found.report.joined, found.report.lag) == (0, 0, {})
    bare = join(pl.DataFrame({"id": [], "at": []}), pl.DataFrame({"prediction": [], "label": [], "at": []}))
    assert bare.report.predictions == 0


def test_refusals() -> None:
    made = predictions(3)
    with pytest.raises(Invalid, match="2 predictions repeat the id of another"):
        join(made.with_columns(id=pl.lit("same")), labels(made))
    with pytest.raises(NotFound, match="There is no column 'label'"):
        join(made, labels(made).drop("label"))
    with pytest.raises(Invalid, match="must be UTC times"):
        join(made.with_columns(pl.col("at").dt.replace_time_zone(None)), labels(made))
